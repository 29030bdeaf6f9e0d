"""What was exported, read back in Python."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.models.export.formats import FORMATS, parse_formats
from kdjax.models.export.signature import read_about
from kdjax.runner.jobs.export.card import CARD
from kdjax.runner.jobs.export.write import SUMS


def load(folder: str | Path, format: str) -> Callable[[np.ndarray], np.ndarray]:
  """Reads an exported network, once its files are those that were written.

  Args:
    folder: what `launch.py export` wrote.
    format: one of stablehlo, onnx, safetensors, orbax.

  Returns:
    Stored images (B, H, W, D) -> logits (B, C).

  Raises:
    UserError: if there is no such file, or it could run code.
    StorageError: if anything in it was changed since.

  Example:
    >>> load("nowhere", "onnx")
    Traceback (most recent call last):
      ...
    kdjax.core.errors.UserError: there is no exported network in nowhere
  """
  folder = Path(folder)
  if format not in FORMATS:
    parse_formats(format)
  path = folder / FORMATS[format].file
  if not (folder / CARD).is_file():
    raise UserError(f"there is no exported network in {folder}")
  if not path.exists():
    raise UserError(f"{folder} holds no {path.name}: it was not exported")
  _check_sums(folder)
  try:
    about = read_about(json.loads((folder / CARD).read_text())["network"])
  except (ValueError, KeyError) as error:
    raise StorageError(f"{folder / CARD} is damaged: {error}") from error
  return FORMATS[format].load(path, about)


def _check_sums(folder: Path) -> None:
  try:
    for line in (folder / SUMS).read_text().splitlines():
      digest, _, name = line.partition("  ")
      content = (folder / name).read_bytes()
      if hashlib.sha256(content).hexdigest() != digest:
        raise StorageError(f"{folder / name} is damaged or was changed")
  except OSError as error:
    raise StorageError(f"cannot read {folder}: {error}") from error
