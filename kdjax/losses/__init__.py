"""Distillation losses: pure functions of arrays that need jax alone.

Call shape: `f(student, teacher, [labels, ...], *, hyper-parameters)`. Losses are
per example where the maths is; reducing is the caller's. The teacher is a
constant inside every loss.

  >>> import kdjax.losses
  >>> student, teacher = jnp.zeros((2, 3)), jnp.eye(3)[:2]
  >>> print(kdjax.losses.kd(student, teacher, temperature=4.0).mean().round(4))
  0.1128
"""

from kdjax.losses.helpers import masked_mean, standardize_logits
from kdjax.losses.response import (
  forward_kl,
  hidden_mse,
  kd,
  logit_mse,
  soft_cross_entropy,
)

__all__ = [
  "forward_kl",
  "hidden_mse",
  "kd",
  "logit_mse",
  "masked_mean",
  "soft_cross_entropy",
  "standardize_logits",
]
