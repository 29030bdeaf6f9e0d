"""A teacher's outputs on disk, by example and view: any order, any shards.

A cache is a folder with ArrayRecord files and a manifest that says whose
outputs they are, of which images, and what every file must hash to. The
manifest is written last: a folder without one is no cache.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_path
from kdjax.core.errors import StorageError
from kdjax.core.teacher import Teacher, stored_teacher
from kdjax.data.batch_iterator import BatchIterator, open_batches
from kdjax.data.stream import read_ahead
from kdjax.data.teacher_cache.inputs import open_finder
from kdjax.data.teacher_cache.manifest import (
  FORMAT,
  MANIFEST,
  VERSION,
  read_manifest,
  write_json,
)
from kdjax.data.teacher_cache.records import (
  bytes_in_memory,
  check_indices,
  describe,
  from_records,
  not_finite,
  read_type,
)
from kdjax.data.teacher_cache.texts import (
  answers_of_text,
  fields_of_text,
  is_text,
  read_head,
  text_teacher,
)
from kdjax.data.whole import first_line

# Where a run keeps its cache.
FOLDER = "teacher_cache"
# Small groups: a random read decodes one. Half-precision noise does not compress.
OPTIONS = "group_size:16,uncompressed"
# Enough rows a read to keep the reader's threads busy.
CHUNK = 8192


def shard_name(number: int, of: int) -> str:
  """Names a shard's file."""
  return f"shard-{number:05d}-of-{of:05d}.array_record"


def write_shard(
  folder: Path, number: int, of: int, records: Iterable[np.ndarray]
) -> None:
  """Writes one shard; the hosts of a run write as many as they like each.

  The file appears under its name when it is whole, with a note beside it of its
  length and hash, which `finish` collects.

  Args:
    folder: of the cache; made if it is not there.
    records: (B,) structures from `to_records`, any B, keys in any order.
  """
  from array_record.python import array_record_module

  file = folder / shard_name(number, of)
  partial = file.with_suffix(".partial")
  with _writing(file):
    folder.mkdir(parents=True, exist_ok=True)
    writer = array_record_module.ArrayRecordWriter(str(partial), OPTIONS)
  count = 0
  for block in records:
    with _writing(file):
      for row in block:
        writer.write(row.tobytes())
    count += len(block)
  with _writing(file):
    writer.close()
    note = {"file": file.name, "records": count, "sha256": _sha256(partial)}
    partial.replace(file)
    write_json(_note(file), note)


def is_written(folder: Path, number: int, of: int) -> bool:
  """Says whether a shard is there as a whole.

  Example:
    >>> is_written(Path("nowhere"), 0, 1)
    False
  """
  return _note(folder / shard_name(number, of)).exists()


