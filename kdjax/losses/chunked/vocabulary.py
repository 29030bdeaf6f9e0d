"""`topk_kd`, from hidden states and heads."""

import jax

from kdjax.losses import checks
from kdjax.losses.chunked import _top
from kdjax.losses.chunked._call import Totals, call


def topk_kd(
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  k: int,
  tail: str = "renormalize",
  temperature: float | jax.Array = 1.0,
  t_squared: bool = True,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """`kdjax.losses.topk_kd` of tokens of a large vocabulary.

  loss = sum over tokens of T^2 KL(p || q) over the k classes of the largest
  teacher logits, and the labels' part

  With `axis_name`, each device offers its k largest, k of all which are taken.

  Args:
    student_hidden: (..., d) float; this and all not named here as in `kd`.
    student_head: (d, V) float.
    teacher_hidden: (..., d_t) float.
    teacher_head: (d_t, V) float.
    k: how many classes, 1 to V; static.
    tail: "renormalize" or "bucket".
    temperature: T > 0.
    t_squared: whether to multiply by T^2.
    student_bias: (V) float.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    label_weight: of the labels' cross-entropy.
    chunk_size: tokens at a time.
    axis_name: of the vocabulary's shards.

  Returns:
    The `Totals`: sums over the tokens that count.

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
  # The whole vocabulary: on each device there are but its columns of it.
  shards = 1 if axis_name is None else jax.lax.axis_size(axis_name)
  most = shards * student_head.shape[-1]
  k = checks.whole("chunked.topk_kd", "k", k, most=most)
  return call(
    "topk_kd",
    _top.topk_kd,
    (student_hidden, student_head, teacher_hidden, teacher_head),
    temperature=temperature,
    t_squared=t_squared,
    student_bias=student_bias,
    teacher_bias=teacher_bias,
    mask=mask,
    labels=labels,
    label_weight=label_weight,
    chunk_size=chunk_size,
    axis_name=axis_name,
    k=k,
    tail=tail,
  )
