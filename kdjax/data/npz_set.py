"""Data sets out of .npz files: arrays of inputs and labels, nothing pickled."""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import number_labels, several_labels, targets
from kdjax.data.dataset import Dataset
from kdjax.data.labelled import (
  Classes,
  check_split,
  hold_out,
  make_dataset,
  number_classes,
)
from kdjax.data.naming import printable
from kdjax.data.weights_and_groups import (
  Names,
  attach,
  check_names,
  of_arrays,
)
from kdjax.data.whole import first_line

# What arrays are called, with _train or _test behind or train_, test_ before.
_INPUTS, _LABELS = ("x", "image", "images"), ("y", "label", "labels")


def open_npz(
  path: Path,
  name: str,
  *,
  label: str = "label",
  standardise: bool = True,
  kind: str | None = None,
  beside: Names,
) -> Dataset:
  """Opens an .npz file.

  Args:
    path: holds `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`; see
      docs/data.md for other names. x is (N, D), (N, H, W) or (N, H, W, C).
    name: as the user wrote it.
    label: what labels are called, besides `y`, `label` and `labels`.
    standardise: as `make_dataset`.
    kind: of the answers that the labels are for, see `targets`; of embeddings
      there may be no labels.
    beside: what weights and groups are called, with _train and _test behind or
      train_ and test_ before where inputs have that.

  Raises:
    UserError: if it cannot be read, or makes no data set.
  """
  where = f"arrays {path}"
  arrays = _read(path, where)
  names = (label, *_LABELS)
  if kind == "embedding" and not _labelled(arrays, names):
    parts = _parts(arrays, _INPUTS, where)
    arrays.pop("label_names", None)
    answers = [targets.without_labels(len(arrays[x])).labels for x, _ in parts]
  else:
    parts = _parts(arrays, names, where)
    answers = [arrays[y] for _, y in parts]
  inputs = [_inputs(arrays[x], f"{where}: {x!r}") for x, _ in parts]
  for x, y in zip(inputs, answers, strict=True):
    if len(x) != len(y):
      raise UserError(f"{where}: {len(x)} inputs, but {len(y)} labels")
  shapes = sorted({x.shape[1:] for x in inputs})
  if len(shapes) > 1:
    raise UserError(f"{where}: the inputs have the shapes {shapes}")
  values = np.concatenate(inputs)
  classes = _classes(answers, [y for _, y in parts], arrays, where, kind)
  strata = several_labels.strata(classes)
  if len(parts) == 2:
    is_test = np.arange(len(values)) >= len(inputs[0])
    check_split(strata, is_test, where)
  else:
    rows = [row.tobytes().hex() for row in values]
    is_test = hold_out(
      rows, strata, where, "x_train, y_train, x_test and y_test"
    )
  dataset = make_dataset(
    name, classes, values, is_test, standardise=standardise
  )
  columns = _beside(arrays, beside, parts, where)
  counts = [len(x) for x in inputs]
  return attach(dataset, of_arrays(columns, counts, where), is_test)


def _beside(arrays, names: Names, parts, where: str):
  """The arrays of weights and of groups, a list of one a split each."""
  splits = ("",) if len(parts) == 1 else ("train", "test")
  columns = {}
  for what, name in names._asdict().items():
    if name is None:
      continue
    spelled = [_spelled((name,), part) for part in splits]
    there = [[x for x in texts if x in arrays][:1] for texts in spelled]
    if any(there) and not all(there):
      missing = spelled[there.index([])][0]
      raise UserError(
        f"{where}: there is no array {missing!r}, as for the other split"
      )
    if all(there):
      columns[what] = [arrays[x] for (x,) in there]
  check_names(names, {*arrays, *(names._asdict()[x] for x in columns)}, where)
  return columns


def _read(path: Path, where: str) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except (
    OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error
  ) as error:  # fmt: skip
    raise UserError(f"{where} cannot be read: {first_line(error)}") from error


