"""Networks that write one text together: each token is drawn from all of them."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from kdjax.models.generation.sampling import Sampling, warp
from kdjax.taps.decoding import Decoding

# The log-probabilities (B, V) of each network -> those of the distribution that a
# token is drawn from.
Combine = Callable[..., jax.Array]


def mixture(share: float) -> Combine:
  """Makes the distribution share * second + (1 - share) * first.

  Args:
    share: in (0, 1).
  """

  def combine(first, second):
    return jnp.logaddexp(math.log1p(-share) + first, math.log(share) + second)

  return combine


def speculative(top_k: int) -> Combine:
  """Makes the distribution of a first's draws that a second corrects.

  A token of the first's that is among the second's likeliest ones stays; for another
  one the second draws in its place. That is one distribution, so that nothing is
  drawn in vain:

    p(x) = first(x) [x in the top k] + second(x) sum over y not in it of first(y)

  Args:
    top_k: how many of the second's likeliest tokens it accepts.

  Source:
    Xu et al. 2024, arXiv:2410.11325 (speculative knowledge distillation).
  """

  def combine(first, second):
    accepted = jnp.isfinite(warp(Sampling(top_k=top_k), second))
    others = jax.nn.logsumexp(
      jnp.where(accepted, -jnp.inf, first), axis=-1, keepdims=True
    )
    return jnp.logaddexp(jnp.where(accepted, first, -jnp.inf), others + second)

  return combine


def together(
  decodings: Sequence[Decoding], combine: Combine, classes: int
) -> Decoding:
  """Makes the decoding of several networks with the same token ids.

  Args:
    decodings: of each network.
    combine: what tokens are drawn from.
    classes: ids from this one on have probability 0 for all.

  Returns:
    The decoding, whose variables and cache are those of each; its logits are
    log-probabilities.
  """

  def start(variables, batch, slots):
    return tuple(
      one.start(own, batch, slots)
      for one, own in zip(decodings, variables, strict=True)
    )

  def read(variables, tokens, mask, cache):
    answers = [
      one.read(own, tokens, mask, kept)
      for one, own, kept in zip(decodings, variables, cache, strict=True)
    ]
    log_probs = [
      jax.nn.log_softmax(logits[:, :classes].astype(jnp.float32))
      for logits, _ in answers
    ]
    return combine(*log_probs), tuple(kept for _, kept in answers)

  positions = [one.positions for one in decodings if one.positions is not None]
  return Decoding(start, read, classes, min(positions, default=None))
