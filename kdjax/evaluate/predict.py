"""The logits of trained networks on a set of images."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np


def predict(
  apply: Callable,
  variables,
  images,
  view: Callable,
  *,
  chunk: int = 1000,
  together: bool = True,
  most: int | None = None,
) -> np.ndarray:
  """Computes the logits of several networks of one architecture.

  Args:
    apply: linen's apply, called with `train=False`.
    variables: the networks' variables, each array with a leading axis (M,).
    images: (N, H, W, C) stored images, an array or a lazy sequence.
    view: stored images -> float32 images, `kdjax.data.to_float`.
    chunk: images at once; the last chunk is padded, so that there is one
      compiled program.
    together: whether the networks answer side by side, or one after the other:
      faster for convolutions on the CPU.
    most: networks that answer side by side; None for all.

  Returns:
    (M, N, C) float32.

  Example:
    >>> variables = {"w": jnp.ones((2, 1, 1))}
    >>> apply = lambda variables, x, train: x @ variables["w"]
    >>> predict(apply, variables, np.ones((3, 1)), lambda x: x, chunk=2).shape
    (2, 3, 1)
  """
  members = len(jax.tree.leaves(variables)[0])
  if not together:
    each = [
      jax.tree.map(lambda x, m=m: x[m], variables) for m in range(members)
    ]
    forward = partial(_one, apply, view)
    return np.stack([in_chunks(forward, one, images, chunk) for one in each])
  forward = partial(_side_by_side, apply, view)
  portions = np.array_split(
    np.arange(members), -(-members // (most or members))
  )
  return np.concatenate(
    [
      in_chunks(forward, portion, images, chunk, axis=1)
      for portion in (
        jax.tree.map(lambda x, m=m: x[m[0] : m[-1] + 1], variables)
        for m in portions
      )
    ]
  )


def in_chunks(
  forward: Callable, variables, images, chunk: int, axis: int = 0
) -> np.ndarray:
  """Calls a network on some images after the other.

  Args:
    forward: (variables, images) -> logits.
    variables: handed on.
    images: (N, H, W, C) stored images, an array or a lazy sequence.
    chunk: images at once; the last ones are padded.
    axis: of the images in the logits.

  Returns:
    The logits of all.

  Example:
    >>> in_chunks(lambda _, x: x[:, 0], None, np.ones((3, 1)), chunk=2).shape
    (3,)
  """
  total = len(images)
  chunk = min(chunk, total)
  parts = []
  for start in range(0, total, chunk):
    block = _read(images, start, min(start + chunk, total))
    padding = [(0, chunk - len(block))] + [(0, 0)] * (block.ndim - 1)
    logits = np.asarray(forward(variables, np.pad(block, padding)))
    parts.append(logits.take(np.arange(len(block)), axis=axis))
  return np.concatenate(parts, axis=axis)


@partial(jax.jit, static_argnums=(0, 1))
def _one(apply, view, variables, images):
  return apply(variables, view(images), train=False)


@partial(jax.jit, static_argnums=(0, 1))
def _side_by_side(apply, view, variables, images):
  seen = view(images)
  return jax.vmap(lambda member: apply(member, seen, train=False))(variables)


def _read(images, start: int, stop: int) -> np.ndarray:
  if isinstance(images, np.ndarray):
    return images[start:stop]
  return np.stack([images[i] for i in range(start, stop)])
