"""Divergences of softened classes, from hidden states and heads."""

import jax

from kdjax.losses import checks
from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._define import from_heads


@from_heads(_rows.forward_kl)
def forward_kl():
  """`kdjax.losses.forward_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(p || q), and the labels' part

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = forward_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.43879998 2

  Source:
    Kim, Rush 2016, arXiv:1606.07947 (word-level distillation).
  """
  return {}


@from_heads(_rows.reverse_kl)
def reverse_kl():
  """`kdjax.losses.reverse_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(q || p), and the labels' part

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = reverse_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.5539 2

  Source:
    Gu et al. 2024 (MiniLLM), arXiv:2306.08543, per position.
  """
  return {}


@from_heads(_rows.symmetric_kl, traced=("lam",))
def symmetric_kl(*, lam: float | jax.Array = 0.5):
  """`kdjax.losses.symmetric_kl` of tokens of a large vocabulary.

  loss = sum over tokens of (1 - lam) KL(p || q) + lam KL(q || p), and the
  labels' part

  Args:
    lam: the reverse direction's share, in [0, 1].

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` outside [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = symmetric_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.49629998 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  checks.between("chunked.symmetric_kl", 0, 1, lam=lam)
  return {"lam": lam}


@from_heads(_rows.tvd)
def tvd():
  """`kdjax.losses.tvd` of tokens of a large vocabulary.

  loss = sum over tokens of 1/2 sum_c |p_c - q_c|, and the labels' part

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = tvd(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.6119 2

  Source:
    Wen et al. 2023 (f-distill), arXiv:2307.15190 (TVD), per position.
  """
  return {}


@from_heads(_rows.adaptive_kl)
def adaptive_kl(*, mu: float = 0.5):
  """`kdjax.losses.adaptive_kl` of tokens of a large vocabulary.

  loss = sum over tokens of r KL(p || q) + (1 - r) KL(q || p), and the labels'
  part

  It sorts: with `axis_name`, the rows of a chunk are gathered on every device.

  Args:
    mu: the teacher's mass that the head may hold, in [0, 1]; static.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `mu` outside [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = adaptive_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.49629998 2

  Source:
    Wu et al. 2024 (AKL), arXiv:2404.02657.
  """
  checks.between("chunked.adaptive_kl", 0, 1, mu=mu)
  return {"mu": mu}
