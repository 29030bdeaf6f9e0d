"""What a record of a teacher cache holds: one teacher's view of one image.

A record is a row of a packed, little-endian NumPy structure: the key, example
and view number, then the answers, then each tapped feature. The manifest lists
the fields, so that NumPy alone can write and read it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdjax.core.errors import StorageError, UserError

KEY = [("example", "<u4"), ("view", "<u4")]
DTYPES = ("float16", "float32")
TAP = "taps/"


def record_type(
  classes: int,
  *,
  top_k: int | None = None,
  taps: Mapping[str, tuple[int, ...]] | None = None,
  dtype: str = "float16",
  size: tuple[int, ...] = (),
) -> np.dtype:
  """Says what a record holds.

  Args:
    top_k: how many answers are kept, 1..C-1, the rest as one number; None
      keeps all.
    taps: shape of each kept feature of one image, by tap.
    dtype: of answers and features, "float16" or "float32".
    size: of an example's answers before their classes: (H, W) of those at every
      pixel, () of one answer.

  Returns:
    The structure: `example`, `view`, then `logits` (*size, C), or `indices`
    (*size, k), `log_probabilities` (*size, k) and `tail` (*size); then `taps/TAP`
    for every tap.
  """
  if dtype not in DTYPES:
    raise UserError(f"a cache holds {' or '.join(DTYPES)}, got {dtype!r}")
  number = np.dtype(dtype).newbyteorder("<").str
  if top_k is None:
    answers = [("logits", number, (*size, classes))]
  elif 1 <= top_k < classes:
    answers = [
      ("indices", "<i4", (*size, top_k)),
      ("log_probabilities", number, (*size, top_k)),
      ("tail", "<f4", tuple(size)),
    ]
  else:
    raise UserError(
      f"top-{top_k} of {classes} classes: keep 1 to {classes - 1} of them"
    )
  feats = [
    (TAP + tap, number, tuple(shape)) for tap, shape in (taps or {}).items()
  ]
  return np.dtype([*KEY, *answers, *feats])


def to_records(
  kind: np.dtype,
  examples: np.ndarray,
  views: np.ndarray,
  logits: np.ndarray,
  feats: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
  """Packs what a teacher makes of some images.

  Args:
    examples: (B,) ints, places in the training set.
    views: (B,) ints, which view of each.
    logits: (B, ..., C) float.
    feats: (B, ...) float by tap; more than the record keeps are left out.

  Returns:
    (B,) records.
  """
  records = np.zeros(len(logits), kind)
  records["example"], records["view"] = examples, views
  wide = np.asarray(logits, np.float64)
  # What does not fit becomes infinite and is refused by name below.
  with np.errstate(over="ignore", invalid="ignore"):
    if "logits" in kind.names:
      records["logits"] = wide
    else:
      _keep_largest(records, wide)
    for name in _taps(kind):
      records[name] = feats[name.removeprefix(TAP)]
  problem = not_finite(records)
  if problem is not None:
    raise UserError(
      f"the teacher's {problem} leave the finite numbers of {kind[problem].base}"
      f" at example {examples[0]} or soon after"
      + (
        "; float32 (--cache_dtype) holds more"
        if kind[problem].base.itemsize == 2
        else ""
      )
    )
  return records


def from_records(
  records: np.ndarray, classes: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Unpacks answers and features.

  Of the top k the log-probabilities are taken as logits, and each of the other
  C - k classes gets the same share of the remaining probability.

  Args:
    records: (B,) from `to_records`.

  Returns:
    (B, C) float32 logits, and (B, ...) float32 features by tap. Logits of every
    pixel, (B, H, W, C), which are large, stay in the type that they are stored in.
  """
  if "logits" in records.dtype.names:
    logits = records["logits"]
    if logits.ndim == 2:
      logits = logits.astype(np.float32)
  else:
    others = classes - records["indices"].shape[-1]
    share = records["tail"] - np.float32(np.log(others))
    logits = np.repeat(share[..., None], classes, axis=-1).astype(np.float32)
    log_probs = records["log_probabilities"].astype(np.float32)
    np.put_along_axis(logits, records["indices"], log_probs, axis=-1)
  feats = {
    name.removeprefix(TAP): records[name].astype(np.float32)
    for name in _taps(records.dtype)
  }
  return logits, feats