def _parts(
  arrays: Mapping[str, np.ndarray], labels: Iterable[str], where: str
) -> list[tuple[str, str]]:
  """The names of inputs and labels, of one split or of train and test."""
  pairs = [
    [
      next((x for x in _spelled(names, part) if x in arrays), None)
      for names in (_INPUTS, labels)
    ]
    for part in ("", "train", "test")
  ]
  whole, *halves = ([tuple(pair)] if all(pair) else [] for pair in pairs)
  parts = whole or sum(halves, [])
  if len(parts) == (1 if whole else 2):
    return parts
  raise UserError(
    f"{where}: it has {', '.join(map(printable, arrays)) or 'nothing'}; give x"
    " and y, or x_train, y_train, x_test and y_test (x may be image or images, y"
    " label or labels)"
  )


def _labelled(arrays: Mapping[str, np.ndarray], labels: Iterable[str]) -> bool:
  """Whether an array is called as labels are."""
  parts = ("", "train", "test")
  return any(
    name in arrays for part in parts for name in _spelled(labels, part)
  )


def _spelled(names: Iterable[str], part: str) -> list[str]:
  if not part:
    return [*names]
  return [text for x in names for text in (f"{x}_{part}", f"{part}_{x}")]


def _inputs(array: np.ndarray, where: str) -> np.ndarray:
  if array.ndim not in (2, 3, 4) or not array.size:
    raise UserError(
      f"{where} has the shape {array.shape}; inputs are (N, D), (N, H, W) or"
      " (N, H, W, C)"
    )
  if array.dtype.kind not in "iufb":
    raise UserError(f"{where} has the type {array.dtype}; inputs are numbers")
  if array.ndim == 3:
    array = array[..., None]
  if array.ndim == 4 and array.dtype.kind in "iub" and array.dtype != np.uint8:
    raise UserError(
      f"{where} has the type {array.dtype}; pixels are uint8, 0 to 255, or floats"
    )
  if array.dtype == np.uint8 and array.ndim == 4:
    return array
  # What float32 cannot hold becomes infinite, and is refused as such.
  with np.errstate(over="ignore"):
    array = array.astype(np.float32)
  finite = np.isfinite(array).reshape(len(array), -1).all(1)
  if not finite.all():
    raise UserError(
      f"{where}: example {int(finite.argmin())} is not finite in float32"
    )
  return array


def _classes(answers, names, arrays, where: str, kind: str | None) -> Classes:
  """What each example is, a class, several times yes or no, or numbers."""
  widths = [x.shape[1] if x.ndim == 2 else 1 for x in answers]
  if len({*widths}) > 1:
    raise UserError(f"{where}: the labels have the widths {widths}")
  label_names = arrays.get("label_names")
  if kind in targets.NUMBERS:
    answers = [x.reshape(len(x), -1) if x.ndim == 1 else x for x in answers]
    parts = [
      number_labels.of_array(x, label_names, f"{where}: {y!r}")
      for x, y in zip(answers, names, strict=True)
    ]
    labels = np.concatenate([part.labels for part in parts])
    return parts[0]._replace(labels=labels)
  if kind == "binary" and answers[0].dtype.kind in "iufb":
    answers = [x.reshape(len(x), -1) if x.ndim == 1 else x for x in answers]
    widths = [2]
  if (
    kind == "categories"
    or widths[0] == 1
    or answers[0].dtype.kind not in "iufb"
  ):
    labels = [
      _labels(x, f"{where}: {y!r}") for x, y in zip(answers, names, strict=True)
    ]
    return number_classes(np.concatenate(labels), where)
  return several_labels.of_array(
    np.concatenate(answers), label_names, f"{where}: {names[0]!r}"
  )


def _labels(array: np.ndarray, where: str) -> np.ndarray:
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  if array.ndim != 1 or array.dtype.kind not in "iufbU":
    raise UserError(
      f"{where} has the type {array.dtype} and the shape {array.shape}; labels"
      " are (N,) whole numbers or texts, or several of yes and no, (N, L) numbers"
    )
  return array.astype(str)