@contextmanager
def _writing(file: Path) -> Iterator[None]:
  """Names the file in what its writer raises."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    raise StorageError(f"cannot write {file}: {first_line(error)}") from error


def finish(
  folder: Path, of: int, kind: np.dtype, about: dict[str, Any]
) -> dict[str, Any] | None:
  """Writes the manifest once all shards are there.

  Args:
    about: "teacher", "data", "classes" and "views", see docs/teacher_cache.md.

  Returns:
    The manifest; None while other hosts are still writing.
  """
  files = [folder / shard_name(number, of) for number in range(of)]
  if not all(_note(file).exists() for file in files):
    return None
  try:
    shards = [json.loads(_note(file).read_text()) for file in files]
    manifest = {"format": FORMAT, "version": VERSION, **about}
    manifest |= {"record": describe(kind), "shards": shards}
    write_json(folder / MANIFEST, manifest)
  except (OSError, ValueError) as error:
    raise StorageError(f"cannot write {folder}: {first_line(error)}") from error
  return manifest


class TeacherCache:
  """An open cache: every row is there, once, and as it was written.

  A row is view * examples + example.

  Args:
    folder: of the cache, or of the run that wrote it.

  Attributes:
    folder: of the cache.
    manifest: what it says of itself.
    kind: what a record holds.
    rows: how many there are, views times examples.

  Example:
    >>> import tempfile
    >>> import kdjax
    >>> from kdjax.tasks import classification
    >>> arrays, folder = {"image": np.eye(3)}, tempfile.mkdtemp()
    >>> cache = kdjax.write_teacher_cache(
    ...   folder, stored_teacher(np.eye(3)), arrays, task=classification(3)
    ... )
    >>> TeacherCache(folder).teacher().arrays.answers.shape
    (3, 3)
    >>> for batch in TeacherCache(folder).join(arrays, batch_size=2, key=0):
    ...   print(batch["index"], batch["teacher_answers"].argmax(1))
    [2 0] [2 0]
    [1 2] [1 2]
  """

  def __init__(self, folder: str | Path, shards: Sequence[int] | None = None):
    """Opens a cache and reads it through once.

    Args:
      folder: of the cache, or of the run that wrote it.
      shards: the shards that this host needs; all by default, and then every
        row must be there.

    Raises:
      UserError: if there is no cache, or the folder is no path.
      StorageError: if it is damaged.
    """
    check_path("folder", folder)
    folder = Path(folder).expanduser()
    if (folder / FOLDER).is_dir():
      folder = folder / FOLDER
    self.folder, self.manifest = folder, read_manifest(folder)
    fields, classes = self.manifest["record"], self.manifest["classes"]
    of_text = fields_of_text(fields)
    self.kind = of_text or _reading(folder, read_type, fields, classes)
    self._examples = self.manifest["data"]["examples"]
    self.rows = self._examples * self.manifest["views"]["count"]
    self._where = np.full(self.rows, -1, np.int64)
    listed = self.manifest["shards"]
    lengths = [shard["records"] for shard in listed]
    self._starts = np.cumsum([0, *lengths])
    self._readers = {}
    for number in range(len(listed)) if shards is None else shards:
      self._readers[number] = self._open(number)
    missing = np.flatnonzero(self._where < 0)
    if shards is None and len(missing):
      raise StorageError(
        f"{folder} is damaged: {len(missing)} of {self.rows} records are"
        f" missing, the first is {self._name(missing[0])}"
      )

  @property
  def nbytes(self) -> int:
    """What answers and features take in memory; as float32, but of texts and maps."""
    if is_text(self.kind):
      return self.rows * self.kind.itemsize
    return self.rows * bytes_in_memory(self.kind, self.manifest["classes"])

  def teacher(self, rows: np.ndarray | None = None) -> Teacher:
    """Reads answers and features into memory, as a teacher.

    Args:
      rows: (R,) which rows; all by default.

    Returns:
      A stored teacher, which finds a batch's answers by its `index`: what shows
      the batches must number examples as those that were written did.
    """
    rows = np.arange(self.rows) if rows is None else rows
    if is_text(self.kind):
      head = read_head(self.folder, self.manifest)
      return text_teacher(*self.read(rows), self.manifest["classes"], head)
    return stored_teacher(*jax.tree.map(jnp.asarray, self.read(rows)))

  def join(
    self,
    batches: Any,
    *,
    batch_size: int | None = None,
    key: jax.Array | int | None = None,
  ) -> BatchIterator:
    """Adds the stored answers to batches, read as they are needed.

    The answers to an example are found by the bytes of its inputs where
    `write_teacher_cache` wrote the cache, so that batches may come in any order,
    but show what the teacher was shown; else by `index`, in view 0.

    Args:
      batches: what `write_teacher_cache` takes.
      batch_size: of a mapping of whole arrays, or of single examples.
      key: of the order of those, anew for every pass; None keeps them in theirs.

    Returns:
      The batches, each with `teacher_answers` (B, C) float32 and, where there
      are features, `teacher_features`, (B, ...) float32 by tap. A loop over it
      is one pass, and its place can be kept, by `get_state` and `set_state`.

    Raises:
      UserError: while it is read, for an example of other data.
    """
    find = open_finder(self.folder, self.manifest["data"])

    def joined(item):
      answers, features = self.read(find(item))
      entries = {"teacher_answers": answers}
      if features:
        entries["teacher_features"] = features
      return item | entries

    return open_batches(batches, batch_size=batch_size, key=key).map(joined)

  def read(self, rows: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Reads some rows.

    Args:
      rows: (B,) ints, in any order, view * examples + example.

    Returns:
      (B, C) float32 logits, and (B, ...) float32 features by tap. Of texts, in
      place of logits arrays (B, T, ...) by field: "hidden", or "indices",
      "log_probabilities" and "tail".

    Raises:
      StorageError: if a row is in none of the opened shards, or what is read is
        not what was there when the cache was opened.
    """
    rows = np.asarray(rows)
    where = self._where[rows]
    if (where < 0).any():
      raise StorageError(
        f"{self.folder}: {self._name(rows[where < 0][0])} is in none of the"
        f" shards that were opened, {sorted(self._readers)}"
      )
    records = np.empty(len(rows), self.kind)
    for number, reader in self._readers.items():
      start, stop = self._starts[number : number + 2]
      here = (where >= start) & (where < stop)
      if here.any():
        places = (where[here] - start).tolist()
        records[here] = self._decode(number, reader, places)
    if not np.array_equal(self._rows_of(records), rows):
      raise StorageError(f"{self.folder} changed after it was opened")
    if is_text(self.kind):
      return answers_of_text(records)
    return from_records(records, self.manifest["classes"])

  def stream(self, rows: np.ndarray, *, buffer: int = 4) -> Iterator[tuple]:
    """Reads the rows of planned steps ahead of those who need them.

    Args:
      rows: (S, B) ints.
      buffer: steps to hold ready, >= 1.

    Returns:
      An iterator over S results of `read`, in their order.
    """
    return read_ahead(lambda step: self.read(rows[step]), len(rows), buffer)

  def _open(self, number: int) -> Any:
    """Checks a shard's hash, length and keys, and notes where they are."""
    from array_record.python import array_record_module

    shard = self.manifest["shards"][number]
    path = self.folder / shard["file"]
    digest = _reading(path, _sha256, path)
    if digest != shard["sha256"]:
      raise StorageError(
        f"{path} is damaged or cut short: its sha256 is {digest[:12]}..., the"
        f" manifest says {shard['sha256'][:12]}..."
      )
    reader = _reading(path, array_record_module.ArrayRecordReader, str(path))
    count = reader.num_records()
    if count != shard["records"]:
      raise StorageError(
        f"{path} holds {count} records, the manifest says {shard['records']}"
      )
    for start in range(0, count, CHUNK):
      stop = min(start + CHUNK, count)
      records = self._decode(number, reader, list(range(start, stop)))
      self._note_rows(path, records, self._starts[number] + start)
    return reader

  def _note_rows(self, path: Path, records: np.ndarray, first: int) -> None:
    rows = self._rows_of(records)
    views = self.manifest["views"]["count"]
    wrong = (records["example"] >= self._examples) | (records["view"] >= views)
    if wrong.any():
      raise StorageError(
        f"{path} is damaged: it holds {_key(records[wrong][0])}, but there are"
        f" {self._examples} examples and {views} views"
      )
    once = np.zeros(len(rows), bool)
    once[np.unique(rows, return_index=True)[1]] = True
    once &= self._where[rows] < 0
    if not once.all():
      key = _key(records[~once][0])
      raise StorageError(f"{path} is damaged: {key} is there twice")
    problem = not_finite(records)
    if problem is not None:
      raise StorageError(f"{path} is damaged: {problem!r} are not all finite")
    if "indices" in records.dtype.names:
      check_indices(path, records["indices"], self.manifest["classes"])
    self._where[rows] = first + np.arange(len(rows))

  def _decode(self, number: int, reader: Any, places: list[int]) -> np.ndarray:
    path = self.folder / self.manifest["shards"][number]["file"]
    raw = _reading(path, reader.read, places)
    if any(len(one) != self.kind.itemsize for one in raw):
      raise StorageError(
        f"{path} is damaged: a record does not have the"
        f" {self.kind.itemsize} bytes that the manifest says"
      )
    return np.frombuffer(b"".join(raw), self.kind)

  def _rows_of(self, records: np.ndarray) -> np.ndarray:
    return (
      records["view"].astype(np.int64) * self._examples + records["example"]
    )

  def _name(self, row: int) -> str:
    view, example = divmod(int(row), self._examples)
    return f"view {view} of example {example}"


def _reading(path: Path, function, *arguments) -> Any:
  """Calls a function whose failures mean that a file is damaged."""
  try:
    return function(*arguments)
  except StorageError as error:
    raise StorageError(f"{path}: {error}") from error
  except (OSError, RuntimeError, ValueError) as error:
    raise StorageError(f"cannot read {path}: {first_line(error)}") from error


def _sha256(path: Path) -> str:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _note(file: Path) -> Path:
  return file.with_suffix(".json")


def _key(record: np.void) -> str:
  return f"view {record['view']} of example {record['example']}"
