"""A teacher with another tokenizer: what it reads, how it is asked and measured."""

import functools
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method
from kdjax.core.task import Task, has_weight
from kdjax.core.teacher import Teacher, observe
from kdjax.data import text
from kdjax.data.text.beside import Coverage
from kdjax.losses import aligned
from kdjax.methods._aligned import over_groups, sides_of
from kdjax.models.pretrained.load import Pretrained
from kdjax.models.tokenizers import shared_ids, token_bytes
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline import texts as rows
from kdjax.runner.pipeline.values import policy_of
from kdjax.runner.report.progress import say
from kdjax.taps.network import Network
from kdjax.tasks import language_model
from kdjax.train.aligned_teacher import aligned_teacher
from kdjax.train.forward import forward

# Before what the teacher reads, among the student's arrays.
_PREFIX = "teacher_"


class Across(NamedTuple):
  """How a teacher with another tokenizer is asked.

  Attributes:
    shared: the tokens that both have.
    sizes: how many tokens student and teacher have.
    beside: by split, what the teacher reads beside the student's sequences.
    coverage: by split, how much of what the student learns is compared.
    test: the test documents, by the teacher's tokenizer alone.
    task: what the teacher's own answers mean.
  """

  shared: aligned.SharedIds
  sizes: tuple[int, int]
  beside: dict[str, dict[str, np.ndarray]]
  coverage: dict[str, Coverage]
  test: rows.Part
  task: Task


def check(experiment: Experiment) -> None:
  """Refuses what does not go with `--across`."""
  settings = experiment.language
  if settings.across is None:
    return
  policy = policy_of(experiment)
  for flag, value, why in (
    (
      "teacher_cache",
      experiment.teacher.teacher_cache,
      "a cache has answers to the student's tokens",
    ),
    (
      "policy",
      policy if policy != "off" else None,
      "the teacher's answers are tokens of its own",
    ),
    (
      "mesh",
      experiment.computing.mesh,
      "such a teacher is not cut over devices yet",
    ),
  ):
    if value:
      raise UserError(
        f"--across={settings.across} does not go with --{flag}={value}: {why}"
      )
  if settings.student_from is None:
    raise UserError(
      f"--across={settings.across} is for a student with a tokenizer of its own;"
      " --student_from=FOLDER names it"
    )


def read(
  experiment: Experiment,
  texts: rows.Texts,
  student: Any,
  teacher: Pretrained,
) -> Across:
  """Reads the texts by the teacher's tokenizer too, and says what came of it.

  Args:
    texts: as the student reads them.
    student: its tokenizer.
  """
  flag = f"--teacher_from={experiment.teacher.teacher_from}"
  readers = [
    text.Reader(tokenizer, _bytes_of(where, tokenizer))
    for where, tokenizer in (
      (f"--student_from={experiment.language.student_from}", student),
      (flag, teacher.tokenizer),
    )
  ]
  beside, coverage = {}, {}
  for name, part in texts.parts.items():
    beside[name], coverage[name] = text.put_beside(
      part.sequences, part.examples.examples, part.rows, *readers
    )
  longest = max(one["tokens"].shape[1] for one in beside.values())
  classes = language_models.count_classes(flag, teacher, longest)
  tokens = teacher.tokenizer.vocabulary_size
  language_models.say_padding("teacher", classes, tokens)
  own = text.make_examples(
    texts.parts["test"].rows,
    teacher.tokenizer,
    experiment.language.sequence_length,
  )
  sequences = text.pack(
    own.examples,
    experiment.language.sequence_length,
    pad=teacher.tokenizer.pad,
  )
  shared = aligned.SharedIds(
    *map(np.array, shared_ids(student, teacher.tokenizer))
  )
  across = Across(
    shared,
    (student.vocabulary_size, tokens),
    beside,
    coverage,
    rows.Part(texts.parts["test"].rows, own, sequences),
    language_model(min(classes, tokens)),
  )
  for name, one in described(across)["splits"].items():
    say(
      f"{name}: of the student's tokens {100 * one['one_to_one']:.1f} % are one of"
      f" the teacher's, {100 * one['merged']:.1f} % are in groups of several,"
      f" {100 * one['left_out']:.1f} % are not compared"
    )
  return across


