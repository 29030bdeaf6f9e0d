"""Soft labels in several tables: divergence from one of them + lambda * regulariser.

The method of `launch.py soft_td`, which makes the tables; no name of `--distillation`.
"""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Inputs, Method, stateless, weighted_sum
from kdjax.methods.ce import ce

_ZERO = -1e30  # the logarithm of a soft label of 0
REGULARISERS = ("none", "label_smoothing", "kd", "l2")


def soft_target_loss(
  student_logits: jax.Array,
  log_targets: jax.Array,
  *,
  temperature: float = 1.0,
) -> jax.Array:
  """Divergence of the student from soft labels; 0 where it says the same.

  loss_b = T^2 * KL(p_T || q_T),  p_T = softmax(log p / T),
  q_T = softmax(student / T)

  Not the cross-entropy: that of a student who agrees with the label (0.7, 0.3)
  is the label's entropy, 0.61 nats, and not 0. The gradients are the same.

  Args:
    student_logits: (B, C) float.
    log_targets: (B, C) log of the soft labels, -inf for 0; a constant.
    temperature: T > 0, no unit.

  Returns:
    (B,) float32, nats, >= 0.
  """
  # A soft label of 0 is a probability: what is -inf would be a masked class, as if
  # removed from the student's answer too.
  log_targets = jnp.maximum(log_targets.astype(jnp.float32), _ZERO)
  return losses.kd(student_logits, log_targets, temperature=temperature)


def soft_td(
  *,
  classes: int,
  place: int | jax.Array = 0,
  anchor: int | jax.Array = 0,
  temperature: float = 1.0,
  hard_weight: float = 0.0,
  regulariser: str = "none",
  regulariser_weight: float = 0.0,
) -> Method:
  """The method that trains a student on its soft labels.

  loss = h ce(label) + (1 - h) T^2 KL(p_T || q_T) + lambda R,  where R is 0,
  KL(uniform || q) for `label_smoothing`, or T^2 KL(p'_T || q_T) with the soft
  labels p' of the pre-trained sources for `kd`. `l2` is
  `kdjax.train.optimizer.with_l2`'s.

  The teacher's "logits" are several tables side by side, (B, K * C), so that
  networks that train side by side each have their own.

  Args:
    temperature: T > 0, no unit.
    hard_weight: h in [0, 1], the labels' share; examples without one add 0.
    regulariser_weight: lambda >= 0.
  """
  if regulariser not in REGULARISERS:
    raise ValueError(
      f"regulariser must be one of {', '.join(REGULARISERS)}, got"
      f" {regulariser!r}"
    )

  def towards(table):
    return stateless(
      lambda inputs: soft_target_loss(
        inputs.student.answers,
        _table(inputs, table, classes),
        temperature=temperature,
      )
    )

  terms = {"soft": (towards(place), 1 - hard_weight), "ce": (ce(), hard_weight)}
  if regulariser == "label_smoothing":
    terms[regulariser] = (stateless(_from_uniform), regulariser_weight)
  elif regulariser == "kd":
    terms[regulariser] = (towards(anchor), regulariser_weight)
  return weighted_sum(terms)


def _table(inputs: Inputs, place, classes: int) -> jax.Array:
  logits = inputs.teacher.answers
  tables = logits.reshape(logits.shape[0], -1, classes)
  return jnp.take(tables, jnp.asarray(place, jnp.int32), axis=1)


def _from_uniform(inputs: Inputs) -> jax.Array:
  logits = inputs.student.answers
  return losses.forward_kl(logits, jnp.zeros_like(logits))
