"""The logits of trained networks on a set of images."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jax
import numpy as np

from kdjax.core.calling import call_with


def predict(
  apply: Callable,
  variables,
  images,
  view: Callable,
  *,
  chunk: int = 1000,
  together: bool = True,
  most: int | None = None,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None = None,
  keep: Callable | None = None,
) -> np.ndarray:
  """Computes the logits of several networks of one architecture.

  Args:
    apply: linen's apply, called with `train=False`.
    variables: the networks' variables, each array with a leading axis (M,).
    images: (N, H, W, C) stored images, an array or a lazy sequence; or arrays by
      name.
    view: stored images -> float32 images, `kdjax.data.to_float`.
    chunk: images at once; the last chunk is filled up, so that there is one
      compiled program.
    together: whether the networks answer side by side, or one after the other:
      faster for convolutions on the CPU.
    most: networks that answer side by side; None for all.
    read: what reads lazy images side by side, indices (chunks, chunk) ->
      iterator of stored images; one after the other without it.
    keep: (a network's outputs, its inputs) -> what is kept of them; None for all.

  Returns:
    (M, N, C) float32, or (M, N, ...) of what is kept.

  Example:
    >>> variables = {"w": jnp.ones((2, 1, 1))}
    >>> apply = lambda variables, x, train: x @ variables["w"]
    >>> predict(apply, variables, np.ones((3, 1)), lambda x: x, chunk=2).shape
    (2, 3, 1)
  """
  forward = partial(_side_by_side if together else _in_turn, apply, view, keep)
  members = len(jax.tree.leaves(variables)[0])
  portions = -(-members // (most or members)) if together else 1
  return np.concatenate(
    [
      in_chunks(
        forward,
        jax.tree.map(lambda x, m=m: x[m[0] : m[-1] + 1], variables),
        images,
        chunk,
        axis=1,
        read=read,
      )
      for m in np.array_split(np.arange(members), portions)
    ]
  )


def in_chunks(
  forward: Callable,
  variables,
  images,
  chunk: int,
  axis: int = 0,
  *,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None = None,
) -> np.ndarray:
  """Calls a network on some images after the other.

  Args:
    forward: (variables, images) -> logits.
    images: (N, H, W, C) stored images, an array or a lazy sequence; or arrays by
      name.
    chunk: images at once; the last ones are filled up.

  Example:
    >>> in_chunks(lambda _, x: x[:, 0], None, np.ones((3, 1)), chunk=2).shape
    (3,)
  """
  by_name = isinstance(images, Mapping)
  total = len(next(iter(images.values())) if by_name else images)
  chunk = min(chunk, total)
  places = np.arange(-(-total // chunk) * chunk).reshape(-1, chunk)
  blocks = (read or partial(_one_by_one, images))(np.minimum(places, total - 1))
  parts = [np.asarray(forward(variables, block)) for block in blocks]
  return np.concatenate(parts, axis=axis).take(np.arange(total), axis=axis)


def _one_by_one(images, places: np.ndarray) -> Iterator[np.ndarray]:
  for row in places:
    if isinstance(images, np.ndarray | Mapping):
      yield jax.tree.map(lambda x, row=row: x[row], images)
    else:
      yield np.stack([images[i] for i in row])


def _in_turn(apply, view, keep, variables, images) -> np.ndarray:
  members = len(jax.tree.leaves(variables)[0])
  members_variables = [
    jax.tree.map(lambda x, m=m: x[m], variables) for m in range(members)
  ]
  return np.stack(
    [
      np.asarray(_one(apply, view, keep, one, images))
      for one in members_variables
    ]
  )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _one(apply, view, keep, variables, images):
  inputs = view(images)
  outputs = call_with(apply, variables, inputs, train=False)
  return outputs if keep is None else keep(outputs, inputs)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _side_by_side(apply, view, keep, variables, images):
  inputs = view(images)

  def one(member):
    outputs = call_with(apply, member, inputs, train=False)
    return outputs if keep is None else keep(outputs, inputs)

  return jax.vmap(one)(variables)
