"""Losses of texts that a network has drawn itself: policies, in the words of RL.

A text is drawn token after token from q, the student's softmax; how far it is from
the teacher's, p, is told by log-ratios of the drawn tokens. What a function returns is
a value a token whose *gradient* is the method's: differentiate its sum over the tokens
that count. Texts are constants, so no gradient goes through the drawing.
"""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks
from kdjax.losses.divergences import reverse_kl

ESTIMATORS = ("k1", "k3")


def reward_to_go(
  rewards: jax.Array,
  *,
  mask: jax.Array | None = None,
  discount: float | jax.Array = 1.0,
) -> jax.Array:
  """What is earned from each token on, its own reward included.

  result_t = sum over k >= t of discount^(k - t) reward_k, over tokens that count

  Args:
    rewards: (..., T) float.
    mask: (..., T) bool, True = counts; None for all.
    discount: g, a factor for each token in between; a number, traced or not.

  Returns:
    (..., T) float32 (float64 for float64); 0 where a token does not count.

  Raises:
    ValueError: at trace time, if the shapes differ.

  Example:
    >>> mask = jnp.array([True, True, False, False])
    >>> print(reward_to_go(jnp.array([1.5, 1.0, 2.0, 2.0]), mask=mask))
    [2.5 1.  0.  0. ]

  Source:
    The plain formula (the return of reinforcement learning).
  """
  rewards, mask = _read("reward_to_go", rewards, mask)

  def back(later, now):
    earned = now + discount * later
    return earned, earned

  along = jnp.moveaxis(jnp.where(mask, rewards, 0.0), -1, 0)
  start = jnp.zeros_like(along[0])
  _, earned = jax.lax.scan(back, start, along, reverse=True)
  return jnp.where(mask, jnp.moveaxis(earned, 0, -1), 0.0)


def minillm(
  student: jax.Array,
  teacher: jax.Array,
  tokens: jax.Array,
  *,
  mask: jax.Array | None = None,
  teacher_share: float | jax.Array = 0.0,
  normalize: bool = True,
) -> jax.Array:
  """MiniLLM's gradient of the reverse KL of whole texts.

  gradient = sum_t w_t (grad KL(q_t || p_t) - R_(t+1) grad log q_t[y_t])
  R_(t+1) = mean (or sum) over k > t of log p_k[y_k] / q_k[y_k]; 0 at the end
  w_t = q_t[y_t] / (a p_t[y_t] + (1 - a) q_t[y_t]),  a = teacher_share

  The first term is the effect of token t on its own divergence, over all classes;
  the second one that on the later tokens, estimated by those that were drawn. The
  value is w_t KL(q_t || p_t). With `normalize=False` and a = 0 the expectation of the
  gradient is that of KL(q || p) of whole texts. w_t corrects for token t alone, as
  published, and not for those before it.

  Args:
    student: (..., T, C) float, logits at which the tokens were drawn.
    teacher: (..., T, C) float, logits; a constant.
    tokens: (..., T) integer class ids, drawn from a p + (1 - a) q.
    mask: (..., T) bool, the tokens that were drawn; None for all.
    teacher_share: a in [0, 1); a number, or an array that broadcasts to (..., T).
    normalize: whether R is a mean over the tokens to come, as published, or their sum.

  Returns:
    (..., T) float32 (float64 for float64), nats; 0 where a token does not count.

  Raises:
    ValueError: at trace time, if the shapes do not fit.

  Example:
    >>> student, teacher = jnp.zeros((2, 2)), jnp.log(jnp.array([[3.0, 1.0]] * 2))
    >>> print(minillm(student, teacher, jnp.array([0, 1])).round(2))
    [0.14 0.14]

  Source:
    Gu, Dong, Wei, Huang 2024, arXiv:2306.08543, equation 7. Their code also whitens R,
    clips the ratio to the weights that drew, and adds a language model's loss.
  """
  drawn = _drawn("minillm", student, teacher, tokens, mask)
  return minillm_of(*drawn, teacher_share=teacher_share, normalize=normalize)


