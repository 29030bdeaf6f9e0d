"""MiniLMv2: self-attention relations of one layer, whatever the heads."""

import math

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods.registry import register


@register(
  "minilmv2",
  objective="minilmv2:before(0.5, 1) + ce:after(0.5, 1)",
  reads=KINDS,
)
def minilmv2(
  *,
  relation_heads: int | None = None,
  teacher_layer: int = -1,
  weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
  student_attention: str = "stage_*/attention",
  teacher_attention: str = "stage_*/attention",
  mask_tap: str | None = None,
) -> Method:
  """Multi-head self-attention relation distillation.

  loss = sum over x in q, k, v of weight_x * mean over relation heads and tokens
         of KL(softmax(x x' / sqrt(d))_t || softmax(x x' / sqrt(d))_s)

  Matched: how tokens relate to each other by their queries, keys and values, in
  the student's last layer and one of the teacher's, each split into the same
  number of relation heads. Learned: nothing but the student; widths, depths and
  heads may differ, numbers of tokens may not. Default taps: query, key and
  value of the stock attention layers `stage_*/attention`. Cost: three B *
  relation heads * T^2 relations of each network.

  Published is the order, this loss alone and then training on the task's
  labels; the equal shares of the two are ours.

  Args:
    relation_heads: divides both widths. None is the 48 of the paper's base-size
      teachers where that divides them (it takes 64 for large teachers), else
      their largest common divisor below.
    teacher_layer: number of the teacher's layer from 0, or from the end if
      negative. The paper takes the last of 12; of 24 the 21st (BERT-large, 20
      here) or the 19th (RoBERTa-large, 18 here).
    weights: of the query, key and value relations.
    student_attention: names the student's attention layers, which have the
      submodules `query`, `key` and `value`.
    teacher_attention: names the teacher's.
    mask_tap: a feature of the student, (B, T), 0 where a token is padding,
      such as "stem:in" of a BERT; None for the padding that the task knows of.

  Returns:
    The method.

  Raises:
    ValueError: for relation heads below 1, or weights that are not three.
    UserError: where the method is applied, if there are no such layers, numbers
      of tokens differ, or the relation heads do not divide the widths.

  Example:
    >>> feats = {
    ...   f"stage_0/attention/{part}": jnp.ones((1, 2, 1, 4))
    ...   for part in ("query", "key", "value")
    ... }
    >>> outputs = Outputs(None, feats)
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), jnp.array(0))
    >>> print(minilmv2(relation_heads=2).apply((), (), inputs)[0])
    0.0

  Source:
    Wang et al. 2021, arXiv:2012.15828; `kdjax.losses.minilmv2`.
  """
  parts = ("query", "key", "value")
  if relation_heads is not None and relation_heads < 1:
    raise ValueError(f"relation_heads must be >= 1, got {relation_heads!r}")
  if len(weights) != 3:
    raise ValueError(f"weights are those of q, k and v, got {weights!r}")

  def loss(inputs):
    students = _tokens.projections(
      "minilmv2", student_attention, inputs.student, parts
    )
    teachers = _tokens.projections(
      "minilmv2", teacher_attention, inputs.teacher, parts
    )
    if not -len(teachers) <= teacher_layer < len(teachers):
      raise UserError(
        f"minilmv2: teacher_layer={teacher_layer}, but the teacher has"
        f" {len(teachers)} attention layers, from 0"
      )
    student = [_joined(part) for part in students[-1]]
    teacher = [_joined(part) for part in teachers[teacher_layer]]
    count = student[0].shape[1]
    _tokens.check_same_tokens("minilmv2", count, teacher[0].shape[1])
    return losses.minilmv2(
      tuple(student),
      tuple(teacher),
      relation_heads=_heads(
        relation_heads, student[0].shape[-1], teacher[0].shape[-1]
      ),
      mask=_tokens.token_mask("minilmv2", mask_tap, inputs, count),
      weights=tuple(weights),
    )

  return stateless(
    loss,
    student_taps=(
      *_tokens.projection_taps(student_attention),
      *_tokens.mask_taps(mask_tap),
    ),
    teacher_taps=_tokens.projection_taps(teacher_attention),
  )


def _joined(part: jax.Array) -> jax.Array:
  """Returns (B, T, heads * d) of (B, heads, T, d)."""
  batch, _, count, _ = part.shape
  return jnp.swapaxes(part, 1, 2).reshape(batch, count, -1)


def _heads(count: int | None, student: int, teacher: int) -> int:
  common = math.gcd(student, teacher)
  if count is None:
    return next(heads for heads in range(48, 0, -1) if common % heads == 0)
  if common % count:
    raise UserError(
      f"minilmv2: relation_heads={count} must divide the widths {student} of"
      f" the student and {teacher} of the teacher"
    )
  return count
