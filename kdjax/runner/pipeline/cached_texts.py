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
# What a cache for a student with another tokenizer says of that.
STUDENT = "student's tokenizer"


def notes(
  pretrained: Pretrained, length: int, student: Any = None
) -> dict[str, Any]:
  """What a cache says of its texts beside what every cache says.

  Args:
    length: tokens of the student's sequences.
    student: its tokenizer, where that is another one; None for the teacher's own.
  """
  own = {} if student is None else {STUDENT: student.fingerprint}
  return {
    "tokenizer": pretrained.tokenizer.fingerprint,
    **own,
    "sequence_length": length,
    "teacher": storage.digest(pretrained.variables),
  }


def find(
  experiment: Experiment,
  values: Any,
  task: Task,
  sequences: Mapping[str, np.ndarray],
  pretrained: Pretrained,
  *,
  student: Any = None,
) -> Teacher:
  """Opens the teacher's cache, checked.

  Args:
    task: what the teacher's answers mean.
    sequences: what it reads of the training, (N, T) by name.
    pretrained: the teacher as it was loaded.
    student: as `notes` takes it.
  """
  where = experiment.teacher.teacher_cache
  cache = TeacherCache(where)
  manifest = cache.manifest
  if not is_text(cache.kind):
    raise UserError(f"--teacher_cache={where}: it is of images, not of texts")
  cache_notes = manifest.get("text", {})
  length = experiment.language.sequence_length
  run_notes = notes(pretrained, length, student)
  # Those of the one kind are none of the other's.
  run_notes.setdefault(STUDENT, None)
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
    if student is not None:
      raise UserError(
        f"--teacher_cache={where}: it has the likeliest tokens alone;"
        f" --across={experiment.language.across} compares all, of a cache written"
        " with --cache_form=hidden"
      )
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
