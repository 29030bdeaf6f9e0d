"""Losses between the attention maps, and the layers, of transformers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, _rows, _terms, checks
from kdjax.losses.feature import fitnet


def attention_mse(
  student: jax.Array,
  teacher: jax.Array,
  *,
  mask: jax.Array | None = None,
  clip_below: float | None = None,
) -> jax.Array:
  """Mean squared difference of attention scores.

  loss_b = mean over heads and (valid) query-key pairs of (student - teacher)^2

  The mean is taken inside each example, so that a short sequence weighs as much
  as a long one; TextBrewer averages over the pairs of the whole batch.

  Args:
    student: (B, heads, Q, K) float, scores before the softmax.
    teacher: (B, heads, Q, K) float; a constant.
    mask: (B, tokens) bool, True for tokens that count, as queries and as keys
      (Q = K = tokens). An example without any has loss 0 and zero gradient.
    clip_below: scores at or below it count as 0 on both sides, and stay in the
      mean: -1e2 is TinyBERT's way with additive masks of -10000.

  Returns:
    (B,) float32 (float64 for float64), squared units of the scores, >= 0.
    Pairs at -inf on either side add nothing.

  Raises:
    ValueError: at trace time, if the shapes differ or have not four dimensions,
      or the mask does not fit.

  Example:
    >>> student = jnp.array([[[[1.0, 2.0], [3.0, -9e3]]]])
    >>> print(attention_mse(student, jnp.zeros((1, 1, 2, 2)), clip_below=-1e2))
    [3.5]

  Source:
    Jiao et al. 2020, arXiv:1909.10351 (the attention loss).
  """
  _check_scores("attention_mse", student, teacher, mask)
  student, teacher = _features.working_pair(student, teacher)
  if clip_below is not None:
    student, teacher = (
      jnp.where(side <= clip_below, 0.0, side) for side in (student, teacher)
    )
  # Before the subtraction: -inf - -inf is NaN.
  keep = _math.alive(student, teacher)
  difference = _math.masked(student, keep) - _math.masked(teacher, keep)
  squares = jnp.square(difference)
  if mask is None:
    return jnp.mean(squares, axis=(1, 2, 3))
  mask = checks.mask("attention_mse", mask)
  pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
  # Heads first: they all share the mask.
  squares = jnp.mean(jnp.where(pairs, squares, 0.0), axis=1)
  count = jnp.square(jnp.sum(mask, axis=1).astype(squares.dtype))
  return jnp.sum(squares, axis=(1, 2)) / jnp.maximum(count, 1.0)


def attention_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  mask: jax.Array | None = None,
  from_probs: bool = False,
) -> jax.Array:
  """KL divergence of attention distributions over keys.

  loss_b = mean over heads and (valid) queries of KL(p || q),
  p, q = softmax over (valid) keys of the teacher's / student's scores

  The mean is taken inside each example, so that a short sequence weighs as much
  as a long one.

  Args:
    student: (B, heads, Q, K) float, scores before the softmax, after their
      scaling by 1 / sqrt(d).
    teacher: (B, heads, Q, K) float; a constant.
    mask: (B, tokens) bool, True for tokens that count, as queries and as keys
      (Q = K = tokens). An example without any has loss 0 and zero gradient.
    from_probs: whether probabilities are given instead of scores. They are
      taken as they are (a masked key adds nothing, the rest is not scaled up).
      Teacher zeros add nothing; student zeros count as the least normal number
      of the working precision, with zero gradient.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have not four dimensions,
      or the mask does not fit.

  Example:
    >>> teacher = jnp.array([[[[1.0, 0.0]]]])
    >>> print(attention_kl(jnp.zeros((1, 1, 1, 2)), teacher).round(4))
    [0.1109]

  Source:
    Wang et al. 2020, arXiv:2002.10957 (attention transfer).
  """
  _check_scores("attention_kl", student, teacher, mask)
  student, teacher = _features.working_pair(student, teacher)
  if mask is not None:
    mask = checks.mask("attention_kl", mask)
  loss = (_kl_of_probs if from_probs else _kl_of_scores)(student, teacher, mask)
  loss = jnp.mean(loss, axis=1)
  if mask is None:
    return jnp.mean(loss, axis=-1)
  count = jnp.maximum(jnp.sum(mask, axis=1), 1).astype(loss.dtype)
  return jnp.sum(jnp.where(mask, loss, 0.0), axis=-1) / count


def _kl_of_scores(student, teacher, mask):
  """Returns (B, heads, Q) divergences."""
  if mask is not None:
    student, teacher = (
      jnp.where(mask[:, None, None, :], side, -jnp.inf)
      for side in (student, teacher)
    )
  return _rows.divergence(
    "attention_kl",
    _terms.kl,
    _math.kl_of_softmaxes,
    student,
    teacher,
    1.0,
    least=1,
  )


def _kl_of_probs(student, teacher, mask):
  """Returns (B, heads, Q) divergences."""
  keep = teacher > 0
  if mask is not None:
    keep &= mask[:, None, None, :]
  least = jnp.finfo(student.dtype).tiny
  student = jnp.where(student >= least, student, least)
  log_p = jnp.log(jnp.where(keep, teacher, 1.0))
  return _math.kl_divergence(log_p, jnp.log(student), keep)


def attention_inner(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Minus the inner product of attention maps.

  loss_b = - mean over heads of sum over queries and keys of student * teacher

  It rewards sharp student maps and is not zero, nor least, where both agree;
  prefer `attention_kl`.

  Args:
    student: (B, heads, Q, K) float, probabilities.
    teacher: (B, heads, Q, K) float; a constant.

  Returns:
    (B,) float32 (float64 for float64), between -Q and 0 for probabilities.

  Raises:
    ValueError: at trace time, if the shapes differ or have not four dimensions.

  Example:
    >>> maps = jnp.array([[[[0.5, 0.5], [1.0, 0.0]]]])
    >>> print(attention_inner(maps, maps))
    [-1.5]

  Source:
    The plain formula: the inner-product similarity of maps.
  """
  _check_scores("attention_inner", student, teacher, None)
  student, teacher = _features.working_pair(student, teacher)
  return -jnp.mean(jnp.sum(student * teacher, axis=(2, 3)), axis=1)


