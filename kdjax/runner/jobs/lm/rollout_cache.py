"""How much memory the keys and values take while a student writes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.models.generation.generate import decoding_for
from kdjax.runner.pipeline.partition import batch_parts
from kdjax.train.devices.rules import Partition, layout

# (B, G, slots, W): of a cache's arrays those with heads, which XLA cuts as it cuts
# what computes them.
HEADS, KEYS = 1, "attention/key/kernel"


def rollout_cache(
  networks: Sequence[tuple[Any, Any]],
  partition: Partition | None,
  *,
  batch_size: int,
  prompt: int,
  new_tokens: int,
  devices: Sequence[jax.Device],
) -> int:
  """Counts the bytes that one member's cache takes on a device.

  Args:
    networks: those that a token is drawn from, each with its variables, or their
      shapes.
    partition: how arrays are cut over a mesh; None for none.
    batch_size: of all devices together.
    prompt: the most tokens of a prompt.
    new_tokens: the most behind one.
    devices: among which batches are divided where there is no mesh.
  """
  rows = batch_size // batch_parts(partition, devices)

  def on_a_device(network, variables):
    decoding = decoding_for(network, variables, prompt, new_tokens)
    cache = jax.eval_shape(
      lambda variables: decoding.start(
        variables, rows, prompt + new_tokens - 1
      ),
      variables,
    )
    parts = _head_parts(variables, partition)
    return sum(
      x.size * x.dtype.itemsize // (parts if x.ndim > HEADS + 1 else 1)
      for x in jax.tree.leaves(cache)
    )

  return sum(on_a_device(*one) for one in networks)


def _head_parts(variables: Any, partition: Partition | None) -> int:
  """Into how many parts the heads of keys are cut."""
  if partition is None:
    return 1
  shapes, _ = jax.tree_util.tree_flatten_with_path(variables)
  shardings = jax.tree.leaves(layout(variables, partition))
  for (path, kernel), sharding in zip(shapes, shardings, strict=True):
    if KEYS in jax.tree_util.keystr(path, simple=True, separator="/"):
      heads = jnp.ndim(kernel) - 2
      whole = jnp.shape(kernel)
      return whole[heads] // sharding.shard_shape(whole)[heads]
  return 1
