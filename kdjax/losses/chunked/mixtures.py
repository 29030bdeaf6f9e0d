"""Divergences from a mixture, from hidden states and heads."""

from kdjax.losses import checks
from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._define import from_heads


@from_heads(_rows.generalized_jsd)
def generalized_jsd(*, beta: float = 0.5):
  """`kdjax.losses.generalized_jsd` of tokens of a large vocabulary (also `gkd`).

  loss = sum over tokens of beta KL(p || m) + (1 - beta) KL(q || m), and the
  labels' part; m = beta p + (1 - beta) q

  Args:
    beta: the teacher's share of the mixture, a Python number in [0, 1].

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `beta` no number in
      [0, 1].

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = generalized_jsd(states, head, states, teacher_head, beta=0.25)
    >>> print(found.divergence.round(4), found.tokens)
    0.0848 2

  Source:
    Agarwal et al. 2024 (GKD), arXiv:2306.13649, equation 1.
  """
  checks.python_number(
    "chunked.generalized_jsd", "in [0, 1]", lambda x: 0 <= x <= 1, beta=beta
  )
  return {"beta": float(beta)}


gkd = generalized_jsd


@from_heads(_rows.generalized_jsd)
def jensen_shannon():
  """`kdjax.losses.jensen_shannon` of tokens of a large vocabulary (also `jsd`).

  loss = sum over tokens of 1/2 KL(p || m) + 1/2 KL(q || m), and the labels'
  part; m = (p + q) / 2

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = jensen_shannon(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.118099995 2

  Source:
    Lin 1991, Divergence measures based on the Shannon entropy.
  """
  return {"beta": 0.5}


jsd = jensen_shannon


@from_heads(_rows.skew_kl)
def skew_kl(*, lam: float = 0.1):
  """`kdjax.losses.skew_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(p || lam p + (1 - lam) q), and the labels' part

  Args:
    lam: the teacher's share of the mixture, 0 < lam < 1; static.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` no number
      between 0 and 1.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = skew_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.36319998 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  checks.python_number(
    "chunked.skew_kl", "with 0 < lam < 1", lambda x: 0 < x < 1, lam=lam
  )
  return {"lam": float(lam)}


@from_heads(_rows.skew_reverse_kl)
def skew_reverse_kl(*, lam: float = 0.1):
  """`kdjax.losses.skew_reverse_kl` of tokens of a large vocabulary.

  loss = sum over tokens of KL(q || (1 - lam) p + lam q), and the labels' part

  Args:
    lam: the student's share of the mixture, 0 < lam < 1; static.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive or `lam` no number
      between 0 and 1.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = skew_reverse_kl(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    0.4122 2

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  checks.python_number(
    "chunked.skew_reverse_kl", "with 0 < lam < 1", lambda x: 0 < x < 1, lam=lam
  )
  return {"lam": float(lam)}
