"""The record of a run on disk: metrics.jsonl, TensorBoard scalars, JSON files.

JSON here is strict: nan and infinity, which it cannot write, become null.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kdjax.core.errors import StorageError
from kdjax.core.spec import Spec, Term

METRICS = "metrics.jsonl"


class RunLog:
  """Appends rows of metrics to a work directory, each safe once it is written.

  A row goes to `metrics.jsonl` as it is, and its numbers, averaged over seeds,
  to TensorBoard scalars `<network>/<metric>` in `tensorboard/`. What trainings
  took is gathered in `performance`, by their titles.
  """

  def __init__(
    self, workdir: str | Path, *, recoverable: bool = False, quiet: bool = False
  ):
    """Opens the record of a run, new or resumed.

    Args:
      workdir: made if it is not there. A row that a killed run left half
        written is removed.
      recoverable: whether the run can go on after it was killed, so that its
        trainings are worth checkpoints.
    """
    # tensorboardX takes its time to be imported.
    from kdjax.train.tensorboard import Scalars

    self.workdir, self.recoverable = Path(workdir), recoverable
    self.performance: dict[str, dict[str, Any]] = {}
    self._path, self.quiet = self.workdir / METRICS, quiet
    if quiet:
      return
    try:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      _drop_torn_row(self._path)
      self._file = self._path.open("a", encoding="utf-8")
      self._scalars = Scalars(self.workdir / "tensorboard")
    except OSError as error:
      raise StorageError(f"cannot log to {workdir}: {error}") from error

  def write(self, row: Mapping[str, Any]) -> None:
    """Appends one row and hands it to the operating system at once."""
    plain = to_plain(row)
    if self.quiet:
      return
    try:
      self._file.write(json.dumps(plain, allow_nan=False) + "\n")
      self._file.flush()
    except OSError as error:
      raise StorageError(f"cannot write {self._path}: {error}") from error
    network, step = plain.get("network", "run"), plain.get("step")
    for name, value in plain.items():
      mean = None if name in ("epoch", "step") else _mean(value)
      if mean is not None:
        self._scalars.add_scalar(f"{network}/{name}", mean, step)

  def rewind(self, networks: Collection[str], step: int) -> None:
    """Removes what networks have logged after a step.

    A run that goes on from a checkpoint will log it again.
    """
    if self.quiet:
      return
    earlier = [
      row
      for row in read_history(self._path.parent)
      if row.get("network") not in networks or row.get("step", 0) <= step
    ]
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in earlier)
    try:
      self._file.truncate(0)
      self._file.write("".join(lines))
      self._file.flush()
    except OSError as error:
      raise StorageError(f"cannot write {self._path}: {error}") from error

  def close(self) -> None:
    """Writes what is left and closes the files; more than once does no harm."""
    if self.quiet:
      return
    try:
      self._scalars.close()
    finally:
      try:
        self._file.close()
      except OSError as error:
        raise StorageError(f"cannot write {self._path}: {error}") from error

  def __enter__(self) -> "RunLog":
    return self

  def __exit__(self, kind: type | None, *_: object) -> None:
    # What ended the run is what is to be said, not what came of it.
    after = () if kind is None else (StorageError,)
    with contextlib.suppress(*after):
      self.close()


def read_history(workdir: str | Path) -> list[dict[str, Any]]:
  """Reads the rows that a run has logged."""
  path = Path(workdir) / METRICS
  if not path.exists():
    return []
  try:
    lines = path.read_bytes().split(b"\n")
  except OSError as error:
    raise StorageError(f"cannot read {path}: {error}") from error
  rows = {}
  # What follows the last line loader is a row that was cut off.
  for number, line in enumerate(lines[:-1], start=1):
    try:
      row = json.loads(line)
    except ValueError as error:
      raise StorageError(f"{path}, line {number}: {error}") from error
    key = number if "epoch" not in row else (row.get("network"), row["epoch"])
    rows.pop(key, None)
    rows[key] = row
  return list(rows.values())


def write_json(path: str | Path, value: Any) -> Path:
  """Writes a value as JSON, all of it or nothing.

  The file is written beside its place and then moved there, so that a reader,
  or a run killed meanwhile, finds the old file or the new one.

  Args:
    path: of the file; its folder is made if it is not there.
  """
  text = json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n"
  return write_text(path, text)


def write_text(path: str | Path, text: str) -> Path:
  """Writes text, all of it or nothing; see `write_json`.

  Args:
    path: of the file; its folder is made if it is not there.
    text: what has no form in UTF-8, as names of files may not have, becomes ?.
  """
  path = Path(path)
  beside = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("w", encoding="utf-8", errors="replace") as file:
      file.write(text)
      file.flush()
      # Without it a power cut can leave the new name with no content.
      os.fsync(file.fileno())
    os.replace(beside, path)
  except OSError as error:
    # Where the folder is none, there is nothing to remove either.
    with contextlib.suppress(OSError):
      beside.unlink()
    raise StorageError(f"cannot write {path}: {error}") from error
  return path


def to_plain(value: Any) -> Any:
  """Returns a value in JSON's own types.

  Args:
    value: numbers, text, mappings, sequences, sets, paths, specs, dataclasses,
      and arrays of any library that has `tolist`.

  Returns:
    dicts with text keys, lists, text, numbers, booleans, and None also in
    place of nan and infinity.
  """
  if value is None or isinstance(value, str | bool | int):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if isinstance(value, Spec | Term | os.PathLike):
    return str(value)
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    fields = dataclasses.fields(value)
    value = {field.name: getattr(value, field.name) for field in fields}
  if isinstance(value, Mapping):
    return {str(key): to_plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [to_plain(item) for item in value]
  if isinstance(value, set | frozenset):
    return sorted(to_plain(item) for item in value)
  if hasattr(value, "tolist"):
    return to_plain(value.tolist())
  raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r}")


def _mean(value: Any) -> float | None:
  values = value if isinstance(value, list) else [value]
  values = [
    item
    for item in values
    if isinstance(item, int | float) and not isinstance(item, bool)
  ]
  return sum(values) / len(values) if values else None


def _drop_torn_row(path: Path) -> None:
  if not path.exists():
    return
  content = path.read_bytes()
  whole = content.rfind(b"\n") + 1
  if whole < len(content):
    os.truncate(path, whole)
