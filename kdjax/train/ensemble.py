"""Several teachers as one: an ensemble, or a route from one to the next."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import quantity
from kdjax.core.method import Outputs
from kdjax.train.teacher import Teacher

POOLS = ("probabilities", "logits", "confidence")


def pool_logits(
  logits: jax.Array, *, pool: str = "probabilities", weights: Any = None
) -> jax.Array:
  """Makes one answer of several teachers'.

  probabilities: log sum_t w_t softmax(z_t), the arithmetic mean
  logits:        sum_t w_t z_t, the geometric mean of the softmaxes
  confidence:    log sum_t v_t softmax(z_t), v_t = w_t exp(-H_t) / sum of these,
                 H_t the entropy of softmax(z_t): who is sure counts more

  All at temperature 1: the method softens what comes out, as it softens one
  network's logits, so that the pooled answer is the same for every method, may
  be computed once, and its accuracy is the ensemble's own.

  Args:
    logits: (T, ..., C) float.
    weights: (T,) w >= 0, normalised here; all alike by default.

  Returns:
    (..., C) float32.

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531 (arithmetic or geometric mean).
    The gate by confidence is ours.
  """
  if pool not in POOLS:
    raise ValueError(f"pool {pool!r}: choose {', '.join(POOLS)}")
  logits = jnp.asarray(logits, jnp.float32)
  shares = jnp.asarray(check_weights(weights, len(logits)), jnp.float32)
  shares = shares.reshape(-1, *[1] * (logits.ndim - 1))
  if pool == "logits":
    return jnp.sum(shares * logits, axis=0)
  log_p = jax.nn.log_softmax(logits, axis=-1)
  if pool == "confidence":
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1, keepdims=True)
    shares = shares * jnp.exp(jnp.min(entropy, axis=0, keepdims=True) - entropy)
    shares = shares / jnp.sum(shares, axis=0, keepdims=True)
  shares = jnp.broadcast_to(shares, log_p.shape)
  return jax.nn.logsumexp(log_p, axis=0, b=shares)


def check_weights(weights: Any, teachers: int) -> list[float]:
  """Normalises the teachers' weights.

  Args:
    weights: one number a teacher; None or empty for all alike.
  """
  if weights is None or len(weights) == 0:
    return [1 / teachers] * teachers
  values = [float(weight) for weight in weights]
  if len(values) != teachers:
    raise ValueError(
      f"{quantity(len(values), 'weight')} for {quantity(teachers, 'teacher')}"
    )
  # Not "< 0": a weight that is no number is no weight.
  if not all(0 <= value < float("inf") for value in values) or not sum(values):
    raise ValueError(f"weights {values} must be >= 0, and not all 0")
  return [value / sum(values) for value in values]


def ensemble(
  teachers: Sequence[Teacher],
  *,
  pool: str = "probabilities",
  weights: Sequence[float] | None = None,
  together: bool = True,
) -> Teacher:
  """Makes one teacher of several.

  Networks of one architecture are stacked and answer in one vmapped forward
  pass; the others one after the other. Logits are pooled; every network's
  features and logits stand in the view's `members`, in the teachers' order.

  Args:
    weights: (T,); all alike by default.
    together: False keeps networks apart that could be stacked: faster for
      convolutions on the CPU.

  Returns:
    The teacher; a single one comes back as it is.
  """
  check_weights(weights, len(teachers))
  if len(teachers) == 1:
    return teachers[0]
  groups = _groups(teachers, together)
  arrays = tuple(_stack([teachers[i] for i in group]) for group in groups)
  first = tuple(teachers[group[0]].replace(arrays=None) for group in groups)
  settings = (tuple(map(tuple, groups)), first)
  show = partial(_show, settings, pool, tuple(weights or ()))
  return Teacher(arrays, show, partial(_heads, settings))


def teacher_route(teachers: Sequence[Teacher], *, steps: int) -> Teacher:
  """Makes a teacher that changes on the way: each has its share of the steps.

  At step s the student learns from teacher floor(s T / steps).

  Args:
    teachers: of one kind, such as one network's checkpoints, in their order.

  Source:
    Jin et al. 2019, arXiv:1904.09149: anchor points of the teacher's training
    as a curriculum; ours are equally far apart.
  """
  if len(_groups(teachers, True)) != 1:
    raise ValueError("a route leads over teachers of one architecture")
  count, first = len(teachers), teachers[0].replace(arrays=None)

  def show(arrays, batch, step, taps):
    place = jnp.clip(jnp.asarray(step) * count // steps, 0, count - 1)
    here = jax.tree.map(lambda x: jnp.asarray(x)[place], arrays)
    return first.show(here, batch, step, taps)

  def head(arrays):
    # A classifier that students take over is the finished network's.
    return first.head(jax.tree.map(lambda x: x[-1], arrays))

  return Teacher(_stack(teachers), show, head)


def _show(settings, pool, weights, arrays, batch, step, taps) -> Outputs:
  groups, first = settings
  members = [None] * sum(map(len, groups))
  for places, one, stacked in zip(groups, first, arrays, strict=True):
    group_outputs = _of_each(
      lambda mine, one=one: one.show(mine, batch, step, taps), stacked
    )
    for place, outputs in zip(places, group_outputs, strict=True):
      members[place] = outputs
  logits = jnp.stack([outputs.answers for outputs in members])
  return Outputs(
    pool_logits(logits, pool=pool, weights=weights), {}, tuple(members)
  )


def _heads(settings, arrays) -> tuple | None:
  groups, first = settings
  heads = [None] * sum(map(len, groups))
  for places, one, stacked in zip(groups, first, arrays, strict=True):
    for i, place in enumerate(places):
      heads[place] = one.head(jax.tree.map(lambda x, i=i: x[i], stacked))
  return tuple(heads)


def _of_each(function, stacked) -> list:
  """vmap over the leading axis, but plain where there is only one."""
  size = len(jax.tree.leaves(stacked)[0])
  if size == 1:
    return [function(jax.tree.map(lambda x: x[0], stacked))]
  found = jax.vmap(function)(stacked)
  return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(size)]


def _groups(teachers, together) -> list[list[int]]:
  """Places of the teachers that are of one kind."""
  groups = []
  for i, teacher in enumerate(teachers):
    kind = _kind(teacher)
    for group in groups if together else ():
      if _kind(teachers[group[0]]) == kind:
        group.append(i)
        break
    else:
      groups.append([i])
  return groups


def _kind(teacher: Teacher) -> tuple:
  """What teachers that can be stacked have in common."""
  leaves = [
    (jax.tree_util.keystr(path), jnp.shape(leaf), jnp.result_type(leaf))
    for path, leaf in jax.tree_util.tree_leaves_with_path(teacher.arrays)
  ]
  apply = getattr(teacher.arrays, "apply_fn", None)
  network = getattr(apply, "__self__", apply)
  return teacher.show, teacher.head, network, leaves


def _stack(teachers) -> Any:
  """The first teacher's arrays with an axis of all."""
  structure = jax.tree.structure(teachers[0].arrays)
  leaves = [jax.tree.leaves(teacher.arrays) for teacher in teachers]
  return jax.tree.unflatten(
    structure, [jnp.stack(one) for one in zip(*leaves, strict=True)]
  )
