"""Distillation losses: pure functions of arrays that need jax alone.

Call shape: `f(student, teacher, [labels, ...], *, hyper-parameters)`. Losses are
per example where the maths is; reducing is the caller's. The teacher is a
constant inside every loss.

  >>> import kdjax.losses
  >>> student, teacher = jnp.zeros((2, 3)), jnp.eye(3)[:2]
  >>> print(kdjax.losses.kd(student, teacher, temperature=4.0).mean().round(4))
  0.1128
"""

from kdjax.losses.correlation import (
  batch_correlation,
  class_correlation,
  dist,
  mlkd,
)
from kdjax.losses.divergences import (
  adaptive_kl,
  forward_kl,
  reverse_kl,
  symmetric_kl,
  tvd,
)
from kdjax.losses.helpers import masked_mean, standardize_logits
from kdjax.losses.labelled import dkd, nkd, ofa, wsld
from kdjax.losses.mixtures import (
  generalized_jsd,
  gkd,
  jensen_shannon,
  jsd,
  skew_kl,
  skew_reverse_kl,
)
from kdjax.losses.response import (
  cosine_distance,
  ensemble_kd,
  hard_distillation,
  hidden_mse,
  kd,
  logit_mse,
  soft_cross_entropy,
  ttm,
)
from kdjax.losses.self_distillation import dino, dino_center_update
from kdjax.losses.vocabulary import sparse_kd, topk_kd, uld

__all__ = [
  "adaptive_kl",
  "batch_correlation",
  "class_correlation",
  "cosine_distance",
  "dino",
  "dino_center_update",
  "dist",
  "dkd",
  "ensemble_kd",
  "forward_kl",
  "generalized_jsd",
  "gkd",
  "hard_distillation",
  "hidden_mse",
  "jensen_shannon",
  "jsd",
  "kd",
  "logit_mse",
  "masked_mean",
  "mlkd",
  "nkd",
  "ofa",
  "reverse_kl",
  "skew_kl",
  "skew_reverse_kl",
  "soft_cross_entropy",
  "sparse_kd",
  "standardize_logits",
  "symmetric_kl",
  "topk_kd",
  "ttm",
  "tvd",
  "uld",
  "wsld",
]
