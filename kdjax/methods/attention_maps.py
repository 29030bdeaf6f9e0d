"""Attention maps: where the student looks, layer by layer."""

import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.core.errors import UserError
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import check_choice
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods._features import working
from kdjax.methods._layer_matching import pair_layers
from kdjax.methods.registry import register

DISTANCES = ("kl", "mse", "inner")


@register("attention_maps", objective="ce:1 + attention_maps:1", reads=KINDS)
def attention_maps(
  *,
  distance: str = "kl",
  student_tap: str = "stage_*/attention:weights",
  teacher_tap: str = "stage_*/attention:weights",
  mask_tap: str | None = None,
) -> Method:
  """Matching of attention probabilities.

  loss = mean over layers of
         mean over heads and queries of KL(teacher || student)      ("kl")
         mean over heads and pairs of (student - teacher)^2         ("mse")
         - mean over heads of sum over pairs of student * teacher   ("inner")

  Matched: the attention probabilities of all heads, the student's layers with
  the teacher's spread evenly. Where numbers of heads differ in a pair, both
  sides are averaged over their heads first. Learned: nothing but the student.
  Default taps: the probabilities of stock attention layers,
  `stage_*/attention:weights`. Cost: one pass over B * heads * T^2 a layer.

  "kl" is MobileBERT's attention transfer. "inner" is not least where both
  agree, and rewards sharp maps. The weight 1 beside the labels is ours.

  Args:
    distance: "kl", "mse" or "inner".
    student_tap: names the student's probabilities, each (B, heads, T, T).
    teacher_tap: names the teacher's.
    mask_tap: a feature of the student, (B, T), 0 where a token is padding,
      such as "stem:in" of a BERT; None for the padding that the task knows of.

  Returns:
    The method.

  Raises:
    ValueError: for an unknown distance.
    UserError: where the method is applied, if features are no attention
      probabilities or numbers of tokens differ.

  Example:
    >>> maps = jnp.array([[[[0.5, 0.5], [1.0, 0.0]]]])
    >>> outputs = Outputs(None, {"stage_0/attention:weights": maps})
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), jnp.array(0))
    >>> print(attention_maps(distance="inner").apply((), (), inputs)[0])
    -1.5

  Source:
    Sun et al. 2020 (MobileBERT), arXiv:2004.02984, for "kl"; the plain formulas
    otherwise. `kdjax.losses.attention_kl`, `attention_mse`, `attention_inner`.
  """
  check_choice("distance", distance, DISTANCES)

  def loss(inputs):
    students = _maps(student_tap, inputs.student)
    teachers = _maps(teacher_tap, inputs.teacher)
    values = []
    for s, t in pair_layers(len(students), len(teachers)):
      student, teacher = _same_heads(students[s], teachers[t])
      count = student.shape[-1]
      _tokens.check_same_tokens("attention_maps", count, teacher.shape[-1])
      mask = _tokens.token_mask("attention_maps", mask_tap, inputs, count)
      values.append(_distance(distance, student, teacher, mask))
    return sum(values) / len(values)

  return stateless(
    loss,
    student_taps=(student_tap, *_tokens.mask_taps(mask_tap)),
    teacher_taps=(teacher_tap,),
  )


def _maps(tap, outputs):
  maps = taps.select(outputs.feats, tap)
  for array in maps:
    if array.ndim != 4 or array.shape[2] != array.shape[3]:
      raise UserError(
        "attention_maps needs attention probabilities (B, heads, T, T), but"
        f" {tap} is {array.shape}; tap attention layers with ':weights'"
      )
  return maps


def _same_heads(student: jax.Array, teacher: jax.Array):
  if student.shape[1] == teacher.shape[1]:
    return student, teacher
  return tuple(
    jnp.mean(side, axis=1, keepdims=True, dtype=jnp.float32)
    for side in (student, teacher)
  )


def _summing_to_one(maps: jax.Array) -> jax.Array:
  maps = working(maps)
  total = jnp.sum(maps, axis=-1, keepdims=True)
  return maps / jnp.where(total > 0, total, 1.0)


def _distance(distance, student, teacher, mask):
  if distance == "kl":
    # Rounded to bfloat16 they sum to 1 no more, and the KL could be negative.
    student, teacher = map(_summing_to_one, (student, teacher))
    return losses.attention_kl(student, teacher, mask=mask, from_probs=True)
  if distance == "mse":
    return losses.attention_mse(student, teacher, mask=mask)
  if mask is not None:
    student = jnp.where(mask[:, None, :, None], student, 0)
  return losses.attention_inner(student, teacher)
