"""Dropout whose masks belong to examples, not to devices.

The stock layer draws one mask for the local batch, so that the same example
would lose other units on two devices than on one.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


def by_example(positions: jax.Array) -> Callable:
  """Makes an interceptor that draws each example's mask from its own key.

  Args:
    positions: (B,) int32, the examples' places in the global batch.

  Returns:
    An interceptor for `nn.intercept_methods`. Layers that are deterministic, share
    one mask among examples (0 in `broadcast_dims`) or see another leading axis
    than the batch are left alone.
  """

  def intercept(next_function, args, kwargs, context):
    layer = context.module
    if not isinstance(layer, nn.Dropout) or context.method_name != "__call__":
      return next_function(*args, **kwargs)
    x = args[0] if args else kwargs["inputs"]
    deterministic = kwargs.get(
      "deterministic", args[1] if len(args) > 1 else None
    )
    deterministic = nn.merge_param(
      "deterministic", layer.deterministic, deterministic
    )
    by_batch = x.shape[:1] == positions.shape and 0 not in layer.broadcast_dims
    if deterministic or layer.rate in (0.0, 1.0) or not by_batch:
      return next_function(*args, **kwargs)
    return _drop(layer, x, positions)

  return intercept


def _drop(layer: nn.Dropout, x: jax.Array, positions: jax.Array) -> jax.Array:
  rng = layer.make_rng(layer.rng_collection)
  shape = tuple(
    1 if axis + 1 in layer.broadcast_dims else size
    for axis, size in enumerate(x.shape[1:])
  )
  keep = 1.0 - layer.rate

  def mask(position):
    return jax.random.bernoulli(jax.random.fold_in(rng, position), keep, shape)

  return jnp.where(jax.vmap(mask)(positions), x / keep, jnp.zeros_like(x))
