"""`--pool='column(NAME)'`: each row of text has one of several teachers."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.core.teacher import Teacher
from kdjax.data import text
from kdjax.evaluate.language import bits_per_byte
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm.policies import Policy
from kdjax.runner.jobs.lm.teachers import Route, Teachers
from kdjax.runner.jobs.lm.tokenization import (
  Tokenization,
  measure_of,
  same_tokens,
)
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline.texts import Part, Texts
from kdjax.runner.report.progress import say
from kdjax.tasks import language_model
from kdjax.train.routed import routed, with_choices
from kdjax.train.teacher import live_teacher


def check(
  experiment: Experiment, policy: Policy, route: Route, texts: Texts
) -> None:
  """Refuses tokens that are drawn from all teachers, and rows without a teacher."""
  if policy.combine:
    raise UserError(
      f"--pool={experiment.teaching.pool} does not go with"
      f" --policy={experiment.language.policy}: tokens are drawn from one network"
      " beside the student, the same for all rows"
    )
  for split, part in texts.parts.items():
    counts = Counter(route.names[route.number_of(row)] for row in part.rows)
    rows = ", ".join(f"{name} {counts[name]}" for name in route.names)
    say(f"{split}: rows by teacher: {rows}")


def by_teacher(route: Route, texts: Texts, pad: int) -> Texts:
  """Packs the training's rows in the order of their teachers.

  Few sequences then have rows of two of them, and a step asks each about its own.
  """
  part = texts.parts["train"]
  # By name: who is named first in --teacher_from does not matter.
  names = [route.names[route.number_of(row)] for row in part.rows]
  examples = sorted(part.examples.examples, key=lambda one: names[one.row])
  length = part.sequences["tokens"].shape[1]
  part = part._replace(
    examples=part.examples._replace(examples=examples),
    sequences=text.pack(examples, length, pad=pad),
  )
  return texts._replace(parts={**texts.parts, "train": part})


def one_for_each_row(
  experiment: Experiment,
  policy: Policy,
  texts: Texts,
  teachers: Teachers,
  *,
  width: int,
) -> Tokenization:
  """Teachers that read what the student does, each heard of its own rows.

  Args:
    width: how many tokens all have.
  """
  language_models.say_padding("teacher", teachers.classes, width)
  task, test = language_model(width), texts.parts["test"]
  train = texts.parts["train"]
  choices = choices_of(teachers.route, train, packed=not policy.writes)
  of_test = choices_of(teachers.route, test)
  live = routed(
    [
      live_teacher(
        one.network, one.variables, dtype=experiment.computing.teacher_dtype
      )
      for one in teachers.members
    ],
    choices,
    task=task,
  )
  measure_teacher = partial(
    _measure, measure_of(experiment, test, task), teachers, test, of_test
  )
  alike = same_tokens(
    experiment, test, task, with_choices(live, of_test), measure_teacher
  )
  return alike._replace(
    teacher=live,
    beside=partial(_beside, teachers.route, live, choices),
    fingerprints={"sha256 of who teaches what": storage.digest(choices)},
  )


def choices_of(route: Route, part: Part, *, packed: bool = True) -> np.ndarray:
  """Says of each token of a part's sequences whose it is, (N, T), or (N,) of each sequence.

  Args:
    packed: whether several rows share a sequence; where each has its own, the row's
      teacher is that of all tokens: a student writes more of them than the file has.
  """
  by_row = [route.number_of(row) for row in part.rows]
  numbers = [by_row[one.row] for one in part.examples.examples]
  if not packed:
    return np.array(numbers, np.int32)
  # As the examples' own tokens are put into sequences.
  numbered = [
    one._replace(tokens=np.full(len(one.tokens), number, np.int32))
    for one, number in zip(part.examples.examples, numbers, strict=True)
  ]
  length = part.sequences["tokens"].shape[1]
  return text.pack(numbered, length, pad=0)["tokens"]


def _beside(
  route: Route, teacher: Teacher, choices: np.ndarray, part: Part
) -> tuple[dict, dict[str, Any]]:
  """The teacher of the training's sequences, and of answers behind these."""
  both = np.concatenate([choices, choices_of(route, part)])
  return {}, {"teacher": with_choices(teacher, both)}


def _measure(
  measure: Callable[..., dict[str, float]],
  teachers: Teachers,
  test: Part,
  choices: np.ndarray,
  network: Any,
  variables: Any,
) -> dict[str, float]:
  """One teacher's scores on the test documents; without one, of each on its own."""
  if network is not None:
    return measure(network, variables)
  parts: list[Mapping[str, float]] = []
  for number, one in enumerate(teachers.members):
    counts = test.sequences["counts"] & (choices == number)
    if counts.any():
      own = {**test.sequences, "counts": counts}
      parts.append(measure(one.network, one.variables, sequences=own))
  sizes = [one["tokens"] for one in parts]
  scores = {
    name: float(np.average([one[name] for one in parts], weights=sizes))
    for name in parts[0]
  }
  nats, tokens = scores["nats_per_token"], sum(sizes)
  return scores | {
    "perplexity": float(np.exp(nats)),
    "bits_per_byte": bits_per_byte(nats, tokens, test.examples.bytes),
    "tokens": tokens,
    "bytes": test.examples.bytes,
  }
