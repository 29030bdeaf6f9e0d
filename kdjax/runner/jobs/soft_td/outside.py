"""Soft labels from outside: of people, of another framework, of another run."""

from pathlib import Path

import numpy as np

from kdjax.core.errors import UserError
from kdjax.runner.jobs.soft_td.targets import (
  check_feasible,
  project_onto_simplex,
  to_log,
)

ARRAY = "soft_labels"


def read_soft_labels(
  source: str, *, examples: int, classes: int, project: bool
) -> np.ndarray:
  """Reads a table of soft labels; (N, C) float64 logarithms of probabilities.

  Args:
    source: an .npy file, or an .npz file with the array `soft_labels` (or only
      one): (N, C) numbers, a row for every example of the training set in the
      order in which it is stored. Nothing in it is executed.
  """
  flag = f"--soft_labels_from={source}"
  table = _load(flag, Path(source).expanduser())
  if table.dtype.kind not in "fiu":
    raise UserError(f"{flag}: soft labels are numbers, got {table.dtype}")
  if table.shape != (examples, classes):
    raise UserError(
      f"{flag}: expected {(examples, classes)}, a row for every training"
      f" example and a column for every class, got {table.shape}"
    )
  try:
    if project:
      table = project_onto_simplex(table)
    check_feasible(table)
  except ValueError as error:
    hint = "" if project else "; --project_simplex takes the nearest that does"
    raise UserError(f"{flag}: {error}{hint}") from None
  table = np.asarray(table, np.float64)
  return to_log(table / table.sum(axis=-1, keepdims=True))


def _load(flag: str, path: Path) -> np.ndarray:
  try:
    table = np.load(path, allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise UserError(f"{flag}: cannot be read: {error}") from None
  if isinstance(table, np.ndarray):
    return table
  with table:
    names = table.files
    name = names[0] if len(names) == 1 else ARRAY
    if name not in names:
      raise UserError(f"{flag}: it holds {names}, and no {ARRAY!r}")
    try:
      return table[name]
    except ValueError as error:
      raise UserError(f"{flag}: cannot be read: {error}") from None
