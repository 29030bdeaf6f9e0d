"""What several methods read off their inputs: last features, labels, classifiers."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from kdjax import taps
from kdjax.errors import UserError
from kdjax.method import Inputs, View


def last(view: View, tap: str) -> jax.Array:
  """Picks the last feature that a tap names, such as the last of the stages.

  Args:
    view: what a network shows.
    tap: with or without globs.

  Returns:
    (B, ...) float32.

  Raises:
    UserError: if the tap names no feature.

  Example:
    >>> feats = {"stage_0": jnp.zeros((1, 3)), "stage_1": jnp.ones((1, 2))}
    >>> last(View(None, feats), "stage_*").shape
    (1, 2)
  """
  return taps.select(view.feats, tap)[-1].astype(jnp.float32)


def over_positions(features: jax.Array) -> jax.Array:
  """Averages over all positions of maps or tokens.

  Args:
    features: (B, D), (B, T, D) or (B, H, W, D).

  Returns:
    (B, D), as vectors are already.

  Example:
    >>> over_positions(jnp.ones((1, 2, 2, 3))).shape
    (1, 3)
  """
  return features.mean(axis=tuple(range(1, features.ndim - 1)))


def labelled(
  loss: Callable[[jax.Array], jax.Array], inputs: Inputs
) -> jax.Array:
  """Takes a loss that needs labels where there are labels.

  Of mixed images it takes the first label alone.

  Args:
    loss: labels (B,) int32, all valid, -> (B,) values.
    inputs: with the labels, -1 where an example has none.

  Returns:
    (B,) the values, 0 for an example without a label.

  Example:
    >>> inputs = Inputs(None, None, jnp.array([3, -1]), 0)
    >>> print(labelled(lambda labels: 1.0 * labels, inputs))
    [3. 0.]
  """
  values = loss(jnp.maximum(inputs.labels, 0))
  return jnp.where(inputs.labels >= 0, values, 0.0)


def classifier(
  name: str,
  whose: str,
  head: Mapping[str, jax.Array] | None,
  width: int,
  hint: str = "tap 'head:in'",
) -> tuple[jax.Array, jax.Array]:
  """Takes a linear classifier apart, and checks that it fits some features.

  Args:
    name: the method that needs it, for the message.
    whose: "teacher" or "student", for the message.
    head: {"kernel": (D, C), "bias": (C,)}, or None.
    width: D of the features that it is to be applied to.
    hint: what to do where it takes others.

  Returns:
    The kernel (D, C) and the bias (C,), float32.

  Raises:
    UserError: if there is none, or for features of another width.

  Example:
    >>> head = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
    >>> classifier("srrl", "teacher", head, 3)[0].shape
    (3, 2)
  """
  if head is None:
    raise UserError(
      f"{name} needs the {whose}'s linear classifier, the dense layer 'head',"
      f" but this {whose} shows none"
    )
  kernel = head["kernel"].astype(jnp.float32)
  if kernel.shape[0] != width:
    raise UserError(
      f"{name}: the {whose}'s classifier takes {kernel.shape[0]} features, and"
      f" the tapped ones have {width}; {hint}"
    )
  return kernel, head["bias"].astype(jnp.float32)
