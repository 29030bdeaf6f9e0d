"""Batch normalisation over the global batch, padding left out.

The stock layer sees the local batch: the same example would be normalised
otherwise on two devices than on one, and padding would count.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis


def over_the_batch(mask: jax.Array, axis_name: Axis = None) -> Callable:
  """Makes an interceptor that normalises over all examples that count.

  Args:
    mask: (B,) bool, the local examples that count; or float, how much they do.
    axis_name: the mapped axis of devices, or a group of them; None outside of
      one.

  Returns:
    An interceptor for `nn.intercept_methods`. Layers that use their running
    averages, or see another leading axis than the batch, are left alone.
  """

  def intercept(next_function, args, kwargs, context):
    layer = context.module
    if not isinstance(layer, nn.BatchNorm) or context.method_name != "__call__":
      return next_function(*args, **kwargs)
    x = args[0] if args else kwargs["x"]
    running = kwargs.get(
      "use_running_average", args[1] if len(args) > 1 else None
    )
    running = nn.merge_param(
      "use_running_average", layer.use_running_average, running
    )
    if running or x.shape[:1] != mask.shape or kwargs.get("mask") is not None:
      return next_function(*args, **kwargs)
    return _normalise(layer, x, mask, axis_name)

  return intercept


def _normalise(layer: nn.BatchNorm, x, mask, axis_name) -> jax.Array:
  features = {axis % x.ndim for axis in np.atleast_1d(layer.axis)}
  over = tuple(axis for axis in range(x.ndim) if axis not in features)
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  counts = mask.reshape(-1, *[1] * (x.ndim - 1))
  weighs = jnp.issubdtype(mask.dtype, jnp.floating)

  def mean(values):
    # A sum of padding would be 0 * inf where padding is not finite.
    weighed = counts * values if weighs else values
    total = jnp.sum(jnp.where(counts, weighed, 0.0), axis=over, keepdims=True)
    values_per_row = x.size // x.shape[0] // (total.size or 1)
    count = jnp.sum(mask, dtype=wide.dtype) * values_per_row
    total, count = collectives.psum((total, count), axis_name)
    if weighs:  # They may add up to less than one.
      return total / jnp.where(count > 0, count, 1)
    return total / jnp.maximum(count, 1)

  center = mean(wide)
  # Twice over the data: the mean of squares minus the squared mean cancels.
  variance = mean(jnp.square(wide - center))
  _remember(layer, center, variance)
  y = (wide - center) * jax.lax.rsqrt(variance + layer.epsilon)
  if layer.use_scale:
    y = y * layer.get_variable("params", "scale").reshape(center.shape)
  if layer.use_bias:
    y = y + layer.get_variable("params", "bias").reshape(center.shape)
  return y.astype(layer.dtype or x.dtype)


def _remember(layer: nn.BatchNorm, center, variance) -> None:
  for name, value in (("mean", center), ("var", variance)):
    old = layer.get_variable("batch_stats", name)
    new = layer.momentum * old + (1 - layer.momentum) * value.reshape(old.shape)
    layer.put_variable("batch_stats", name, new)