def tinybert(
  student: tuple[Sequence[jax.Array], Sequence[jax.Array]],
  teacher: tuple[Sequence[jax.Array], Sequence[jax.Array]],
) -> jax.Array:
  """Attention scores and hidden states of paired layers, matched.

  loss_b = sum over layers of attention_mse(clip_below=-1e2)
         + sum over layers of fitnet(hidden states)

  Differs from the published code in nothing but its reduction: its value is the
  mean of this over the batch.

  Args:
    student: (attentions, hiddens), two sequences: of (B, heads, Q, K) scores
      and of (B, T, D) states, already projected to the teacher's width.
    teacher: the same, paired with the student's layers; constants.

  Returns:
    (B,) float32 (float64 for float64), squared units of scores and states.

  Raises:
    ValueError: at trace time, if the numbers of layers or any two shapes
      differ, or if there is no layer at all.

  Example:
    >>> scores, states = jnp.zeros((1, 1, 2, 2)), jnp.zeros((1, 2, 3))
    >>> student = ([scores], [states])
    >>> print(tinybert(student, ([scores + 1.0], [states + 2.0])))
    [5.]

  Source:
    Jiao et al. 2020, arXiv:1909.10351 (the attention and hidden-state
    losses).
  """
  layers = [[len(part) for part in side] for side in (student, teacher)]
  if layers[0] != layers[1] or len(layers[0]) != 2 or not any(layers[0]):
    raise ValueError(
      "tinybert: student and teacher must be (attentions, hiddens) with as many"
      f" layers each, got {layers[0]} and {layers[1]}"
    )
  for s, t in zip(
    (*student[0], *student[1]), (*teacher[0], *teacher[1]), strict=True
  ):
    checks.same_shape("tinybert", s, t)
  losses = [
    attention_mse(s, t, clip_below=-1e2)
    for s, t in zip(student[0], teacher[0], strict=True)
  ] + [fitnet(s, t) for s, t in zip(student[1], teacher[1], strict=True)]
  return sum(losses[1:], start=losses[0])


def _check_scores(function, student, teacher, mask):
  checks.same_shape(function, student, teacher)
  if student.ndim != 4:
    raise ValueError(
      f"{function}: student and teacher must be (batch, heads, queries, keys),"
      f" got {student.shape} and {teacher.shape}"
    )
  batch, _, queries, keys = student.shape
  if mask is not None and not mask.shape == (batch, queries) == (batch, keys):
    raise ValueError(
      f"{function}: mask must be (batch, tokens) for as many queries as keys,"
      f" got {mask.shape} for {student.shape}"
    )
