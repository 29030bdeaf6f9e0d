"""What a class adds to a response loss, and its slope: see `_rows`."""

import dataclasses

import jax
import jax.numpy as jnp

from kdjax.losses import _math
from kdjax.losses._rows import Closed, Pair

Term = tuple[jax.Array, jax.Array]


def nothing(pair: Pair) -> Term:
  """Nothing, for who wants the normalisers alone."""
  return jnp.zeros_like(pair.q), jnp.zeros_like(pair.q)


def _kl(pair: Pair) -> Term:
  """KL(p || q). Its slope leaves out q, whose gradients are zero in all."""
  return _divergence(pair.log_p - pair.log_q, pair.p, pair.q), -pair.p


def _reverse_kl(pair: Pair) -> Term:
  """KL(q || p)."""
  gap = pair.log_q - pair.log_p
  return _divergence(gap, pair.q, pair.p), pair.q * gap


def _cross_entropy(pair: Pair) -> Term:
  """- sum p log q."""
  return -pair.p * pair.log_q, -pair.p


def _minus_one(total):
  return -jnp.ones_like(total)


kl = Closed(_kl, _minus_one)
# sum q log(q / p) is the divergence itself.
reverse_kl = Closed(_reverse_kl, lambda total: total)
cross_entropy = Closed(_cross_entropy, _minus_one)


def total_variation(pair: Pair) -> Term:
  """sum |p - q| / 2; at 0 its slope is 0."""
  gap = pair.q - pair.p
  return 0.5 * jnp.abs(gap), 0.5 * jnp.sign(gap) * pair.q


@dataclasses.dataclass(frozen=True)
class Powers:
  """- sum p^eps log q."""

  eps: float

  def __call__(self, pair: Pair) -> Term:
    power = jnp.exp(self.eps * pair.log_p)
    return -power * pair.log_q, -power


@dataclasses.dataclass(frozen=True)
class JensenShannon:
  """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q."""

  beta: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, self.beta)
    p_gap, q_gap = pair.log_p - log_m, pair.log_q - log_m
    from_p = _divergence(p_gap, pair.p, mixture)
    from_q = _divergence(q_gap, pair.q, mixture)
    share = 1 - self.beta
    return self.beta * from_p + share * from_q, share * pair.q * q_gap


@dataclasses.dataclass(frozen=True)
class SkewKL:
  """KL(p || m), m = lam p + (1 - lam) q."""

  lam: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, self.lam)
    value = _divergence(pair.log_p - log_m, pair.p, mixture)
    student = (1 - self.lam) * pair.q
    return value, -pair.p * (student / mixture)


@dataclasses.dataclass(frozen=True)
class SkewReverseKL:
  """KL(q || m), m = (1 - lam) p + lam q."""

  lam: float

  def __call__(self, pair: Pair) -> Term:
    log_m, mixture = _mixture(pair, 1 - self.lam)
    gap = pair.log_q - log_m
    value = _divergence(gap, pair.q, mixture)
    # log(q / m) + 1 - lam q / m, the last two together the teacher's share.
    share = (1 - self.lam) * pair.p / mixture
    return value, pair.q * (gap + share)


def _mixture(pair, share):
  """Returns log m and m = share p + (1 - share) q, which is never 0."""
  mixture = share * pair.p + (1 - share) * pair.q
  mixture = jnp.maximum(mixture, jnp.finfo(mixture.dtype).tiny)
  return jnp.log(mixture), mixture


def _divergence(gap, p, q):
  """Returns p (r + exp(-r) - 1), r = gap = log(p / q); 0 where p = q = 0.

  As `_math.kl_terms`, for the eyes of no derivative: gaps are finite here, so
  that there are no branches, which a loop over blocks would be slow in.
  """
  near = p * _math.excess(jnp.clip(gap, -0.5, 0.5))
  far = p * gap - p + q
  return jnp.where(jnp.abs(gap) < 0.5, near, far)
