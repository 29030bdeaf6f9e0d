"""Pruning by magnitude while a network learns.

The masks are the last link of the optimiser: whatever a method, a scheme or an
optimiser does, what is masked is zero after the step.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Pruning(NamedTuple):
  """What is to become zero, and when.

  Attributes:
    sparsity: share of what is prunable, in [0, 1).
    scope: "global", the smallest of the whole network, or "layer", the same
      share of every layer.
    structure: "weights" one by one, or whole output "channels".
    begin: step of the first masks.
    end: step at which the share is reached; masks stay as they are from there.
    every: steps from masks to masks.
  """

  sparsity: float
  scope: str = "global"
  structure: str = "weights"
  begin: int = 0
  end: int = 1
  every: int = 1


class PruneState(NamedTuple):
  """The state of pruning.

  Attributes:
    count: steps taken.
    masks: by path of the layer, True for what stays: of the kernel's shape, or
      (channels,).
  """

  count: jax.Array
  masks: dict[str, jax.Array]


def magnitude_pruning(pruning: Pruning) -> optax.GradientTransformation:
  """Makes the link that lets the smallest weights become zero, and stay so.

  share_t = sparsity * (1 - (1 - (t - begin) / (end - begin))^3)

  A weight's score is its magnitude, a channel's the root of the mean of its
  squares, so that layers of different widths compare; its bias goes with it. A
  layer keeps its largest whatever happens. What was pruned stays pruned.

  Returns:
    The transformation: params + updates are zero where a mask is False.

  Source:
    Zhu, Gupta 2017, arXiv:1710.01878, for the schedule.
  """

  def init(params):
    whole = _columns if pruning.structure == "channels" else jnp.shape
    masks = {
      path: jnp.ones(whole(kernel), bool)
      for path, kernel in prunable(params, pruning.structure).items()
    }
    return PruneState(jnp.zeros((), jnp.int32), masks)

  def update(updates, state, params):
    new_params = prunable(
      optax.apply_updates(params, updates), pruning.structure
    )
    scores = {
      path: _scores(jnp.where(mask, new_params[path], 0), pruning.structure)
      for path, mask in state.masks.items()
    }
    t = state.count
    due = (t - pruning.begin) % pruning.every == 0
    due = (due & (t >= pruning.begin) & (t <= pruning.end)) | (t == pruning.end)
    fresh = _fresh_layers if pruning.scope == "layer" else _fresh_network
    masks = _remade(fresh)(due, share_at(pruning, t), scores, state.masks)
    return _held(updates, params, masks, pruning.structure), PruneState(
      t + 1, masks
    )

  return optax.GradientTransformation(init, update)


def share_at(pruning: Pruning, step: Any) -> jax.Array:
  """Returns the share that is to be zero after a step."""
  length = max(pruning.end - pruning.begin, 1)
  progress = jnp.clip((step - pruning.begin) / length, 0.0, 1.0)
  return pruning.sparsity * (1.0 - (1.0 - progress) ** 3)


def prunable(params: Mapping, structure: str = "weights") -> dict[str, Any]:
  """Lists what of a network can be pruned.

  Args:
    params: {"network": the network's, ...}; what else there is, such as a
      method's regressors, is not the network's.

  Returns:
    By path of the layer, the kernels of dense and convolutional layers, but for
    the classifier's (`head...`); attention's, whose heads share axes, only
    weight by weight. Biases, norms and embeddings are not among them.
  """
  leaves = jax.tree_util.tree_leaves_with_path(params["network"])
  kernels = {}
  for path, leaf in leaves:
    *layer, name = (str(getattr(key, "key", key)) for key in path)
    classifies = any(part.startswith("head") for part in layer)
    several = structure == "channels" and jnp.ndim(leaf) == 3
    if name == "kernel" and not classifies and not several:
      kernels["/".join(layer)] = leaf
  return kernels


def zeros(params: Mapping, structure: str = "weights") -> dict[str, Any]:
  """Counts what is zero in a network.

  Args:
    structure: what to count: weights, or output channels all of whose weights
      are zero.

  Returns:
    By path of the layer, (how many are zero, of how many).
  """
  scores = {
    path: _scores(kernel, structure)
    for path, kernel in prunable(params, structure).items()
  }
  return {path: (int((x == 0).sum()), x.size) for path, x in scores.items()}


def _columns(kernel) -> tuple[int]:
  return jnp.shape(kernel)[-1:]


def _scores(kernel: jax.Array, structure: str) -> jax.Array:
  if structure == "weights":
    return jnp.abs(kernel)
  return jnp.sqrt(
    jnp.mean(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1)))
  )


def _held(updates, params, masks, structure):
  """The updates; where a mask is False, those that lead to zero."""
  names = {"kernel", "bias"} if structure == "channels" else {"kernel"}

  def one(path, update, value):
    group, *layer, name = (str(getattr(key, "key", key)) for key in path)
    mask = masks.get("/".join(layer)) if group == "network" else None
    if mask is None or name not in names:
      return update
    return jnp.where(mask, update, -value)

  return jax.tree_util.tree_map_with_path(one, updates, params)


def _fresh_layers(share, scores):
  return {path: _largest(share, {path: x})[path] for path, x in scores.items()}


def _fresh_network(share, scores):
  return _largest(share, scores)


def _largest(share, scores):
  """Masks of the largest, (1 - share) of all; ties are cut, not kept."""
  sure = [
    jnp.where(jnp.arange(x.size) == jnp.argmax(x), jnp.inf, x.reshape(-1))
    for x in scores.values()
  ]
  flat = jnp.concatenate(sure)
  zeros = jnp.round(share * flat.size).astype(jnp.int32)
  ranks = jnp.arange(flat.size)
  keep = jnp.ones(flat.shape, bool).at[jnp.argsort(flat)].set(ranks >= zeros)
  keep |= jnp.isinf(flat)
  ends = [sum(x.size for x in sure[: i + 1]) for i in range(len(sure))]
  parts = jnp.split(keep, ends[:-1])
  return {
    path: part.reshape(x.shape)
    for (path, x), part in zip(scores.items(), parts, strict=True)
  }


def _remade(fresh):
  """(due, share, scores, masks) -> masks, sorted only where they are due.

  Under vmap an ordinary condition computes both sides in every step.
  """

  @jax.custom_batching.custom_vmap
  def remade(due, share, scores, masks):
    return jax.lax.cond(due, lambda: fresh(share, scores), lambda: masks)

  @remade.def_vmap
  def _(size, batched, *arguments):
    def spread(is_batched, x):
      return x if is_batched else jnp.broadcast_to(x, (size, *jnp.shape(x)))

    arguments = jax.tree.map(spread, tuple(batched), arguments)
    due, *_, masks = arguments

    def one(due, share, scores, masks):
      new = fresh(share, scores)
      return jax.tree.map(lambda x, y: jnp.where(due, x, y), new, masks)

    new_masks = jax.lax.cond(
      jnp.any(due), lambda: jax.vmap(one)(*arguments), lambda: masks
    )
    return new_masks, jax.tree.map(lambda x: True, masks)

  return remade
