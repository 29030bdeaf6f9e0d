"""Sequence-level distillation: the teacher's answers in the place of the files'."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data import Split
from kdjax.data.text import Row
from kdjax.models.generation.generate import decoding_for, generate
from kdjax.models.pretrained.load import Pretrained
from kdjax.models.tokenizers import prompt_ids
from kdjax.runner.config import Experiment
from kdjax.runner.job import Context
from kdjax.runner.jobs.lm import trainee
from kdjax.runner.jobs.lm.teachers import Teachers
from kdjax.runner.pipeline import language_models, texts
from kdjax.runner.report.progress import say

ANSWERS = "answers"


def prompts_of(
  experiment: Experiment, policy: str, teachers: Teachers, part: texts.Part
) -> dict[int, list[int]]:
  """Finds the prompts that the teacher is to answer, by the number of their row.

  Rows without room for an answer have none; nor has any row where the student does not
  learn from the teacher's texts.

  Args:
    policy: whose texts the student learns from, see `policies`.
  """
  if policy != "teacher":
    return {}
  if experiment.teacher.teacher_cache:
    raise UserError(
      "--policy=teacher: --teacher_cache knows the files' texts, and not what the"
      " teacher answers; leave one of them out"
    )
  settings = experiment.continuation
  language_models.sampling_of(experiment)
  prompts = {}
  for number, row in enumerate(part.rows):
    if "text" not in row.values:
      ids = prompt_ids(teachers.together.tokenizer, row.values)
      if len(ids) < experiment.language.sequence_length:
        prompts[number] = ids
  if not prompts:
    raise UserError(
      "--policy=teacher: it answers prompts, and no training row has one that leaves"
      f" room in {experiment.language.sequence_length} tokens; rows have `prompt` and"
      " `completion`, or `messages`"
    )
  longest = max(map(len, prompts.values()))
  for one in teachers.answering:
    try:
      decoding_for(one.network, one.variables, longest, settings.max_new_tokens)
    except UserError as error:
      raise UserError(f"--policy=teacher: {error}") from None
  return prompts


def write(setup: Any, context: Context) -> Any:
  """Lets the teacher answer, if that is asked for; the student then learns from it."""
  if not setup.prompts:
    return setup
  saved = context.stored(ANSWERS, lambda: _generated(setup))
  answers = np.split(saved["tokens"], np.cumsum(saved["lengths"])[:-1])
  return with_answers(setup, dict(zip(setup.prompts, answers, strict=True)))


def with_answers(setup: Any, answers: Mapping[int, Sequence[int]]) -> Any:
  """Returns the setup whose student learns from other answers than the files'.

  Args:
    answers: by the number of their training row, token ids.
  """
  length, tokenization = setup.sample["tokens"].shape[1], setup.tokenization
  answered_rows = [
    Row(
      tokenization.answered(row.values, setup.prompts[i], answers[i]), row.place
    )
    if i in answers
    else row
    for i, row in enumerate(setup.texts.parts["train"].rows)
    if i in answers or "text" in row.values
  ]
  part = texts.make_part(answered_rows, texts.Answered(setup.tokenizer), length)
  say(f"answers of the teacher: {part.examples.summary()}")
  files = setup.train_split
  beside, changed = tokenization.beside(part)
  split = trainee.split_of(tokenization.task, {**part.sequences, **beside})
  images = {
    name: _joined(name, x, split.images[name])
    for name, x in files.images.items()
  }
  labels = np.concatenate([files.labels, split.labels])
  places, first = np.arange(len(labels)), len(files.labels)
  setup = setup._replace(
    texts=setup.texts._replace(parts=setup.texts.parts | {ANSWERS: part}),
    train_split=Split(images, labels),
    examples={"train": places[:first], ANSWERS: places[first:]},
    tokenization=tokenization._replace(**changed),
    training_teacher=changed.get("teacher", setup.training_teacher),
  )
  return setup._replace(student=trainee.make(setup))


def _joined(name: str, *parts: np.ndarray) -> np.ndarray:
  """Puts sequences below each other, the shorter ones filled up."""
  longest = max(x.shape[1] for x in parts)
  fill = -1 if "slots" in name else 0
  return np.concatenate(
    [
      np.pad(
        x,
        ((0, 0), (0, longest - x.shape[1])),
        constant_values=x.dtype.type(fill),
      )
      for x in parts
    ]
  )


def _generated(setup: Any) -> dict[str, np.ndarray]:
  say(
    f"the teacher answers {quantity(len(setup.prompts), 'prompt')}: compiling"
  )
  teachers, rows = setup.teachers, setup.texts.parts["train"].rows
  answers: dict[int, np.ndarray] = {}
  for number, teacher in enumerate(teachers.answering):
    own = [i for i in setup.prompts if teachers.number_of(rows[i]) == number]
    answers |= zip(own, _answers_of(setup, teacher, own), strict=True)
  ordered = [answers[i] for i in setup.prompts]
  return {
    "tokens": np.concatenate(ordered).astype(np.int32),
    "lengths": np.array([len(one) for one in ordered], np.int32),
  }


def _answers_of(
  setup: Any, teacher: Pretrained, rows: list[int]
) -> list[np.ndarray]:
  """A teacher's answers to the prompts of some rows."""
  if not rows:
    return []
  return generate(
    teacher.network,
    teacher.variables,
    [setup.prompts[i] for i in rows],
    max_new_tokens=setup.experiment.continuation.max_new_tokens,
    sampling=language_models.sampling_of(setup.experiment),
    key=jax.random.key(0),
    eos=teacher.tokenizer.eos,
    ids=rows,
    vocabulary=teacher.tokenizer.vocabulary_size,
    batch_size=setup.experiment.student.batch_size,
  )
