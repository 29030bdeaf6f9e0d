"""The logits of trained networks on a set of images."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np


def predict(
  apply: Callable, variables, images, view: Callable, *, chunk: int = 1000
) -> np.ndarray:
  """Computes the logits of several networks of one architecture.

  Args:
    apply: linen's apply, called with `train=False`.
    variables: the networks' variables, each array with a leading axis (M,).
    images: (N, H, W, C) stored images, an array or a lazy sequence.
    view: stored images -> float32 images, `kdjax.data.to_float`.
    chunk: images at once; the last chunk is padded, so that there is one
      compiled program.

  Returns:
    (M, N, C) float32.

  Example:
    >>> variables = {"w": jnp.ones((2, 1, 1))}
    >>> apply = lambda variables, x, train: x @ variables["w"]
    >>> predict(apply, variables, np.ones((3, 1)), lambda x: x, chunk=2).shape
    (2, 3, 1)
  """
  total = len(images)
  chunk = min(chunk, total)
  parts = []
  for start in range(0, total, chunk):
    block = _read(images, start, min(start + chunk, total))
    padding = [(0, chunk - len(block))] + [(0, 0)] * (block.ndim - 1)
    logits = _logits(apply, view, variables, np.pad(block, padding))
    parts.append(np.asarray(logits)[:, : len(block)])
  return np.concatenate(parts, axis=1)


@partial(jax.jit, static_argnums=(0, 1))
def _logits(apply, view, variables, images):
  seen = view(images)
  return jax.vmap(lambda member: apply(member, seen, train=False))(variables)


def _read(images, start: int, stop: int) -> np.ndarray:
  if isinstance(images, np.ndarray):
    return images[start:stop]
  return np.stack([images[i] for i in range(start, stop)])
