"""One number for the training images, in their order."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data.dataset import Split, resident

# Sets with more pixels than this would take minutes to read again for every run.
WHOLE = 2 << 30
SAMPLED = 4096


def fingerprint(split: Split) -> str:
  """Returns the sha256 of a split's images and labels, in their order.

  Of a set with more than 2 GiB of pixels all labels count, and 4,096 images
  that are spread evenly over it. Arrays by name are those of `fingerprint_arrays`.

  Args:
    split: N >= 1 examples, resident or not: the result is the same.

  Returns:
    64 hexadecimal digits over "(N, H, W, C) dtype", the images' bytes and the
    labels' as little-endian int32, or as what they are if they are no integers.

  Example:
    >>> images = np.zeros((2, 4, 4, 1), np.uint8)
    >>> fingerprint(Split(images, np.array([0, 1], np.int32)))[:8]
    '718086ef'
  """
  if isinstance(split.images, Mapping):
    return fingerprint_arrays({**split.images, "labels": split.labels})
  count, first = len(split.labels), np.asarray(split.images[0])
  whole = hashlib.sha256(f"{(count, *first.shape)} {first.dtype}".encode())
  if count * first.nbytes <= WHOLE and resident(split):
    whole.update(_plain(split.images))
  else:
    places = range(count)
    if count * first.nbytes > WHOLE:
      places = np.linspace(0, count - 1, min(count, SAMPLED)).astype(int)
    for index in places:
      whole.update(_plain(split.images[int(index)]))
  labels = split.labels
  if labels.dtype.kind in "iub":
    labels = labels.astype(np.int32)
  whole.update(_plain(labels))
  return whole.hexdigest()


def fingerprint_arrays(arrays: Any) -> str:
  """Returns the sha256 of arrays by name, their order included.

  Of an array of more than 2 GiB 4,096 rows count, spread evenly over it.

  Args:
    arrays: (N, ...) of NumPy or jax, by name, or trees of them.

  Returns:
    64 hexadecimal digits, over names, shapes, types and bytes.

  Example:
    >>> fingerprint_arrays({"x": np.zeros(3)}) == fingerprint_arrays({"x": np.ones(3)})
    False
  """
  whole = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(arrays):
    name = jax.tree_util.keystr(path)
    whole.update(f"{name} {x.shape} {x.dtype}".encode())
    if x.nbytes > WHOLE:
      x = x[np.linspace(0, len(x) - 1, min(len(x), SAMPLED)).astype(int)]
    whole.update(_plain(np.asarray(x)))
  return whole.hexdigest()


def _plain(array: np.ndarray) -> np.ndarray:
  """The array with little-endian bytes, one after the other."""
  little = array.dtype.newbyteorder("<")
  return np.ascontiguousarray(array, little).reshape(-1).view(np.uint8)
