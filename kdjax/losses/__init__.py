"""Distillation losses: pure functions of arrays that need jax alone.

Call shape: `f(student, teacher, [labels, ...], *, hyper-parameters)`. Losses are
per example where the maths is; reducing is the caller's. The teacher is a
constant inside every loss. For vocabularies whose logits do not fit into memory
there is `kdjax.losses.chunked`.

  >>> import kdjax.losses
  >>> student, teacher = jnp.zeros((2, 3)), jnp.eye(3)[:2]
  >>> print(kdjax.losses.kd(student, teacher, temperature=4.0).mean().round(4))
  0.1166
"""

from kdjax.losses import aligned as aligned
from kdjax.losses import chunked as chunked
from kdjax.losses import policies as policies
from kdjax.losses.activation import (
  ab,
  ofd,
  ofd_margin,
)
from kdjax.losses.attention import (
  attention_inner,
  attention_kl,
  attention_mse,
  tinybert,
)
from kdjax.losses.binary import (
  binary_kd,
  class_aware_embedding,
  instance_aware_embedding,
)
from kdjax.losses.contrastive import (
  crd,
  crd_update,
  seed,
)
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
from kdjax.losses.feature import (
  factor_transfer,
  fitnet,
  ft,
  hint,
  mgd,
  patient_kd,
  pkd,
  vid,
  vitkd,
)
from kdjax.losses.flow import (
  fsp,
  kdsvd,
)
from kdjax.losses.geometry import (
  rkd,
  rkd_angle,
  rkd_distance,
)
from kdjax.losses.helpers import masked_mean, standardize_logits
from kdjax.losses.imbalance import add_log_prior, logit_adjusted_cross_entropy
from kdjax.losses.labelled import dkd, nkd, ofa, wsld
from kdjax.losses.maps import (
  at,
  attention_transfer,
  cat_kd,
  cwd,
  hcl,
  nst,
  review_kd,
)
from kdjax.losses.mixtures import (
  generalized_jsd,
  gkd,
  jensen_shannon,
  jsd,
  skew_kl,
  skew_reverse_kl,
)
from kdjax.losses.numbers import (
  gaussian_kl,
  gaussian_nll,
  teacher_bounded,
)
from kdjax.losses.pixels import pairwise
from kdjax.losses.pooling import (
  adaptive_avg_pool,
  adaptive_max_pool,
)
from kdjax.losses.projection import (
  simkd,
  srd,
  srrl,
  vkd,
)
from kdjax.losses.relation import (
  cc,
  correlation_congruence,
  pkt,
  relation_mse,
  similarity_preserving,
  sp,
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
from kdjax.losses.self_attention import (
  minilm,
  minilmv2,
)
from kdjax.losses.self_distillation import dino, dino_center_update
from kdjax.losses.vocabulary import sparse_kd, topk_kd, uld

__all__ = [
  "ab",
  "adaptive_avg_pool",
  "adaptive_kl",
  "adaptive_max_pool",
  "add_log_prior",
  "at",
  "attention_inner",
  "attention_kl",
  "attention_mse",
  "attention_transfer",
  "batch_correlation",
  "binary_kd",
  "cat_kd",
  "cc",
  "class_aware_embedding",
  "class_correlation",
  "correlation_congruence",
  "cosine_distance",
  "crd",
  "crd_update",
  "cwd",
  "dino",
  "dino_center_update",
  "dist",
  "dkd",
  "ensemble_kd",
  "factor_transfer",
  "fitnet",
  "forward_kl",
  "fsp",
  "ft",
  "gaussian_kl",
  "gaussian_nll",
  "generalized_jsd",
  "gkd",
  "hard_distillation",
  "hcl",
  "hidden_mse",
  "hint",
  "instance_aware_embedding",
  "jensen_shannon",
  "jsd",
  "kd",
  "kdsvd",
  "logit_adjusted_cross_entropy",
  "logit_mse",
  "masked_mean",
  "mgd",
  "minilm",
  "minilmv2",
  "mlkd",
  "nkd",
  "nst",
  "ofa",
  "ofd",
  "ofd_margin",
  "pairwise",
  "patient_kd",
  "pkd",
  "pkt",
  "relation_mse",
  "reverse_kl",
  "review_kd",
  "rkd",
  "rkd_angle",
  "rkd_distance",
  "seed",
  "similarity_preserving",
  "simkd",
  "skew_kl",
  "skew_reverse_kl",
  "soft_cross_entropy",
  "sp",
  "sparse_kd",
  "srd",
  "srrl",
  "standardize_logits",
  "symmetric_kl",
  "teacher_bounded",
  "tinybert",
  "topk_kd",
  "ttm",
  "tvd",
  "uld",
  "vid",
  "vitkd",
  "vkd",
  "wsld",
]
