"""What a cache has of a language model, in its place."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.data.teacher_cache.inputs import row_keys
from kdjax.data.teacher_cache.store import TeacherCache
from kdjax.data.teacher_cache.texts import is_text
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.validate import check_stored_classes

# What of a sequence a teacher reads.
READ = ("tokens", "mask", "segments")


def notes(pretrained: Pretrained, length: int) -> dict[str, Any]:
  """What a cache says of its texts beside what every cache says."""
  return {
    "tokenizer": pretrained.tokenizer.fingerprint,
    "sequence_length": length,
    "teacher": storage.digest(pretrained.variables),
  }


def find(
  experiment: Experiment,
  values: Any,
  task: Task,
  sequences: Mapping[str, np.ndarray],
  pretrained: Pretrained,
  teacher: Teacher,
) -> Teacher:
  """Opens the teacher's cache, checked; the teacher itself where none is named.

  Args:
    sequences: those of the training, (N, T) by name.
    pretrained: the teacher as it was loaded.
    teacher: the same, as it is asked.
  """
  where = experiment.teacher.teacher_cache
  if where is None:
    return teacher
  cache = TeacherCache(where)
  manifest = cache.manifest
  if not is_text(cache.kind):
    raise UserError(f"--teacher_cache={where}: it is of images, not of texts")
  cache_notes = manifest.get("text", {})
  run_notes = notes(pretrained, experiment.language.sequence_length)
  for property_name, of_cache, of_run in (
    *(
      (name, cache_notes.get(name), value) for name, value in run_notes.items()
    ),
    ("number of classes", manifest["classes"], task.width),
    ("text", manifest["data"]["fingerprint"], fingerprint(sequences)),
  ):
    if of_cache != of_run:
      raise UserError(
        f"--teacher_cache={where}: its {property_name} is another one: the cache has"
        f" {_short(of_cache)}, this run {_short(of_run)}"
      )
  if "indices" in cache.kind.names:
    stored_classes = cache.kind["indices"].shape[-1]
    check_stored_classes(values.objective, where, stored_classes)
  return cache.teacher()


def fingerprint(sequences: Mapping[str, np.ndarray]) -> str:
  """The sha256 of sequences, as a cache of them has it."""
  entries = [name for name in READ if name in sequences]
  return hashlib.sha256(row_keys(sequences, entries).tobytes()).hexdigest()


def sha256_of(where: str) -> str:
  """The sha256 of what a cache says of itself."""
  folder = TeacherCache(where, shards=()).folder
  return hashlib.sha256(Path(folder, "manifest.json").read_bytes()).hexdigest()


def _short(value: Any) -> str:
  text = str(value)
  return f"{text[:12]}..." if len(text) == 64 else repr(value)
