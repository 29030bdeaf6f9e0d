"""Divergences from a mixture, from hidden states and heads."""

import numbers

import jax

from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._call import Totals, call


def generalized_jsd(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  beta: float = 0.5,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.generalized_jsd` of tokens of a large vocabulary (also `gkd`).

  loss = sum over tokens of beta KL(p || m) + (1 - beta) KL(q || m), and the
  labels' part; m = beta p + (1 - beta) q

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    beta: the teacher's share of the mixture, a Python number in [0, 1].
    temperature: T > 0.
    t_squared: whether to multiply by T^2.
    student_bias: (V) float.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    label_weight: of the labels' cross-entropy.
    chunk_size: tokens at a time.
    axis_name: of the vocabulary's shards.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `beta` no number in
      [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = generalized_jsd(states, head, states, teacher_head, beta=0.25)
    >>> print(found.divergence.round(4), found.tokens)
    0.0848 2

  Source:
    Agarwal et al. 2024 (GKD), arXiv:2306.13649, equation 1.
  """
  if not isinstance(beta, numbers.Real) or not 0 <= beta <= 1:
    raise ValueError(
      "chunked.generalized_jsd: beta must be a Python number in [0, 1], got"
      f" {beta!r}"
    )
  return call(
    "generalized_jsd",
    _rows.generalized_jsd,
    (student_hidden, student_head, teacher_hidden, teacher_head),
    temperature=temperature,
    t_squared=t_squared,
    student_bias=student_bias,
    teacher_bias=teacher_bias,
    mask=mask,
    labels=labels,
    label_weight=label_weight,
    chunk_size=chunk_size,
    axis_name=axis_name,
    beta=float(beta),
  )


gkd = generalized_jsd


def jensen_shannon(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.jensen_shannon` of tokens of a large vocabulary (also `jsd`).

  loss = sum over tokens of 1/2 KL(p || m) + 1/2 KL(q || m), and the labels'
  part; m = (p + q) / 2

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    temperature: T > 0.
    t_squared: whether to multiply by T^2.
    student_bias: (V) float.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    label_weight: of the labels' cross-entropy.
    chunk_size: tokens at a time.
    axis_name: of the vocabulary's shards.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = jensen_shannon(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.118099995 2

  Source:
    Lin 1991, Divergence measures based on the Shannon entropy.
  """
  return call(
    "jensen_shannon",
    _rows.generalized_jsd,
    (student_hidden, student_head, teacher_hidden, teacher_head),
    temperature=temperature,
    t_squared=t_squared,
    student_bias=student_bias,
    teacher_bias=teacher_bias,
    mask=mask,
    labels=labels,
    label_weight=label_weight,
    chunk_size=chunk_size,
    axis_name=axis_name,
    beta=0.5,
  )


jsd = jensen_shannon


def skew_kl(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  lam: float = 0.1,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.skew_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(p || lam p + (1 - lam) q), and the labels' part

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    lam: the teacher's share of the mixture, 0 < lam < 1; static.
    temperature: T > 0.
    t_squared: whether to multiply by T^2.
    student_bias: (V) float.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    label_weight: of the labels' cross-entropy.
    chunk_size: tokens at a time.
    axis_name: of the vocabulary's shards.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` no number
      between 0 and 1.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = skew_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.36319998 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  _check_share("skew_kl", lam)
  return call(
    "skew_kl",
    _rows.skew_kl,
    (student_hidden, student_head, teacher_hidden, teacher_head),
    temperature=temperature,
    t_squared=t_squared,
    student_bias=student_bias,
    teacher_bias=teacher_bias,
    mask=mask,
    labels=labels,
    label_weight=label_weight,
    chunk_size=chunk_size,
    axis_name=axis_name,
    lam=float(lam),
  )


def skew_reverse_kl(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  lam: float = 0.1,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.skew_reverse_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(q || (1 - lam) p + lam q), and the labels' part

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    lam: the student's share of the mixture, 0 < lam < 1; static.
    temperature: T > 0.
    t_squared: whether to multiply by T^2.
    student_bias: (V) float.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    label_weight: of the labels' cross-entropy.
    chunk_size: tokens at a time.
    axis_name: of the vocabulary's shards.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` no number
      between 0 and 1.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = skew_reverse_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.4122 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  _check_share("skew_reverse_kl", lam)
  return call(
    "skew_reverse_kl",
    _rows.skew_reverse_kl,
    (student_hidden, student_head, teacher_hidden, teacher_head),
    temperature=temperature,
    t_squared=t_squared,
    student_bias=student_bias,
    teacher_bias=teacher_bias,
    mask=mask,
    labels=labels,
    label_weight=label_weight,
    chunk_size=chunk_size,
    axis_name=axis_name,
    lam=float(lam),
  )


def _check_share(name, lam):
  if not isinstance(lam, numbers.Real) or not 0 < lam < 1:
    raise ValueError(
      f"chunked.{name}: lam must be a Python number with 0 < lam < 1, got"
      f" {lam!r}"
    )
