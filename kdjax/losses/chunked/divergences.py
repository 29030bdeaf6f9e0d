"""Divergences of softened classes, from hidden states and heads."""

import jax

from kdjax.losses import checks
from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._call import Totals, call


def forward_kl(
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
  """`kdjax.losses.forward_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(p || q), and the labels' part

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
    >>> found = forward_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.43879998 2

  Source:
    Kim, Rush 2016, arXiv:1606.07947 (word-level distillation).
  """
  return call(
    "forward_kl",
    _rows.forward_kl,
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
  )


def reverse_kl(
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
  """`kdjax.losses.reverse_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(q || p), and the labels' part

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
    >>> found = reverse_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.5539 2

  Source:
    Gu et al. 2024 (MiniLLM), arXiv:2306.08543, per position.
  """
  return call(
    "reverse_kl",
    _rows.reverse_kl,
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
  )


def symmetric_kl(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  lam: float | jax.Array = 0.5,
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
  """`kdjax.losses.symmetric_kl` of tokens of a large vocabulary.

  loss = sum over tokens of (1 - lam) KL(p || q) + lam KL(q || p), and the
  labels' part

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    lam: the reverse direction's share, in [0, 1].
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
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` outside [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = symmetric_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.49629998 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  checks.between("chunked.symmetric_kl", 0, 1, lam=lam)
  return call(
    "symmetric_kl",
    _rows.symmetric_kl,
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
    numbers={"lam": lam},
  )


def tvd(
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
  """`kdjax.losses.tvd` of tokens of a large vocabulary.

  loss = sum over tokens of 1/2 sum_c |p_c - q_c|, and the labels' part

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
    >>> found = tvd(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.6119 2

  Source:
    Wen et al. 2023 (f-distill), arXiv:2307.15190 (TVD), per position.
  """
  return call(
    "tvd",
    _rows.tvd,
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
  )


def adaptive_kl(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  mu: float = 0.5,
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
  """`kdjax.losses.adaptive_kl` of tokens of a large vocabulary.

  loss = sum over tokens of r KL(p || q) + (1 - r) KL(q || p), and the labels'
  part

  It sorts: with `axis_name`, the rows of a chunk are gathered on every device.

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    mu: the teacher's mass that the head may hold, in [0, 1]; static.
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
    ValueError: at trace time, if shapes do not fit, or T is not positive or `mu` outside [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = adaptive_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.49629998 2

  Source:
    Wu et al. 2024 (AKL), arXiv:2404.02657.
  """
  checks.between("chunked.adaptive_kl", 0, 1, mu=mu)
  return call(
    "adaptive_kl",
    _rows.adaptive_kl,
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
    mu=mu,
  )
