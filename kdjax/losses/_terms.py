"""What a class adds to a response loss, and its slope: see `_rows`."""

import dataclasses

import jax
import jax.numpy as jnp

from kdjax.losses import _math
from kdjax.losses._rows import Pair

Term = tuple[jax.Array, jax.Array]


def nothing(pair: Pair) -> Term:
  """Nothing, for who wants the normalisers alone."""
  return jnp.zeros_like(pair.q), jnp.zeros_like(pair.q)


def kl(pair: Pair) -> Term:
  """KL(p || q). Its slope leaves out q, whose gradients are zero in all."""
  value = _math.kl_terms(pair.log_p - pair.log_q, pair.p, pair.q, pair.keep)
  return value, jnp.where(pair.keep, -pair.p, 0.0)


def reverse_kl(pair: Pair) -> Term:
  """KL(q || p)."""
  gap = pair.log_q - pair.log_p
  value = _math.kl_terms(gap, pair.q, pair.p, pair.keep)
  return value, jnp.where(pair.keep, pair.q * gap, -pair.q)


def cross_entropy(pair: Pair) -> Term:
  """- sum p log q, over the classes that neither side masks."""
  p = jnp.where(pair.keep, pair.p, 0.0)
  return -p * pair.log_q, -p


def total_variation(pair: Pair) -> Term:
  """sum |p - q| / 2; at 0 its slope is 0."""
  gap = pair.q - pair.p
  return 0.5 * jnp.abs(gap), 0.5 * jnp.sign(gap) * pair.q


@dataclasses.dataclass(frozen=True)
class SymmetricKL:
  """(1 - lam) KL(p || q) + lam KL(q || p)."""

  lam: float

  def __call__(self, pair: Pair) -> Term:
    both = zip(kl(pair), reverse_kl(pair), strict=True)
    return tuple((1 - self.lam) * x + self.lam * y for x, y in both)


@dataclasses.dataclass(frozen=True)
class Powers:
  """- sum p^eps log q."""

  eps: float

  def __call__(self, pair: Pair) -> Term:
    power = jnp.where(pair.keep, jnp.exp(self.eps * pair.log_p), 0.0)
    return -power * pair.log_q, -power


@dataclasses.dataclass(frozen=True)
class JensenShannon:
  """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q."""

  beta: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, self.beta)
    some = mixture > 0
    p_gap = jnp.where(some, pair.log_p - log_m, 0.0)
    q_gap = jnp.where(some, pair.log_q - log_m, 0.0)
    from_p = _math.kl_terms(p_gap, pair.p, mixture, some)
    from_q = _math.kl_terms(q_gap, pair.q, mixture, some)
    share = 1 - self.beta
    return self.beta * from_p + share * from_q, share * pair.q * q_gap


@dataclasses.dataclass(frozen=True)
class SkewKL:
  """KL(p || m), m = lam p + (1 - lam) q."""

  lam: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, self.lam)
    some = mixture > 0
    gap = jnp.where(some, pair.log_p - log_m, 0.0)
    value = _math.kl_terms(gap, pair.p, mixture, some)
    student = (1 - self.lam) * pair.q
    return value, -pair.p * (student / jnp.where(some, mixture, 1.0))


@dataclasses.dataclass(frozen=True)
class SkewReverseKL:
  """KL(q || m), m = (1 - lam) p + lam q."""

  lam: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, 1 - self.lam)
    some = mixture > 0
    gap = jnp.where(some, pair.log_q - log_m, 0.0)
    value = _math.kl_terms(gap, pair.q, mixture, some)
    # log(q / m) + 1 - lam q / m, the last two together the teacher's share.
    share = (1 - self.lam) * pair.p / jnp.where(some, mixture, 1.0)
    return value, pair.q * (gap + share)


def _mixture(pair, share):
  """Returns log m and m = share p + (1 - share) q; log m is 0 where m is."""
  mixture = share * pair.p + (1 - share) * pair.q
  return jnp.log(jnp.where(mixture > 0, mixture, 1.0)), mixture
