"""Choosing examples: few labels, an omitted class, a validation set."""

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np

from kdjax.core.errors import UserError

_SHARE = 0.2  # of a class that `by_name` marks


def every_fifth(labels: np.ndarray) -> np.ndarray:
  """Marks every fifth example of each class: a fixed, stratified test set.

  No random generator, so it is the same on every machine and for ever.

  Args:
    labels: (N,) integers.

  Returns:
    (N,) bool; True for the 5th, 10th, ... example of each class.
  """
  return _rank_in_class(labels) % 5 == 4


def by_name(names: Iterable[str], labels: np.ndarray) -> np.ndarray:
  """Marks about a fifth of the examples of each class, by a hash of their names.

  An example stays where it is when others are added, but for classes in which
  no name falls into the fifth, or every one: the name that is nearest then
  changes sides. Equal names stay together, in different classes too.

  Args:
    names: N names, such as files' without their suffixes.
    labels: (N,) integers >= 0.

  Returns:
    (N,) bool; none of a class with less than 5 examples.
  """
  labels = np.asarray(labels)
  places = np.array([place_of(name) for name in names])
  is_test = places < _SHARE
  order = np.argsort(labels, kind="stable")
  edges = np.flatnonzero(np.diff(labels[order])) + 1
  for members in np.split(order, edges):
    class_places = places[members]
    if len(members) < 1 / _SHARE:
      is_test[members] = False
    elif not is_test[members].any():
      is_test[members] = class_places == class_places.min()
    if is_test[members].all():
      is_test[members] = class_places != class_places.max()
  return is_test


def place_of(name: str) -> float:
  """Says where a name lies in [0, 1), on every machine and for ever."""
  # macOS hands out names in which accents stand apart.
  text = unicodedata.normalize("NFC", name)
  digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
  return int.from_bytes(digest[:6], "big") / 2**48


def stratified(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
  """Draws examples with class counts as equal as they can be.

  A class that has too few examples gives all it has, and the others fill up.

  Args:
    labels: (N,) integers.
    count: number of examples to draw, 1 <= count <= N.
    seed: >= 0.

  Returns:
    (count,) int64 positions in `labels`, sorted.
  """
  labels = np.asarray(labels)
  if not 1 <= count <= len(labels):
    raise UserError(
      f"cannot draw {count} examples out of {len(labels)}: give 1 to"
      f" {len(labels)}"
    )
  generator = _generator(seed)
  order = generator.permutation(len(labels))
  rank = _rank_in_class(labels[order])
  # First examples of all classes come first, then second ones, ...; the classes
  # that give one more than others are drawn too.
  classes = np.unique(labels)
  turn = generator.permutation(len(classes))[
    np.searchsorted(classes, labels[order])
  ]
  return np.sort(order[np.lexsort((turn, rank))[:count]])


def without_classes(labels: np.ndarray, classes: Iterable[int]) -> np.ndarray:
  """Leaves classes out.

  Args:
    labels: (N,) integers.

  Returns:
    Int64 positions of the examples of all other classes, sorted.
  """
  classes = list(classes)
  present = np.unique(labels).tolist()
  for label in classes:
    if label not in present:
      raise UserError(
        f"cannot leave out class {label}: the examples have the classes"
        f" {', '.join(map(str, present))}"
      )
  others = np.flatnonzero(~np.isin(labels, classes))
  if not len(others):
    raise UserError("cannot leave out all classes: no example is left")
  return others


def split_validation(
  labels: np.ndarray, fraction: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Sets validation examples apart, with class counts as equal as can be.

  Of no class more than half is set apart, or than the fraction where it is more:
  of a long tail something is left to learn from.

  Args:
    labels: (N,) integers.
    fraction: of the examples to set apart, 0 < fraction < 1.
    seed: >= 0.

  Returns:
    (train, validation): int64 positions, sorted, disjoint, together all N.
  """
  if not 0 < fraction < 1:
    raise UserError(
      f"the validation fraction must lie between 0 and 1, got {fraction}"
    )
  count = round(len(labels) * fraction)
  if not 0 < count < len(labels):
    raise UserError(
      f"a validation fraction of {fraction} of {len(labels)} examples leaves an"
      " empty part"
    )
  validation = stratified(labels, count, seed=seed)
  labels = np.asarray(labels)
  counts = np.bincount(labels)
  most = np.floor(np.maximum(fraction, 0.5) * counts)
  if (np.bincount(labels[validation], minlength=len(counts)) > most).any():
    order = _generator(seed).permutation(len(labels))
    spare = order[_rank_in_class(labels[order]) < most[labels[order]]]
    count = min(count, len(spare))
    validation = np.sort(spare[stratified(labels[spare], count, seed=seed)])
  return np.setdiff1d(np.arange(len(labels)), validation), validation


def _generator(seed: int) -> np.random.Generator:
  if seed < 0:
    raise UserError(f"the seed must not be negative, got {seed}")
  return np.random.default_rng(seed)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
  """Numbers the examples of each class 0, 1, 2, ... in their order."""
  labels = np.asarray(labels)
  order = np.argsort(labels, kind="stable")
  sorted_labels = labels[order]
  first = np.searchsorted(sorted_labels, sorted_labels, side="left")
  rank = np.empty(len(labels), np.int64)
  rank[order] = np.arange(len(labels)) - first
  return rank
