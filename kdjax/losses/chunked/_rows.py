"""Each divergence of rows of softmaxes, with its gradient written out.

All are called `f(p, q, vocabulary, **keywords)`, teacher first as in KL(p || q),
on softmaxes in which both sides mask the same classes. They return this device's
part of the losses, (rows, 1), and the slopes, (rows, here): the derivative in
the student's log-probabilities, one by one. The values are those of the losses
of the same names: see there and in `_math`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import _math

# Stands for the infinite log-ratio of a class that one side has masked out:
# times a probability of 0 it is 0.
_FAR = 1e30


def _summed(terms):
  return jnp.sum(terms, axis=-1, keepdims=True)


def nothing(p, q, vocabulary):
  """No divergence: the labels alone."""
  return jnp.zeros_like(q.others), jnp.zeros_like(q.probs)


def forward_kl(p, q, vocabulary):
  """KL(p || q)."""
  r, near, bulge = _compared(p, q)
  gap = jnp.where(near, p.probs * (bulge - r), q.probs - p.probs)
  terms = jnp.where(near, p.probs * bulge, p.probs * r + gap)
  return _summed(terms), gap


def reverse_kl(p, q, vocabulary):
  """KL(q || p)."""
  r, near, bulge = _compared(q, p)
  gap = p.probs - q.probs
  terms = jnp.where(near, q.probs * bulge, q.probs * r + gap)
  return _summed(terms), q.probs * r


def symmetric_kl(p, q, vocabulary, *, lam):
  """(1 - lam) KL(p || q) + lam KL(q || p)."""
  return _weighted(p, q, vocabulary, lam)


def adaptive_kl(p, q, vocabulary, *, mu):
  """r KL(p || q) + (1 - r) KL(q || p), the share r found by sorting p."""
  both = (vocabulary.gather(x.probs) for x in (p, q))
  return _weighted(p, q, vocabulary, 1 - _head_share(*both, mu))


def soft_cross_entropy(p, q, vocabulary):
  """- sum p log q."""
  log_q = _math.masked(q.log_probs, _math.alive(q.log_probs))
  return -_summed(p.probs * log_q), -p.probs


def tvd(p, q, vocabulary):
  """sum |p - q| / 2, as the positive or the negative parts, without q's top."""
  gap = q.probs - p.probs
  at_top = vocabulary.sum(jnp.where(q.is_top, gap, 0.0))
  sign = jnp.where(at_top > 0, -1.0, 1.0).astype(gap.dtype)
  share = sign * jnp.heaviside(sign * gap, 0.5)
  return _summed(share * gap), share * q.probs


def generalized_jsd(p, q, vocabulary, *, beta):
  """beta KL(p || m) + (1 - beta) KL(q || m)."""
  if beta in (0, 1):
    return (reverse_kl if beta else forward_kl)(p, q, vocabulary)
  mixture = _mixed(p, q, beta)
  terms = beta * mixture.terms(p, mixture.from_p)
  terms += (1 - beta) * mixture.terms(q, mixture.from_q)
  return _summed(terms), (1 - beta) * q.probs * mixture.from_q


def skew_kl(p, q, vocabulary, *, lam):
  """KL(p || lam p + (1 - lam) q)."""
  mixture = _mixed(p, q, lam)
  slopes = (1 - lam) ** 2 * mixture.gap * mixture.q_over_m
  return _summed(mixture.terms(p, mixture.from_p)), slopes


def skew_reverse_kl(p, q, vocabulary, *, lam):
  """KL(q || (1 - lam) p + lam q)."""
  mixture = _mixed(p, q, 1 - lam)
  slopes = q.probs * mixture.from_q
  slopes -= (1 - lam) * lam * mixture.gap * mixture.q_over_m
  return _summed(mixture.terms(q, mixture.from_q)), slopes


def _compared(a, b):
  """Returns r = log a - log b (0 where both are dead), |r| < 1/2, `excess(r)`."""
  keep = _math.alive(a.log_probs, b.log_probs)
  r = _math.masked(a.log_probs, keep) - _math.masked(b.log_probs, keep)
  near = jnp.abs(r) < 0.5
  return r, near, _math.excess(jnp.where(near, r, 0.0))


def _weighted(p, q, vocabulary, reverse):
  forward, backward = (f(p, q, vocabulary) for f in (forward_kl, reverse_kl))
  return tuple(
    (1 - reverse) * a + reverse * b
    for a, b in zip(forward, backward, strict=True)
  )


def _head_share(p, q, mu):
  """Returns the head's share of sum |p - q|, as `adaptive_kl` has it."""
  order = jnp.argsort(-p, axis=-1)
  p, q = (jnp.take_along_axis(x, order, axis=-1) for x in (p, q))
  is_tail = (jnp.cumsum(p, axis=-1) > mu).at[:, 0].set(False)
  gap = jnp.abs(p - q)
  head, total = _summed(jnp.where(is_tail, 0.0, gap)), _summed(gap)
  return jnp.where(total > 0, head / jnp.where(total > 0, total, 1.0), 0.5)


class _Mixture(NamedTuple):
  """m = share p + (1 - share) q: log(p / m), log(q / m), m, q - p and q / m."""

  from_p: jax.Array
  from_q: jax.Array
  m: jax.Array
  gap: jax.Array
  q_over_m: jax.Array

  def terms(self, x, r):
    """Returns those of KL(x || m), whose sum is that of x r; r = log(x / m)."""
    near = jnp.abs(r) < 0.5
    bulge = _math.excess(jnp.where(near, r, 0.0))
    return jnp.where(near, x.probs * bulge, x.probs * r + (self.m - x.probs))


def _mixed(p, q, share):
  # Equal log-probabilities may both be -inf, whose difference is NaN.
  same = p.log_probs == q.log_probs
  r = jnp.where(same, 0.0, p.log_probs - q.log_probs)
  r = jnp.clip(r, -_FAR, _FAR)
  # From the smaller to the larger side, so that nothing overflows or cancels.
  fall = jnp.expm1(-jnp.abs(r))
  p_less = r <= 0
  inner = jnp.where(p_less, share, 1 - share) * fall
  log_m_over_larger = jnp.log1p(inner)
  return _Mixture(
    from_p=jnp.minimum(r, 0.0) - log_m_over_larger,
    from_q=-jnp.maximum(r, 0.0) - log_m_over_larger,
    m=share * p.probs + (1 - share) * q.probs,
    gap=jnp.where(p_less, -q.probs, p.probs) * fall,
    q_over_m=jnp.where(p_less, 1.0, 1 + fall) / (1 + inner),
  )