def policy_gradient(
  student: jax.Array,
  teacher: jax.Array,
  tokens: jax.Array,
  *,
  mask: jax.Array | None = None,
  estimator: str = "k1",
  discount: float | jax.Array = 1.0,
) -> jax.Array:
  """Policy gradient of the reverse KL of whole texts, from the drawn tokens alone.

  gradient = sum_t A_t grad log q_t[y_t] (+ grad k_t for k3)
  A_t = sum over j >= t of discount^(j - t) k_j, a constant
  k1 = log q/p,  k3 = p/q - 1 - log p/q, of the token that was drawn

  Both k have the mean KL(q || p); k3 is never negative and varies less. With
  discount 1 the gradient's expectation is that of KL(q || p) of whole texts; with 0
  that of each token's own divergence at the texts' beginnings, as on-policy
  distillation with a per-token advantage has it. Of k3 neither part alone has: its
  own gradient is in the mean that of KL(p || q), and what the advantage lacks.
  The value is k_t.

  Args:
    student: (..., T, C) float, logits at which the tokens were drawn.
    teacher: (..., T, C) float, logits; a constant.
    tokens: (..., T) integer class ids, drawn from q.
    mask: (..., T) bool, the tokens that were drawn; None for all.
    estimator: "k1" or "k3".
    discount: in [0, 1]; a number, traced or not.

  Returns:
    (..., T) float32 (float64 for float64), nats; 0 where a token does not count.

  Raises:
    ValueError: at trace time, if the shapes do not fit or the estimator is unknown.

  Example:
    >>> student, teacher = jnp.zeros((1, 2)), jnp.log(jnp.array([[3.0, 1.0]]))
    >>> print(policy_gradient(student, teacher, jnp.array([0])).round(4))
    [-0.4055]

  Source:
    Williams 1992, Machine Learning 8 (REINFORCE); k1 and k3: Schulman 2020,
    "Approximating KL divergence"; per-token advantage: Lu and Thinking Machines Lab
    2025, "On-policy distillation".
  """
  drawn = _drawn("policy_gradient", student, teacher, tokens, mask)
  log_q, log_p, _, mask = drawn
  return policy_gradient_of(
    log_q, log_p, mask, estimator=estimator, discount=discount
  )


def minillm_of(
  log_q: jax.Array,
  log_p: jax.Array,
  divergence: jax.Array,
  mask: jax.Array,
  *,
  teacher_share: float | jax.Array,
  normalize: bool,
) -> jax.Array:
  """`minillm`, of what the drawn tokens' log-probabilities and KL(q || p) are."""
  checks.between("minillm", 0, 1, teacher_share=teacher_share)
  ratio = jax.lax.stop_gradient(log_p - log_q)
  earned = _behind(reward_to_go(ratio, mask=mask))
  if normalize:
    count = reward_to_go(jnp.ones_like(ratio), mask=mask)
    earned = earned / jnp.maximum(_behind(count), 1.0)
  share = jnp.asarray(teacher_share, ratio.dtype)
  # In logarithms: p / q alone may overflow.
  weight = jnp.exp(-jnp.logaddexp(jnp.log(share) + ratio, jnp.log1p(-share)))
  loss = weight * (divergence - earned * _only_gradient(log_q))
  return jnp.where(mask, loss, 0.0)


def policy_gradient_of(
  log_q: jax.Array,
  log_p: jax.Array,
  mask: jax.Array,
  *,
  estimator: str,
  discount: float | jax.Array,
) -> jax.Array:
  """`policy_gradient`, of what the drawn tokens' log-probabilities are."""
  checks.choice("policy_gradient", ESTIMATORS, estimator=estimator)
  checks.between("policy_gradient", 0, 1, discount=discount)
  log_q = jnp.where(mask, log_q, 0.0)
  ratio = jax.lax.stop_gradient(jnp.where(mask, log_p, 0.0)) - log_q
  # The mean of k1's own gradient is 0.
  value = jax.lax.stop_gradient(-ratio)
  if estimator == "k3":
    value = jnp.expm1(ratio) - ratio
  advantage = reward_to_go(
    jax.lax.stop_gradient(value), mask=mask, discount=discount
  )
  return jnp.where(mask, value + advantage * _only_gradient(log_q), 0.0)


def _drawn(name, student, teacher, tokens, mask):
  """Log-probabilities of the tokens on both sides, KL(q || p), and the mask."""
  checks.same_shape(name, student, teacher)
  checks.classes(name, student)
  if tokens.shape != student.shape[:-1]:
    raise ValueError(
      f"{name}: tokens must have the shape {student.shape[:-1]}, one for each row"
      f" of logits, got {tokens.shape}"
    )
  _, mask = _read(name, tokens, mask)
  # Whatever stands where nothing was drawn, nan too, has no part in a gradient.
  student, teacher = (
    jnp.where(mask[..., None], x, 0.0) for x in (student, teacher)
  )
  sides = _math.pair(name, student, jax.lax.stop_gradient(teacher))
  places = jnp.where(mask, tokens, 0)[..., None]
  log_q, log_p = (
    jnp.take_along_axis(jax.nn.log_softmax(x), places, axis=-1)[..., 0]
    for x in sides
  )
  return log_q, log_p, reverse_kl(*sides), mask


def _read(name, values, mask):
  values = jnp.asarray(values)
  if values.dtype not in (jnp.float32, jnp.float64):
    values = values.astype(jnp.float32)
  if mask is None:
    return values, jnp.ones(values.shape, bool)
  if mask.shape != values.shape:
    raise ValueError(
      f"{name}: the mask must have the tokens' shape {values.shape}, got"
      f" {mask.shape}"
    )
  return values, mask


def _behind(earned):
  """What is earned behind each token."""
  end = [(0, 0)] * (earned.ndim - 1) + [(0, 1)]
  return jnp.pad(earned[..., 1:], end)


def _only_gradient(x):
  return x - jax.lax.stop_gradient(x)
