"""`kd` and soft cross-entropy, from hidden states and heads."""

import jax

from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._call import Totals, call


def kd(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  temperature: float | jax.Array = 4.0,
  t_squared: bool = True,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.kd` of tokens of a large vocabulary.

  loss = sum over tokens of T^2 KL(p || q) + label_weight * cross-entropy

  with q = softmax(student_hidden @ student_head / T) and p likewise, without an
  array of all tokens' logits: gradients are made in the forward pass, in chunks
  of tokens. Only `loss` has a gradient, and no second one. To take the mean of
  micro-batches or devices, add up `loss` and `tokens` apart and divide.

  Args:
    student_hidden: (..., d) float, the states that the head reads.
    student_head: (d, V) float: logits are hidden @ head (+ bias).
    teacher_hidden: (..., d_t) float; a constant, as are the teacher's others.
    teacher_head: (d_t, V) float.
    temperature: T > 0; a scalar, or an array that broadcasts to the leading
      dimensions. A constant here: no gradient flows into it.
    t_squared: whether to multiply by T^2 (for each token its own T).
    student_bias: (V) float; -inf masks a class out, for the divergence on both
      sides.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0, constants. Tokens that do
      not count give neither value nor gradient, whatever their hidden states
      hold.
    labels: (...) integer class ids; outside 0 to the whole V - 1 = no
      label.
    label_weight: of the labels' cross-entropy (at T = 1), beside the divergence.
    chunk_size: tokens whose logits are held at a time, static; None for as many
      as keep three (tokens, V) arrays within 256 MiB.
    axis_name: the mapped axis over which the vocabulary is spread: heads and
      biases are then this device's columns, hidden states and labels the same on
      all its devices.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> labels = jnp.array([0, -1])
    >>> found = kd(states, head, states, teacher_head, labels=labels)
    >>> print(found.divergence.round(4), found.tokens)
    0.6088 2
    >>> print(found.cross_entropy.round(4), found.labelled)
    0.6931 1

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
  """
  return call(
    "kd",
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


def soft_cross_entropy(
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
  """`kdjax.losses.soft_cross_entropy` of tokens of a large vocabulary.

  loss = sum over tokens of - sum_c p_c log q_c, and the labels' part

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
    >>> found = soft_cross_entropy(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    1.3863 2

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, without T^2.
  """
  return call(
    "soft_cross_entropy",
    _rows.soft_cross_entropy,
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
