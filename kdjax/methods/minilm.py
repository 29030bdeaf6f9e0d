"""MiniLM: the last layer's self-attention, as relations between tokens."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods.registry import register


@register(
  "minilm", objective="minilm:before(0.5, 1) + ce:after(0.5, 1)", reads=KINDS
)
def minilm(
  *,
  student_attention: str = "stage_*/attention",
  teacher_attention: str = "stage_*/attention",
  mask_tap: str | None = None,
) -> Method:
  """Deep self-attention distillation of the last layer.

  loss = mean over heads and queries of
         KL(softmax(q k' / sqrt(d))_t || softmax(q k' / sqrt(d))_s)
       + KL(softmax(v v' / sqrt(d))_t || softmax(v v' / sqrt(d))_s)

  Matched: the attention distributions and the value relations of the last
  attention layers. Learned: nothing but the student; widths and depths may
  differ, numbers of heads and tokens may not. Default taps: query, key and
  value of the stock attention layers `stage_*/attention`, of which the last
  counts. Cost: two B * heads * T^2 relations of each network.

  Published is the order, this loss alone and then training on the task's
  labels; the equal shares of the two are ours.

  Args:
    student_attention: names the student's attention layers, which have the
      submodules `query`, `key` and `value`.
    teacher_attention: names the teacher's.
    mask_tap: a feature of the student, (B, T), 0 where a token is padding,
      such as "stem:in" of a BERT; None for the padding that the task knows of.

  Returns:
    The method.

  Raises:
    UserError: where the method is applied, if there are no such layers, or
      numbers of tokens or heads differ.

  Example:
    >>> feats = {
    ...   f"stage_0/attention/{part}": jnp.ones((1, 2, 1, 4))
    ...   for part in ("query", "key", "value")
    ... }
    >>> outputs = Outputs(None, feats)
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), jnp.array(0))
    >>> print(minilm().apply((), (), inputs)[0])
    0.0

  Source:
    Wang et al. 2020, arXiv:2002.10957; `kdjax.losses.minilm`.
  """
  parts = ("query", "key", "value")

  def loss(inputs):
    student, teacher = (
      _tokens.projections("minilm", attention, outputs, parts)[-1]
      for attention, outputs in (
        (student_attention, inputs.student),
        (teacher_attention, inputs.teacher),
      )
    )
    _tokens.check_same_heads("minilm", student[0].shape[1], teacher[0].shape[1])
    count = student[0].shape[2]
    _tokens.check_same_tokens("minilm", count, teacher[0].shape[2])
    mask = _tokens.token_mask("minilm", mask_tap, inputs, count)
    return losses.minilm(student, teacher, mask=mask)

  return stateless(
    loss,
    student_taps=(
      *_tokens.projection_taps(student_attention),
      *_tokens.mask_taps(mask_tap),
    ),
    teacher_taps=_tokens.projection_taps(teacher_attention),
  )
