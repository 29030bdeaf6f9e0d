"""A training set cut to a long tail: few classes with many examples, many with few."""

import numpy as np

from kdjax.core.arguments import check_whole
from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset, select


def long_tailed(dataset: Dataset, imbalance: float, seed: int = 0) -> Dataset:
  """Leaves out training examples, of each class more than of the one before.

  n_c = n imbalance^(-c / (C - 1))  of class c, from 0, with n examples of the
  largest class; rounded down, at least 1 and at most what there is.

  Args:
    dataset: of classes.
    imbalance: how many times more examples the first class has than the last, >= 1.
    seed: >= 0, which examples stay.

  Returns:
    The data set; its test examples are as they were.

  Raises:
    UserError: for labels that are no classes, and numbers that are out of range.

  Source:
    Cui et al. 2019, arXiv:1901.05555; Cao et al. 2019, arXiv:1906.07413: the
    exponential profile of CIFAR-LT.
  """
  labels = dataset.train.labels
  if labels.ndim > 1 or (dataset.task and dataset.task.kind != "categories"):
    raise UserError(
      f"long_tailed: {dataset.name} has no single class an example; its tail is one"
      " of classes"
    )
  is_number = isinstance(imbalance, int | float) and not isinstance(
    imbalance, bool
  )
  if not is_number or not 1 <= imbalance < float("inf"):
    raise UserError(
      f"long_tailed: imbalance={imbalance!r}; it is a number >= 1, how many times"
      " more examples the first class has than the last"
    )
  seed = check_whole("seed", seed, least=0)
  counts = np.bincount(labels, minlength=dataset.classes)
  place = np.arange(dataset.classes) / max(dataset.classes - 1, 1)
  # A rounding error below a whole number is that number.
  wanted = np.floor(counts.max() * imbalance**-place + 1e-9).astype(int)
  wanted = np.minimum(np.maximum(wanted, 1), counts)
  generator = np.random.default_rng(seed)
  kept = [
    generator.permutation(np.flatnonzero(labels == label))[:count]
    for label, count in enumerate(wanted)
  ]
  train = select(dataset.train, np.sort(np.concatenate(kept)))
  note = f"a long tail: {wanted.max()} to {wanted[wanted > 0].min()} of a class"
  return dataset._replace(train=train, notes=(*dataset.notes, note))
