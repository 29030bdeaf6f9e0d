"""How student and teacher read the texts: by one tokenizer, or each by its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kdjax import evaluate
from kdjax.core.method import Method
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.data.text.rows import ANSWER, QUESTION
from kdjax.evaluate.language import measure_texts
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm.teachers import Teachers, teacher_of
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline.texts import Part, Texts
from kdjax.tasks import language_model

# Of so many likeliest tokens it is told how probable the teacher finds them.
TOP = (1, 8, 64)


class Tokenization(NamedTuple):
  """What follows from how student and teacher read the texts.

  Attributes:
    task: what the student's answers mean.
    teacher: what answers to the student's batches.
    teacher_task: what the teacher's own answers mean.
    measure_teacher: (network, variables) -> its scores on the test documents.
    measure_students: (network, () -> variables of several) -> scores of each on the
      test documents, beside which the teacher reads them once.
    scored_task: the task by whose score students are compared.
    same_ids: whether both have the same numbers for the same tokens.
    teacher_prompt: ids of the student's -> the teacher's of the same text.
    teacher_inputs: what the teacher reads beside the training sequences, by the
      name under which it is stored.
    views: `view` and `teacher_view` of a `Loader` of sequences.
    answered: (a row's values, the teacher's ids of its prompt, and those of its answer)
      -> a row's values with QUESTION and ANSWER, as `Answered` reads them.
    of_cache: what a cache has of the teacher -> what answers to the student's batches.
    beside: a part of such rows -> what the teacher reads beside its sequences, by
      the name under which it is stored, and what of this value is another one then.
    adapt: (name, method) -> what stands in an objective in the method's place.
    results: what results.json says of it.
    fingerprints: what a run that stopped must find again.
  """

  task: Task
  teacher: Teacher
  teacher_task: Task
  measure_teacher: Callable[[Any, Any], dict[str, float]]
  measure_students: Callable[[Any, Any], list[dict[str, float]]]
  scored_task: Task
  same_ids: bool
  teacher_prompt: Callable[[Sequence[int]], Sequence[int]]
  teacher_inputs: Mapping[str, np.ndarray]
  views: Mapping[str, Callable]
  answered: Callable[[Mapping, Sequence[int], Sequence[int]], Mapping]
  beside: Callable[[Part], tuple[dict[str, np.ndarray], Mapping[str, Any]]]
  adapt: Callable[[str, Method], Method]
  results: Mapping[str, Any]
  fingerprints: Mapping[str, str]
  of_cache: Callable[[Teacher], Teacher] = lambda teacher: teacher


def one_tokenizer(
  experiment: Experiment,
  texts: Texts,
  teachers: Teachers,
  *,
  width: int,
) -> Tokenization:
  """Teachers that read what the student does.

  Args:
    width: how many tokens all have.
  """
  language_models.say_padding("teacher", teachers.classes, width)
  task = language_model(width)
  live = teacher_of(experiment, teachers.members, task)
  test = texts.parts["test"]
  measure_teacher = measure_of(experiment, test, task)
  return same_tokens(experiment, test, task, live, measure_teacher)


def measure_of(
  experiment: Experiment, test: Part, task: Task
) -> Callable[[Any, Any], dict[str, float]]:
  """Makes the function that measures a teacher's network on the test documents."""
  return partial(
    evaluate.measure_text,
    sequences=test.sequences,
    task=task,
    text_bytes=test.examples.bytes,
    top=[k for k in TOP if k <= task.width],
    batch_size=experiment.student.batch_size,
  )


def same_tokens(
  experiment: Experiment,
  test: Part,
  task: Task,
  teacher: Teacher,
  measure_teacher: Callable[[Any, Any], dict[str, float]],
) -> Tokenization:
  """What follows from one tokenizer."""
  return Tokenization(
    task=task,
    teacher=teacher,
    teacher_task=task,
    measure_teacher=measure_teacher,
    measure_students=partial(
      measure_texts,
      sequences=test.sequences,
      task=task,
      text_bytes=test.examples.bytes,
      teacher=teacher,
      batch_size=experiment.student.batch_size,
    ),
    scored_task=task,
    same_ids=True,
    teacher_prompt=lambda ids: ids,
    teacher_inputs={},
    views={"view": lambda key, stored, positions: stored},
    answered=lambda values, question, answer: {
      **values,
      QUESTION: question,
      ANSWER: answer,
    },
    beside=lambda part: ({}, {}),
    adapt=lambda name, method: method,
    results={},
    fingerprints={},
  )