def tap_shapes(kind: np.dtype) -> dict[str, tuple[int, ...]]:
  """Lists the features that records hold.

  Returns:
    The shape of one image's feature by tap.

  Example:
    >>> tap_shapes(record_type(10, taps={"stage_0": (4, 4, 8)}))
    {'stage_0': (4, 4, 8)}
  """
  return {name.removeprefix(TAP): kind[name].shape for name in _taps(kind)}


def bytes_in_memory(kind: np.dtype, classes: int) -> int:
  """Counts what `from_records` makes of a record.

  Example:
    >>> bytes_in_memory(record_type(10, top_k=2), 10)
    40
  """
  answers = kind["logits" if "logits" in kind.names else "indices"]
  *size, _ = answers.shape
  wide = not size or "indices" in kind.names
  number = 4 if wide else answers.base.itemsize
  features = sum(int(np.prod(one)) for one in tap_shapes(kind).values())
  return number * int(np.prod(size)) * classes + 4 * features


def describe(kind: np.dtype) -> list[list[Any]]:
  """Writes a record's fields out for the manifest.

  Args:
    kind: what a record holds.

  Returns:
    JSON: [name, type, shape] of every field, in their order.

  Example:
    >>> describe(record_type(10))
    [['example', '<u4', []], ['view', '<u4', []], ['logits', '<f2', [10]]]
  """
  return [
    [name, kind[name].base.str, list(kind[name].shape)] for name in kind.names
  ]


def read_type(fields: Iterable[Any], classes: int) -> np.dtype:
  """Reads a manifest's fields.

  Example:
    >>> kind = record_type(5, top_k=2, taps={"head:in": (3,)})
    >>> read_type(describe(kind), 5) == kind
    True
  """
  try:
    kind = np.dtype(
      [(name, text, tuple(shape)) for name, text, shape in fields]
    )
    answers = "logits" if "logits" in kind.names else "log_probabilities"
    whole = answers == "logits"
    expected = record_type(
      classes,
      top_k=None if whole else kind[answers].shape[-1],
      taps=tap_shapes(kind),
      dtype=kind[answers].base.name,
      size=kind[answers].shape[:-1],
    )
  except (IndexError, KeyError, TypeError, ValueError, UserError) as error:
    raise StorageError(f"no record of a teacher cache: {error}") from error
  if kind != expected:
    raise StorageError(
      f"no record of a teacher cache of {classes} classes: {describe(kind)},"
      f" expected {describe(expected)}"
    )
  return kind


def not_finite(records: np.ndarray) -> str | None:
  """Finds a field with numbers that nothing can be learned from.

  Args:
    records: (B,).

  Returns:
    The name of the first field with a NaN or an infinity; None without.

  Example:
    >>> not_finite(np.zeros(2, record_type(3)))
  """
  for name in records.dtype.names:
    if (
      records.dtype[name].base.kind == "f"
      and not np.isfinite(records[name]).all()
    ):
      return name
  return None


def check_indices(path: Path, indices: np.ndarray, classes: int) -> None:
  """Refuses stored classes that are not different ones of those there are."""
  ordered = np.sort(indices, axis=-1)
  twice = (np.diff(ordered, axis=-1) == 0).any()
  if twice or ordered[..., 0].min() < 0 or ordered[..., -1].max() >= classes:
    raise StorageError(
      f"{path} is damaged: the top classes are not different ones of {classes}"
    )


def _keep_largest(records: np.ndarray, logits: np.ndarray) -> None:
  top_k = records["indices"].shape[-1]
  # Stable, so that equal logits are kept in the order of the classes.
  order = np.argsort(-logits, axis=-1, kind="stable")
  largest = logits.max(axis=-1, keepdims=True)
  total = largest + np.log(np.exp(logits - largest).sum(-1, keepdims=True))
  ordered = np.take_along_axis(logits - total, order, axis=-1)
  records["indices"] = order[..., :top_k]
  records["log_probabilities"] = ordered[..., :top_k]
  # The rest is summed beside its own largest: it may be less than exp(-745).
  tail = ordered[..., top_k:]
  rest = np.log(np.exp(tail - tail[..., :1]).sum(-1))
  records["tail"] = tail[..., 0] + rest


def _taps(kind: np.dtype) -> list[str]:
  return [name for name in kind.names if name.startswith(TAP)]
