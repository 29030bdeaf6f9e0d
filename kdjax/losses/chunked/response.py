"""`kd` and soft cross-entropy, from hidden states and heads."""

from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._define import from_heads


@from_heads(_rows.forward_kl, temperature=4.0, t_squared=True)
def kd():
  """`kdjax.losses.kd` of tokens of a large vocabulary.

  loss = sum over tokens of T^2 KL(p || q) + label_weight * cross-entropy

  with q = softmax(student_hidden @ student_head / T) and p likewise, without an
  array of all tokens' logits: gradients are made in the forward pass, in chunks
  of tokens. Only `loss` has a gradient, and no second one. To take the mean of
  micro-batches or devices, add up `loss` and `tokens` apart and divide.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> labels = jnp.array([0, -1])
    >>> found = kd(states, head, states, teacher_head, labels=labels)
    >>> print(found.divergence.round(4), found.tokens)
    0.6088 2
    >>> print(found.cross_entropy.round(4), found.labelled)
    0.6931 1

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
  """
  return {}


@from_heads(_rows.soft_cross_entropy)
def soft_cross_entropy():
  """`kdjax.losses.soft_cross_entropy` of tokens of a large vocabulary.

  loss = sum over tokens of - sum_c p_c log q_c, and the labels' part

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = soft_cross_entropy(states, head, states, teacher_head)
    >>> print(found.divergence.round(4), found.tokens)
    1.3863 2

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, without T^2.
  """
  return {}
