"""How common classes are, and how much more a rare one's examples count."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import misfit
from kdjax.core.errors import UserError

# Weights that a training set's labels say.
BALANCED = "balanced"


def count_classes(labels: Any, classes: int, weight: Any = None) -> np.ndarray:
  """Counts the examples of each class.

  Args:
    labels: (N, ...) int; what is no class, such as -1, counts nowhere.
    classes: C.
    weight: (N,) how much each example counts; 1 by default.

  Returns:
    (C,) float64.

  Example:
    >>> count_classes(np.array([0, 2, 2, -1]), 3).tolist()
    [1.0, 0.0, 2.0]
  """
  labels = np.asarray(labels)
  weights = np.ones(labels.shape)
  if weight is not None:
    shape = (-1, *[1] * (labels.ndim - 1))
    weights = weights * np.reshape(np.asarray(weight, float), shape)
  is_class = (labels >= 0) & (labels < classes)
  return np.bincount(
    labels[is_class].astype(int), weights=weights[is_class], minlength=classes
  )


def balanced_class_weights(counts: Any) -> tuple[float, ...]:
  """Returns weights that make all classes count alike: n / (C n_c).

  Args:
    counts: (C,) how many examples each class has; one without any weighs 1.

  Returns:
    C numbers > 0, of which the mean over the examples is 1.

  Example:
    >>> balanced_class_weights([1, 3])
    (2.0, 0.6666666666666666)

  Source:
    King and Zeng 2001, Logistic regression in rare events data; scikit-learn's
    class_weight="balanced" is the same.
  """
  counts = np.asarray(counts, float)
  there = counts > 0
  weights = np.divide(
    counts.sum(), there.sum() * counts, out=np.ones_like(counts), where=there
  )
  return tuple(weights.tolist())


def read_class_weights(given: Any, classes: int) -> Any:
  """Checks what a user gave as weights of classes.

  Returns:
    C numbers > 0; BALANCED; or None for none.

  Raises:
    UserError: for anything else.
  """
  if given is None or str(given) == BALANCED:
    return None if given is None else BALANCED
  says = f"{classes} numbers > 0, one a class, or 'balanced', or None"
  try:
    weights = np.asarray(given).astype(float, casting="same_kind")
  except (TypeError, ValueError):
    raise misfit("class_weights", says, given) from None
  is_one_each = weights.shape == (classes,)
  if not is_one_each or not (np.isfinite(weights) & (weights > 0)).all():
    raise misfit("class_weights", says, given)
  return tuple(weights.tolist())


def check_numbers(class_weights: Any) -> None:
  """Refuses weights that nobody has made numbers of yet."""
  if class_weights == BALANCED:
    raise UserError(
      "class_weights='balanced' is what a training set's labels say: give"
      " kdjax.data.balanced_class_weights(kdjax.data.count_classes(labels, classes))"
    )


def weights_of_rows(
  class_weights: Sequence[float], labels: Any, dtype: Any
) -> Any:
  """Looks up the weight of each row's class.

  Args:
    labels: (R,) int, >= 0 where it matters.

  Returns:
    (R,) of the type.
  """
  return jnp.asarray(class_weights, dtype)[jnp.maximum(labels, 0)]


def read_prior(
  given: Any, classes: int | None = None, name: str | None = None
) -> np.ndarray | None:
  """Checks how common classes are.

  Args:
    given: C counts or shares > 0, or None.
    classes: C, where it is known.
    name: of who needs them; None where they may be missing.

  Returns:
    (C,) float64 shares.

  Raises:
    UserError: for numbers that are not > 0 or not one a class; and for none.
  """
  if given is None:
    if name is None:
      return None
    raise UserError(
      f"{name} needs to know how common the classes are: give prior=, such as"
      " kdjax.data.count_classes(labels, classes)"
    )
  count = "C" if classes is None else classes
  says = f"{count} numbers > 0, the classes' counts or shares"
  try:
    prior = np.asarray(given).astype(float, casting="same_kind")
  except (TypeError, ValueError):
    raise misfit("prior", says, given) from None
  fits = prior.ndim == 1 and prior.size > 1
  fits &= classes is None or prior.shape == (classes,)
  if not fits or not (np.isfinite(prior) & (prior > 0)).all():
    raise misfit("prior", says, given)
  return prior / prior.sum()
