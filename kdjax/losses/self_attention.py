"""MiniLM: self-attention relations of one layer, matched."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks
from kdjax.losses.attention import attention_kl

Projections = tuple[jax.Array, jax.Array, jax.Array]


def minilm(
  student: Projections,
  teacher: Projections,
  *,
  mask: jax.Array | None = None,
) -> jax.Array:
  """Attention and value relations of the last layer, matched by KL divergence.

  loss_b = attention_kl(q k' / sqrt(d)) + attention_kl(v v' / sqrt(d)),
  each side with its own d

  Head sizes may differ, numbers of heads and tokens may not. The paper's
  formula; its training code was not published.

  Args:
    student: (q, k, v), each (B, heads, T, d) float.
    teacher: (q, k, v), each (B, heads, T, d') float; constants.
    mask: (B, T) bool, True for tokens that count, as queries and as keys.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if a side is not (q, k, v) of one shape, heads or
      tokens differ, or the mask does not fit.

  Example:
    >>> q = k = jnp.array([[[[1.0], [0.0]]]])
    >>> v = jnp.zeros((1, 1, 2, 1))
    >>> print(minilm((v, v, v), (q, k, v)).round(4))
    [0.0555]

  Source:
    Wang et al. 2020, arXiv:2002.10957 (attention and value-relation
    transfer).
  """
  _check_projections("minilm", 4, student, teacher)
  scores, values = (
    [_scores(q, k) for q, k in pairs]
    for pairs in (
      ((student[0], student[1]), (teacher[0], teacher[1])),
      ((student[2], student[2]), (teacher[2], teacher[2])),
    )
  )
  return attention_kl(*scores, mask=mask) + attention_kl(*values, mask=mask)


def minilmv2(
  student: Projections,
  teacher: Projections,
  *,
  relation_heads: int,
  mask: jax.Array | None = None,
  weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> jax.Array:
  """Query, key and value relations over common relation heads, matched by KL.

  Each hidden vector is split into `relation_heads` parts of size d, whatever
  the models' own heads:
  loss_b = sum over x in q, k, v of weight_x * attention_kl(x x' / sqrt(d)),
  each side with its own d

  The paper's formula; its training code was not published.

  Args:
    student: (q, k, v), each (B, T, hidden) float, the heads concatenated.
    teacher: (q, k, v), each (B, T, hidden') float; constants.
    relation_heads: >= 1, divides both hidden sizes; static.
    mask: (B, T) bool, True for tokens that count, as queries and as keys.
    weights: of the query, key and value relations.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if a side is not (q, k, v) of one shape, tokens
      differ, `relation_heads` does not divide the hidden sizes, or the mask
      does not fit.

  Example:
    >>> x, zero = jnp.array([[[1.0], [0.0]]]), jnp.zeros((1, 2, 1))
    >>> student, teacher = (zero, zero, zero), (x, x, x)
    >>> print(minilmv2(student, teacher, relation_heads=1).round(4))
    [0.1664]

  Source:
    Wang et al. 2021, arXiv:2012.15828 (relations of queries, keys and
    values).
  """
  checks.weights("minilmv2", weights=weights)
  _check_projections("minilmv2", 3, student, teacher)
  for side in (student, teacher):
    hidden = side[0].shape[-1]
    if relation_heads < 1 or hidden % relation_heads:
      raise ValueError(
        f"minilmv2: relation_heads must divide the hidden size {hidden}, got"
        f" {relation_heads} for {student[0].shape} and {teacher[0].shape}"
      )
  loss = 0.0
  for weight, s, t in zip(weights, student, teacher, strict=True):
    s, t = (_split_heads(side, relation_heads) for side in (s, t))
    loss += weight * attention_kl(_scores(s, s), _scores(t, t), mask=mask)
  return loss


def _scores(queries, keys):
  """Returns q k' / sqrt(d) in working precision, (B, heads, T, T)."""
  queries, keys = (_math.at_least_float32(x) for x in (queries, keys))
  queries = queries * queries.shape[-1] ** -0.5
  return jnp.matmul(
    queries, jnp.swapaxes(keys, -1, -2), precision=_math.HIGHEST
  )


def _split_heads(x, heads):
  """Returns (B, heads, T, hidden / heads) of (B, T, hidden)."""
  batch, tokens, _ = x.shape
  return jnp.swapaxes(x.reshape(batch, tokens, heads, -1), 1, 2)


def _check_projections(function, rank, student, teacher):
  shapes = [[x.shape for x in side] for side in (student, teacher)]
  agree = all(len(side) == 3 and len(set(side)) == 1 for side in shapes)
  agree = agree and all(len(side[0]) == rank for side in shapes)
  if not agree or shapes[0][0][:-1] != shapes[1][0][:-1]:
    layouts = {3: "(batch, tokens, hidden)", 4: "(batch, heads, tokens, d)"}
    raise ValueError(
      f"{function}: student and teacher must be (q, k, v), each {layouts[rank]} and"
      f" alike up to the last size, got {shapes[0]} and {shapes[1]}"
    )
