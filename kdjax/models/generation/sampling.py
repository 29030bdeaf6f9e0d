"""How the next token is chosen, by specs in the grammar of `kdjax.core.spec`.

    greedy                                          the most probable token
    temperature(0.7)                                drawn from softmax(logits / 0.7)
    top_k(50), top_p(0.9), min_p(0.05)              from the likeliest alone
    temperature(0.7) + top_k(50) + top_p(0.9)       together

Whatever the order in a sum, logits are divided first, then cut by top_k, top_p
and min_p, each of which sees what the one before has left: as transformers'
warpers do by default.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core import spec
from kdjax.core.arguments import check_text, check_whole
from kdjax.core.errors import UserError


class Sampling(NamedTuple):
  """How tokens are drawn.

  Attributes:
    temperature: logits are divided by it; None for the most probable token.
    top_k: tokens that are left; None for all.
    top_p: probability that is left at least, in (0, 1]; None for all.
    min_p: share of the likeliest token's probability that a token must have; None
      for none.
  """

  temperature: float | None = 1.0
  top_k: int | None = None
  top_p: float | None = None
  min_p: float | None = None

  @property
  def draws(self) -> bool:
    """Whether chance has a part in it."""
    return self.temperature is not None


@functools.cache
def read_sampling(text: str) -> Sampling:
  """Reads a spec.

  Args:
    text: such as "greedy", "top_k(50)" or "temperature(0.7) + top_p(0.9)".

  Returns:
    Equal values for specs that mean the same.

  Raises:
    UserError: for an unknown name, an argument outside its range, a weight, a
      name that stands there twice, or greedy in a sum.

  Example:
    >>> read_sampling("top_p(0.9) + temperature(0.7)")
    Sampling(temperature=0.7, top_k=None, top_p=0.9, min_p=None)
  """
  check_text("sampling", text)
  terms = spec.parse_sum(text)
  names = [term.spec.name for term in terms]
  for term in terms:
    if term.weight is not None:
      raise UserError(f"sampling {text!r}: a part of it has no weight")
  if len({*names}) < len(names) or ("greedy" in names and len(names) > 1):
    raise UserError(
      f"sampling {text!r}: greedy stands alone, and the others once each, such as"
      " 'temperature(0.7) + top_p(0.9)'"
    )
  settings = {}
  for term in terms:
    settings |= spec.build("sampling", term.spec, _MAKERS)
  return Sampling(**settings)


def draw_tokens(
  sampling: Sampling, keys: jax.Array, logits: jax.Array
) -> jax.Array:
  """Draws a token for each row, from the row's own key alone.

  Args:
    keys: (B,) PRNG keys; unused where nothing is drawn.
    logits: (B, V) float.

  Returns:
    (B,) int32.
  """
  if not sampling.draws:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
  return jax.vmap(jax.random.categorical)(keys, warp(sampling, logits)).astype(
    jnp.int32
  )


def warp(sampling: Sampling, logits: jax.Array) -> jax.Array:
  """Returns the logits of the distribution that is drawn from.

  Tokens that tie with the last one that is left are left too.

  Args:
    logits: (..., V) float, finite or -inf.

  Returns:
    (..., V) float32, -inf where a token is never drawn.

  Source:
    Fan et al. 2018, arXiv:1805.04833 (top k); Holtzman et al. 2020,
    arXiv:1904.09751 (top p); Nguyen et al. 2024, arXiv:2407.01082 (min p).

  Example:
    >>> logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4]))
    >>> left = warp(Sampling(top_k=3, top_p=0.75), logits)
    >>> [round(float(p), 2) for p in jax.nn.softmax(left)]
    [0.0, 0.0, 0.43, 0.57]
  """
  logits = logits.astype(jnp.float32) / sampling.temperature
  if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
    logits = _likeliest(logits, jnp.ones_like(logits), sampling.top_k)
  if sampling.top_p is not None and sampling.top_p < 1:
    logits = _likeliest(logits, jax.nn.softmax(logits), sampling.top_p)
  if sampling.min_p is not None:
    largest = jnp.max(logits, axis=-1, keepdims=True)
    least = largest + jnp.log(sampling.min_p)
    logits = jnp.where(logits < least, -jnp.inf, logits)
  return logits


def _likeliest(
  logits: jax.Array, weights: jax.Array, amount: float
) -> jax.Array:
  """Keeps the largest logits whose weights come to an amount.

  The least of them is searched by halves among all floats, in 32 passes that
  count: to sort a large vocabulary takes many times as long.

  Args:
    logits: (..., V) float32.
    weights: (..., V) float32, >= 0.
    amount: at most the sum of the weights.
  """
  bits = jax.lax.bitcast_convert_type(logits, jnp.int32)
  # Whole numbers in the order of the floats.
  order = jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)

  def halve(_, ends):
    low, high = ends
    middle = (low | high) - ((low ^ high) >> 1)
    weight = jnp.sum(jnp.where(order >= middle, weights, 0), -1, keepdims=True)
    enough = weight >= amount
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

  ends = (
    jnp.min(order, axis=-1, keepdims=True),
    jnp.max(order, axis=-1, keepdims=True),
  )
  least, _ = jax.lax.fori_loop(0, 32, halve, ends)
  return jnp.where(order < least, -jnp.inf, logits)


def _greedy() -> dict[str, float | None]:
  return {"temperature": None}


def _temperature(temperature: float = 1.0) -> dict[str, float]:
  number = _number(temperature)
  if not 0 < number < float("inf"):
    raise ValueError("the temperature must be > 0; 'greedy' is its limit at 0")
  return {"temperature": number}


def _top_k(k: int) -> dict[str, int]:
  return {"top_k": check_whole("k", k)}


def _share(name: str) -> Callable[[float], dict[str, float]]:
  def make(p):
    number = _number(p)
    if not 0 < number <= 1:
      raise ValueError("it must be in (0, 1]")
    return {name: number}

  return make


def _number(value: float) -> float:
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise ValueError(f"{value!r} is no number")
  return float(value)


_MAKERS = {
  "greedy": _greedy,
  "temperature": _temperature,
  "top_k": _top_k,
  "top_p": _share("top_p"),
  "min_p": _share("min_p"),
}
