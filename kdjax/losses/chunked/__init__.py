"""Divergences for large vocabularies, from hidden states and output heads.

The losses of `kdjax.losses` of the same names, of `hidden @ head`, with the same
defaults: but the logits of all tokens, (N, V), never lie in memory, and the
gradients are made in the forward pass, in chunks of tokens. What is returned are
`Totals`: sums over the tokens that count, and how many those are.

  >>> import jax, jax.numpy as jnp
  >>> from kdjax.losses import chunked
  >>> keys = jax.random.split(jax.random.key(0), 4)
  >>> hidden = jax.random.normal(keys[0], (2, 8, 16))
  >>> head = jax.random.normal(keys[1], (16, 1000)) / 4
  >>> teacher_hidden = jax.random.normal(keys[2], (2, 8, 24))
  >>> teacher_head = jax.random.normal(keys[3], (24, 1000)) / 5
  >>> def loss(hidden, head):
  ...   found = chunked.kd(hidden, head, teacher_hidden, teacher_head)
  ...   return found.mean(), found
  >>> grads, found = jax.grad(loss, (0, 1), has_aux=True)(hidden, head)
  >>> print(found.tokens, [x.shape for x in grads])
  16 [(2, 8, 16), (16, 1000)]
"""

from kdjax.losses.chunked._call import Totals
from kdjax.losses.chunked.divergences import (
  adaptive_kl,
  forward_kl,
  reverse_kl,
  symmetric_kl,
  tvd,
)
from kdjax.losses.chunked.heads import ByClass
from kdjax.losses.chunked.labels import cross_entropy, top_class
from kdjax.losses.chunked.mixtures import (
  generalized_jsd,
  gkd,
  jensen_shannon,
  jsd,
  skew_kl,
  skew_reverse_kl,
)
from kdjax.losses.chunked.response import kd, soft_cross_entropy
from kdjax.losses.chunked.vocabulary import topk_kd

__all__ = [
  "ByClass",
  "Totals",
  "adaptive_kl",
  "cross_entropy",
  "forward_kl",
  "generalized_jsd",
  "gkd",
  "jensen_shannon",
  "jsd",
  "kd",
  "reverse_kl",
  "skew_kl",
  "skew_reverse_kl",
  "soft_cross_entropy",
  "symmetric_kl",
  "top_class",
  "topk_kd",
  "tvd",
]
