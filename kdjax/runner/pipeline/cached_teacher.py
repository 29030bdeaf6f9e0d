"""A teacher that is not there: what it made of every view, read from a cache."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kdjax import data
from kdjax.core import spec, storage
from kdjax.core.errors import UserError
from kdjax.core.method import Outputs
from kdjax.data import Dataset
from kdjax.data.teacher_cache.manifest import refuse_other
from kdjax.data.teacher_cache.store import TeacherCache
from kdjax.runner.config import AUTO, Experiment
from kdjax.runner.pipeline.pretrained import SavedTeacher


def views_of(experiment: Experiment) -> dict[str, Any]:
  """Says which views of each image the student is shown.

  Returns:
    As a cache's manifest has it: "view", "crop_size", "count" (None where they
    are unlimited) and "seed".

  Example:
    >>> views_of(Experiment())
    {'view': 'none', 'crop_size': None, 'count': 1, 'seed': 0}
  """
  student = experiment.student
  text = " + ".join(map(str, spec.parse_sum(student.augment)))
  plain = text == "none"
  return {
    "view": text,
    "crop_size": experiment.data.crop_size,
    "count": 1 if plain else student.views,
    "seed": 0 if plain else student.view_seed,
  }


def find(
  experiment: Experiment, dataset: Dataset, teacher: SavedTeacher | None
) -> TeacherCache | None:
  """Opens the teacher's cache, checked; None for a teacher that is there itself.

  Args:
    teacher: the teacher that the cache must be of; None for any.
  """
  folder = experiment.teacher.teacher_cache
  if folder is None:
    return None
  cache = TeacherCache(folder)
  name, model = experiment.teacher.model, cache.manifest["teacher"]["model"]
  if name not in (AUTO, model):
    raise UserError(
      f"--teacher_cache={folder}: it is of the teacher {model!r}, not of"
      f" {name!r}; --teacher=auto takes any"
    )
  refuse_other(
    cache.manifest,
    fingerprint=data.fingerprint(dataset.train),
    classes=dataset.classes,
    views=views_of(experiment),
    digest=teacher and storage.digest(teacher.load()),
    validation=experiment.data.validation,
  )
  return cache


def answers_of(cache: TeacherCache, rows: np.ndarray) -> Iterator[Outputs]:
  """Reads what a step needs, ahead of the steps.

  Args:
    rows: (S, B) the views that are shown in S steps.
  """
  return (Outputs(*fields) for fields in cache.stream(rows))


def scores(cache: TeacherCache, score: str) -> dict[str, Any]:
  """Returns what stands of a cached teacher in results.json; None for the unknown."""
  unknown = dict.fromkeys(("parameters", f"test_{score}", "test_examples"))
  return unknown | cache.manifest["teacher"]