def described(across: Across) -> dict[str, Any]:
  """What results.json says of the alignment: shares of tokens and of bytes."""
  splits = {}
  for name, one in across.coverage.items():
    tokens, size = max(one.tokens, 1), max(one.bytes, 1)
    splits[name] = {
      "one_to_one": one.single / tokens,
      "merged": one.merged / tokens,
      "left_out": 1 - (one.single + one.merged) / tokens,
      "merged_bytes": one.merged_bytes / size,
      "left_out_bytes": one.left_out_bytes / size,
      "teacher_tokens": one.teacher_tokens,
    }
  student, teacher = across.sizes
  return {
    "shared_tokens": len(across.shared.student),
    "student_tokens": student,
    "teacher_tokens": teacher,
    "splits": splits,
  }


def task_of(across: Across, width: int) -> Task:
  """The student's task, whose empty batches have something for the teacher too."""
  task = language_model(width)
  shapes = {
    name: (x.shape[1:], x.dtype) for name, x in across.beside["train"].items()
  }

  def sample(inputs):
    batch = task.sample(inputs)
    size = len(batch.index)
    beside = {
      name: jnp.zeros((size, *shape), dtype)
      for name, (shape, dtype) in shapes.items()
    }
    return batch._replace(extra={**batch.extra, "teacher_inputs": beside})

  return task._replace(sample=sample)


def teacher_of(
  experiment: Experiment, across: Across, teacher: Pretrained
) -> Teacher:
  """The teacher as it is asked."""
  return aligned_teacher(
    teacher.network,
    teacher.variables,
    vocabulary=across.task.width,
    factored_from=across.task.factored_from,
    dtype=experiment.computing.teacher_dtype,
  )


def adapt(across: Across, how: str, name: str, method: Method) -> Method:
  """A method of the student's, over groups of equal bytes."""
  return over_groups(name, method, across=how, shared_ids=across.shared)


def with_teacher(
  arrays: Mapping[str, np.ndarray], across: Across, split: str
) -> dict[str, np.ndarray]:
  """Puts what the teacher reads beside what the student does."""
  beside = across.beside[split]
  return {**arrays, **{_PREFIX + name: x for name, x in beside.items()}}


def student_view(key: Any, stored: Mapping[str, Any], positions: Any) -> dict:
  """What the student sees of stored sequences."""
  return {k: x for k, x in stored.items() if not k.startswith(_PREFIX)}


def teacher_view(key: Any, stored: Mapping[str, Any], positions: Any) -> dict:
  """What the teacher sees of them."""
  return {
    k.removeprefix(_PREFIX): x
    for k, x in stored.items()
    if k.startswith(_PREFIX)
  }


def compare(
  setup: Any, network: Network, variables: Any, split: str = "test"
) -> dict[str, float]:
  """Compares a network with the teacher over groups of equal bytes.

  Returns:
    "teacher_kl": the sum of KL(teacher || network) over the groups, divided by the
    network's tokens that count, nats; "agreement": the share of groups in which
    both find the same class likeliest.
  """
  across, task = setup.across, setup.student.task
  program = _program(network, task)
  arrays = with_teacher(setup.texts.parts[split].sequences, across, split)
  totals = np.zeros(4)
  for item in text.open_text(arrays, setup.experiment.student.batch_size):
    totals += np.array(
      program(across.shared, variables, setup.asked, item), float
    )
  divergence, tokens, same, groups = totals
  return {
    "teacher_kl": divergence / max(tokens, 1),
    "agreement": same / max(groups, 1),
  }


# A program is compiled once for the network and its task.
@functools.cache
def _program(network: Network, task: Task):
  return jax.jit(partial(_compared, network, task))


def _compared(network, task, shared, variables, teacher, item):
  batch = task.batch(student_view(None, item, None))
  extra = {**batch.extra, "teacher_inputs": teacher_view(None, item, None)}
  batch = batch._replace(extra=extra)
  outputs, own = forward(network, variables, batch, (), task)
  counts = has_weight(own.weight)
  inputs = Inputs(
    outputs,
    observe(teacher, batch, task=task),
    own.targets,
    jnp.int32(0),
    counts,
  )
  student, teacher, slots = sides_of(inputs)
  divergence, same = (
    aligned.divergence(
      student, teacher, slots, shared_ids=shared, **settings
    ).sum()
    for settings in ({}, {"measure": _same_class})
  )
  places = jnp.arange(slots.group.shape[1])[None]
  return divergence, counts.sum(), same, (slots.group == places).sum()


def _same_class(student: jax.Array, teacher: jax.Array) -> jax.Array:
  same = student.argmax(-1) == teacher.argmax(-1)
  return same.astype(student.dtype)


def _bytes_of(flag: str, tokenizer: Any) -> list[bytes | None]:
  try:
    return token_bytes(tokenizer)
  except UserError as error:
    raise UserError(f"{flag}: {error}") from None
