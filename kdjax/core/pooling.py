"""Several networks' answers as one."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import quantity
from kdjax.losses.chunked.heads import first_of, product_of

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


def chosen(answers: jax.Array, choice: jax.Array) -> jax.Array:
  """Takes at each place the answer of one teacher.

  Args:
    answers: (T, ..., C) float.
    choice: (...) int, whose.

  Returns:
    (..., C), of that teacher alone: what the others answer, nan too, has no part.

  Example:
    >>> print(chosen(jnp.array([[[1.0]], [[2.0]]]), jnp.array([1])))
    [[2.]]
  """
  places = jnp.broadcast_to(choice[None, ..., None], (1, *answers.shape[1:]))
  return jnp.take_along_axis(answers, places, axis=0)[0]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PooledHeads:
  """Several networks' last layers in the place of one, see `Factored`.

  Of a row, which has their hidden states behind each other, it makes the logits
  that `pool_logits` makes of theirs; or those of the one whose number stands behind
  the states, see `chosen`.

  Attributes:
    kernels: (D_t, C) of each network, or `ByClass`.
    biases: (C,) of each, or None.
    pool: see `pool_logits`; None where a row says whose answer it is.
    weights: one number a network, or none.

  Example:
    >>> heads = PooledHeads((jnp.eye(2), 2 * jnp.eye(2)), (None, None), "logits")
    >>> print(heads.logits(jnp.array([[1.0, 0.0, 3.0, 1.0]])))
    [[3.5 1. ]]
  """

  kernels: tuple[Any, ...]
  biases: tuple[jax.Array | None, ...]
  pool: str | None = dataclasses.field(
    default="probabilities", metadata={"static": True}
  )
  weights: tuple[float, ...] = dataclasses.field(
    default=(), metadata={"static": True}
  )

  @property
  def shape(self) -> tuple[int, int]:
    """As one layer of such rows has it."""
    inputs = sum(one.shape[0] for one in self.kernels)
    return inputs + (self.pool is None), self.kernels[0].shape[1]

  @property
  def ndim(self) -> int:
    """As a layer has it."""
    return 2

  def first(self, classes: int) -> "PooledHeads":
    """The same heads without the classes behind some."""
    return dataclasses.replace(
      self,
      kernels=tuple(first_of(one, classes) for one in self.kernels),
      biases=tuple(
        None if one is None else one[:classes] for one in self.biases
      ),
    )

  def logits(self, rows: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """Makes the logits of some rows.

    Args:
      rows: (..., sum of D_t), and one more where there is no pool.

    Returns:
      (..., C) float32.
    """
    ends = [*itertools.accumulate(one.shape[0] for one in self.kernels)]
    *states, choice = jnp.split(rows, ends, axis=-1)
    logits = [
      product_of(hidden, kernel, dtype)
      for hidden, kernel in zip(states, self.kernels, strict=True)
    ]
    logits = [
      x if bias is None else x + jnp.broadcast_to(bias, x.shape)
      for x, bias in zip(logits, self.biases, strict=True)
    ]
    if self.pool is None:
      choice = choice[..., 0].astype(jnp.int32)
      return chosen(jnp.stack(logits), choice).astype(dtype)
    pooled = pool_logits(
      jnp.stack(logits), pool=self.pool, weights=self.weights
    )
    return pooled.astype(dtype)


def pool_values(
  answers: jax.Array, *, pool: str = "mean", weights: Any = None
) -> jax.Array:
  """Makes one answer of several teachers' numbers: sum_t w_t y_t.

  Args:
    answers: (T, ...) float.
    pool: not "confidence": numbers have no entropy.
    weights: (T,) w >= 0, normalised here; all alike by default.

  Returns:
    (...) float32.

  Example:
    >>> print(pool_values(jnp.array([[1.0], [4.0]]), weights=(2, 1)))
    [2.]
  """
  if pool == "confidence":
    raise ValueError(f"pool {pool!r} weighs probabilities of classes")
  answers = jnp.asarray(answers, jnp.float32)
  shares = jnp.asarray(check_weights(weights, len(answers)), jnp.float32)
  return jnp.tensordot(shares, answers, axes=1)


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
