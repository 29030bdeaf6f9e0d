"""`topk_kd`, from hidden states and heads."""

from kdjax.losses import checks
from kdjax.losses.chunked import _top
from kdjax.losses.chunked._define import from_heads


@from_heads(_top.topk_kd, t_squared=True)
def topk_kd(classes, *, k: int, tail: str = "renormalize"):
  """`kdjax.losses.topk_kd` of tokens of a large vocabulary.

  loss = sum over tokens of T^2 KL(p || q) over the k classes of the largest
  teacher logits, and the labels' part

  With `axis_name`, each device offers its k largest, k of all which are taken.

  Args:
    k: how many classes, 1 to V; static.
    tail: "renormalize" or "bucket".

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive, `tail` is unknown
      or `k` is not in 1 to V.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> teacher_head = jnp.array([[1.0, 0.0]])
    >>> found = topk_kd(states, head, states, teacher_head, k=1, tail="bucket")
    >>> print(found.divergence.round(4), found.tokens)
    0.43879998 2

  Source:
    Common practice; the renormalised form is tunix's, the bucket TRL's.
  """
  checks.choice("chunked.topk_kd", ("renormalize", "bucket"), tail=tail)
  k = checks.whole("chunked.topk_kd", "k", k, most=classes)
  return {"k": k, "tail": tail}
