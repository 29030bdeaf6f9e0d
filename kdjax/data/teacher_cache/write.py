"""Writing a cache of any teacher's answers to a user's own batches."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core import storage
from kdjax.core.arguments import (
  check_kind,
  check_path,
  check_whole,
  misfit,
)
from kdjax.core.errors import UserError
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, Task, as_batch
from kdjax.core.teacher import Teacher, check_places
from kdjax.data.batch_entries import to_arrays
from kdjax.data.batch_iterator import open_batches
from kdjax.data.dataset import Split
from kdjax.data.fingerprint import fingerprint
from kdjax.data.teacher_cache.ask import BatchAnswers, asker, rows_of
from kdjax.data.teacher_cache.inputs import row_keys, write_keys
from kdjax.data.teacher_cache.manifest import MANIFEST
from kdjax.data.teacher_cache.records import record_type, to_records
from kdjax.data.teacher_cache.store import TeacherCache, finish, write_shard
from kdjax.data.teacher_cache.texts import text_records, text_type, write_head

# Of a mapping of whole arrays; answers do not depend on it.
BATCH_SIZE = 256
# What a run without augmentation is shown.
_PLAIN = {"view": "none", "crop_size": None, "count": 1, "seed": 0}


class Answered(NamedTuple):
  """New examples of a batch, and what the teacher made of them.

  Attributes:
    entries: names of the inputs.
    index: (R,) their places.
    keys: (R,) of their inputs.
    outputs: (R, ...) answers and features; of texts, answers by field.
    of_batch: what is known of the whole batch.
  """

  entries: tuple[str, ...]
  index: np.ndarray
  keys: np.ndarray
  outputs: Outputs
  of_batch: BatchAnswers


def write_teacher_cache(
  folder: str | Path,
  teacher: Teacher,
  batches: Any,
  *,
  task: Task,
  features: Sequence[str] = (),
  top_k: int | None = None,
  dtype: str = "float32",
  batch_size: int | None = None,
  name: str = "teacher",
  scores: Mapping[str, Any] | None = None,
  text: Mapping[str, Any] | None = None,
) -> TeacherCache:
  """Stores a teacher's answers to every example, to train on without it.

  The folder is what `launch.py cache` writes too, see docs/teacher_cache.md; a
  run reads it with `--teacher_cache` if its batches were a mapping of the run's
  images, as they are stored, and labels.

  Args:
    folder: a new one, or one where a cache was not written to the end.
    teacher: from `live_teacher` and the like.
    batches: every example at least once, in one pass, as the teacher is to see
      it: a mapping of whole arrays, an iterable of mappings, a function that
      returns one, or a data set of grain, torch, tf.data or Hugging Face. An
      entry `index` (B,) int numbers the examples 0 to N - 1; without, they are
      numbered in the order in which they come.
    task: what a batch holds.
    features: taps of the teacher to be stored as well, for methods that read
      features.
    top_k: store the largest k answers and the sum of the rest's probabilities;
      None stores all answers, of texts as the states that the teacher's output
      layer reads, beside that layer.
    dtype: of what is stored, "float32" or "float16", of texts also "bfloat16".
    batch_size: of a mapping of whole arrays, or of single examples; 256 by
      default.
    name: what the teacher is called in reports.
    scores: what they are to say of it, JSON values by name, such as
      {"test_accuracy": [0.97], "test_examples": 113}.
    text: what the manifest is to say of texts, JSON values by name.

  Returns:
    The cache, opened.

  Raises:
    UserError: in one line, for an argument of another kind, a folder that holds a cache, answers that are not
      (B, C) or (B, H, W, C) numbers or texts' (B, T, C), a tap that is several arrays, an answer that is not finite,
      or examples that are missing.
    StorageError: if it cannot be written.

  Example:
    >>> import tempfile
    >>> from kdjax.core.teacher import stored_teacher
    >>> from kdjax.tasks import classification
    >>> arrays = {"image": np.eye(3), "label": np.arange(3)}
    >>> folder = tempfile.mkdtemp()
    >>> cache = write_teacher_cache(
    ...   folder, stored_teacher(2 * np.eye(3)), arrays, task=classification(3)
    ... )
    >>> next(iter(cache.join(arrays, batch_size=2)))["teacher_answers"]
    array([[2., 0., 0.],
           [0., 2., 0.]], dtype=float32)
  """
  check_path("folder", folder)
  check_kind("teacher", teacher, "teacher")
  check_kind("task", task, "task")
  top_k = top_k if top_k is None else check_whole("top_k", top_k)
  if not isinstance(features, list | tuple):
    raise misfit("features", "a list of taps", features)
  if scores is not None and not isinstance(scores, Mapping):
    raise misfit("scores", "JSON values by name, or None", scores)
  folder = Path(folder).expanduser()
  _check(folder, task, top_k)
  whole = _fingerprint(batches, task)
  read = open_batches(batches, batch_size=batch_size, default_size=BATCH_SIZE)
  parts = _answered(teacher, read, task, tuple(features), top_k)
  first = next(parts)
  kind = _kind(first, top_k, dtype)
  places, keys = [], []

  def records():
    for part in itertools.chain([first], parts):
      places.append(part.index)
      keys.append(part.keys)
      yield _records(kind, part)

  write_shard(folder, 0, 1, records())
  ordered = np.concatenate(keys)[_order(np.concatenate(places))]
  data = {
    "name": "batches",
    "examples": len(ordered),
    "fingerprint": whole or hashlib.sha256(ordered.tobytes()).hexdigest(),
    "inputs": write_keys(folder, ordered, first.entries),
  }
  about = {
    "teacher": {"model": name, "digest": _digest(teacher), **(scores or {})},
    "data": data,
    "classes": first.of_batch.classes,
    "views": _PLAIN,
  }
  if text is not None:
    about["text"] = dict(text)
  if first.of_batch.matrix is not None:
    about["head"] = write_head(folder, *first.of_batch.matrix())
  finish(folder, 1, kind, about)
  return TeacherCache(folder)


def _check(folder: Path, task: Task, top_k: int | None) -> None:
  if (folder / MANIFEST).exists():
    raise UserError(
      f"there is a teacher cache in {folder} already; remove it, or write to"
      " another folder"
    )
  if top_k is not None and task.kind != "categories":
    raise UserError(
      f"top_k={top_k}: the task {task.name} has no scores of classes; all of its"
      " answers are stored"
    )


def _answered(
  teacher: Teacher,
  batches: Any,
  task: Task,
  features: tuple[str, ...],
  top_k: int | None,
) -> Iterator[Answered]:
  """Asks the teacher about every batch, and leaves out what was there before."""
  ask = asker(task, features, top_k)
  is_answered = np.zeros(1, bool)
  for item in batches:
    batch = as_batch(task, item)
    check_places(teacher, item)
    entries = _inputs(batch, item)
    batch_answers = ask(teacher, batch)
    index = np.asarray(item["index"])
    if index.min() < 0:
      raise UserError(
        f"batches: entry 'index' has {index.min()}; it must be >= 0"
      )
    if (largest := int(index.max())) >= len(is_answered):
      is_answered = np.pad(is_answered, (0, 2 * largest - len(is_answered) + 1))
    rows = np.unique(index, return_index=True)[1]
    rows = np.sort(rows[~is_answered[index[rows]]])
    is_answered[index[rows]] = True
    answers = rows_of(batch_answers.outputs, rows, len(index))
    keys = row_keys(item, entries)[rows]
    yield Answered(entries, index[rows], keys, answers, batch_answers)


def _inputs(batch: Batch, item: Mapping[str, Any]) -> tuple[str, ...]:
  """The entries that a network reads; all where they cannot be told."""
  named = batch.inputs if isinstance(batch.inputs, Mapping) else {}
  entries = tuple(name for name in item if name in named)
  others = {"weight", "position", "index"}
  return entries or tuple(name for name in item if name not in others)


def _kind(first: Answered, top_k: int | None, dtype: str) -> np.dtype:
  outputs, classes = first.outputs, first.of_batch.classes
  shapes = {tap: x.shape[1:] for tap, x in outputs.feats.items()}
  if isinstance(outputs.answers, dict):
    fields = {name: x.shape[1:] for name, x in outputs.answers.items()}
    return text_type(fields, shapes, dtype)
  size = outputs.answers.shape[1:-1]
  return record_type(classes, top_k=top_k, taps=shapes, dtype=dtype, size=size)


def _records(kind: np.dtype, part: Answered) -> np.ndarray:
  answers, feats, _ = part.outputs
  if isinstance(answers, dict):
    return text_records(kind, part.index, answers, feats)
  return to_records(kind, part.index, np.int32(0), answers, feats)


def _order(places: np.ndarray) -> np.ndarray:
  """Where each of the examples 0 to N - 1 is."""
  order = np.argsort(places)
  missing = np.flatnonzero(places[order] != np.arange(len(places)))
  if len(missing):
    raise UserError(
      f"batches: of examples 0 to {places.max()}, as 'index' numbers them,"
      f" {missing[0]} is missing"
    )
  return order


def _fingerprint(batches: Any, task: Task) -> str | None:
  """That of a run with the same images and labels, where there are such."""
  if not isinstance(batches, Mapping) or hasattr(batches, "with_format"):
    return None
  batch = as_batch(task, to_arrays(batches))
  inputs = jax.tree.leaves(batch.inputs)
  labels = batch.targets
  if len(inputs) != 1 or not isinstance(labels, np.ndarray | jax.Array):
    return None
  of_classes = labels.ndim in (1, 3) and labels.dtype.kind in "iu"
  # Numbers and several labels are those of a run's images.
  if not of_classes and (inputs[0].ndim != 4 or labels.dtype.kind not in "iuf"):
    return None
  return fingerprint(Split(np.asarray(inputs[0]), np.asarray(labels)))


def _digest(teacher: Teacher) -> str:
  def plain(x):
    if jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.prng_key):
      return jax.random.key_data(x)
    return x

  return storage.digest(jax.tree.map(plain, teacher.arrays))
