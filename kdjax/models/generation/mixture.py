"""Two networks that write one text together: each token from a mixture of both."""

import math

import jax
import jax.numpy as jnp

from kdjax.taps.decoding import Decoding


def mixed(
  first: Decoding, second: Decoding, share: float, classes: int
) -> Decoding:
  """Makes the decoding of share * second + (1 - share) * first.

  Args:
    first: of one network.
    second: of another one, with the same token ids.
    share: of the second's probabilities, in (0, 1).
    classes: ids from this one on have probability 0 on both sides.

  Returns:
    The decoding, whose variables and cache are pairs; its logits are the mixture's
    log-probabilities.
  """

  def start(variables, batch, slots):
    own, other = variables
    return first.start(own, batch, slots), second.start(other, batch, slots)

  def read(variables, tokens, mask, cache):
    answers = [
      decoding.read(own, tokens, mask, kept)
      for decoding, own, kept in zip(
        (first, second), variables, cache, strict=True
      )
    ]
    own, other = (
      jax.nn.log_softmax(logits[:, :classes].astype(jnp.float32))
      for logits, _ in answers
    )
    log_probs = jnp.logaddexp(math.log1p(-share) + own, math.log(share) + other)
    return log_probs, tuple(kept for _, kept in answers)

  positions = [
    one.positions for one in (first, second) if one.positions is not None
  ]
  return Decoding(start, read, classes, min(positions, default=None))
