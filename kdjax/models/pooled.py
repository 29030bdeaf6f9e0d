"""Several language models as one network, which answers and writes as they do together."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.pooling import pool_logits
from kdjax.models.generation.mixture import together
from kdjax.taps.network import Network


def pooled(
  networks: Sequence[Network],
  classes: int,
  *,
  pool: str = "probabilities",
  weights: Sequence[float] = (),
) -> Network:
  """Makes one network of several with the same token ids.

  Args:
    networks: of parameters alone, such as those of `kdjax.pretrained.load`.
    classes: how many ids all have logits for; what one has beyond is left out.
    pool: how answers become one, see `kdjax.core.pooling.pool_logits`.
    weights: one number a network; none for all alike.

  Returns:
    The network; its variables are {"params": those of each by "0", "1", ...}, see
    `pooled_variables`. It has no taps, and is not for training.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.taps.network import from_linen
    >>> one = from_linen(nn.Dense(3), classifier=None)
    >>> both = [one.init(jax.random.key(i), jnp.ones((1, 4))) for i in (0, 1)]
    >>> network = pooled([one, one], 3)
    >>> network.apply(pooled_variables(both), jnp.ones((2, 4)))[0].shape
    (2, 3)
  """
  networks = tuple(networks)
  pool_answers = partial(pool_logits, pool=pool, weights=tuple(weights))

  def each(variables):
    return [
      (one, {"params": variables["params"][str(i)]})
      for i, one in enumerate(networks)
    ]

  def init(key, inputs):
    keys = jax.random.split(key, len(networks))
    return pooled_variables(
      [
        one.init(own_key, inputs)
        for one, own_key in zip(networks, keys, strict=True)
      ]
    )

  def apply(variables, inputs, *, taps=(), train=False, rngs=None):
    if taps:
      raise _no_taps(taps)
    answers = [
      one.apply(own, inputs)[0][..., :classes] for one, own in each(variables)
    ]
    return pool_answers(jnp.stack(answers)), {}, variables

  def rows(variables, inputs):
    raise _no_taps("")

  decoding = None
  if all(one.decoding for one in networks):
    both = together(
      [one.decoding for one in networks],
      lambda *log_probs: pool_answers(jnp.stack(log_probs)),
      classes,
    )
    decoding = both._replace(
      start=lambda variables, *sizes: both.start(
        [own for _, own in each(variables)], *sizes
      ),
      read=lambda variables, *rest: both.read(
        [own for _, own in each(variables)], *rest
      ),
    )
  return Network(init, apply, lambda variables: None, rows, decoding=decoding)


def pooled_variables(variables: Sequence[Any]) -> dict[str, Any]:
  """Puts the arrays of several networks together, for the network of `pooled`.

  Args:
    variables: of each network, {"params": ...}.
  """
  return {"params": {str(i): one["params"] for i, one in enumerate(variables)}}


def _no_taps(taps: Any) -> UserError:
  return UserError(
    f"nothing can be tapped in several networks as one, got {taps!r}; tap one of"
    " them"
  )
