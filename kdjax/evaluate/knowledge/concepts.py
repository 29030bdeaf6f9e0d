"""Visual concepts: cells whose information a layer keeps."""

import jax
import jax.numpy as jnp

from kdjax.evaluate.knowledge.cells import cell_means


def foreground(
  masks: jax.Array, grid: tuple[int, int], *, share: float = 0.25
) -> jax.Array:
  """Says which cells lie on the object.

  Args:
    masks: (B, H, W) bool or float in [0, 1], 1 on the object; a box is a mask.
    grid: (GH, GW) cells.
    share: a cell is foreground if more than this part of it is.

  Returns:
    (B, GH, GW) bool.
  """
  return cell_means(masks.astype(jnp.float32), grid) > share


def background_entropy(
  entropy: jax.Array, on_object: jax.Array, valid: jax.Array
) -> jax.Array:
  """Mean entropy of background cells, averaged over images.

  Args:
    entropy: (N, GH, GW) nats, of one checkpoint.
    on_object: (N, GH, GW) bool.
    valid: (N,) bool, which images count; those without background do not.

  Returns:
    () float32, nats; nan if no image counts.

  Example:
    >>> H, on = jnp.array([[[0.0, -1.0]]]), jnp.array([[[False, True]]])
    >>> print(background_entropy(H, on, jnp.array([True])))
    0.0
  """
  count = jnp.sum(~on_object, axis=(1, 2))
  total = jnp.sum(jnp.where(on_object, 0.0, entropy), axis=(1, 2))
  counts = valid & (count > 0)
  mean = jnp.where(counts, total / jnp.maximum(count, 1), 0.0)
  return jnp.sum(mean) / jnp.sum(counts)


def concepts(
  entropy: jax.Array,
  on_object: jax.Array,
  valid: jax.Array,
  threshold: float | jax.Array,
) -> jax.Array:
  """Marks the cells that are visual concepts: Hbar - H_g > b.

  Args:
    entropy: (N, GH, GW) nats, of one checkpoint.
    on_object: (N, GH, GW) bool.
    valid: (N,) bool; an image that does not count has no concepts.
    threshold: b, nats.

  Returns:
    (N, GH, GW) bool.

  Source:
    Cheng et al. 2020, arXiv:2003.03622; b = 0.2 in its code.
  """
  mean = background_entropy(entropy, on_object, valid)
  return (mean - entropy > threshold) & valid[:, None, None]
