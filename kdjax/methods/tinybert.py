"""TinyBERT: attention scores and hidden states, layer by layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Inputs, Method, Outputs, learned
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods._layer_matching import pair_layers
from kdjax.methods.registry import register

_PARTS = ("query", "key")


@register(
  "tinybert",
  objective="tinybert:before(0.87, 1) + kd(temperature=1):after(0.87, 1)",
  reads=KINDS,
)
def tinybert(
  *,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
  student_attention: str = "stage_*/attention",
  teacher_attention: str = "stage_*/attention",
  embedding: str | None = "stem",
  mask_tap: str | None = None,
) -> Method:
  """The intermediate-layer distillation of TinyBERT.

  loss = sum over layers of mean (scores_s - scores_t)^2
       + sum over layers and the embeddings of mean (W states_s - states_t)^2,
  scores = q k' / sqrt(d), before the softmax

  Matched: the attention scores of all heads, the hidden states and the
  embeddings, the student's layers with the teacher's spread evenly. Learned:
  one linear map W with bias, shared by all layers as in the authors' code (one
  for each pair of widths, where a network has several). Default taps: `stem`,
  `stage_*` and the stock attention layers `stage_*/attention`. Cost: B * heads
  * T^2 scores a layer, and one product with W.

  The published objective is in two stages: these losses alone for 20 epochs,
  then the teacher's softened classes (temperature 1) alone for 3. The authors'
  script takes the mean of their cross-entropy over examples and classes; `kd` is
  the sum over classes, as everywhere here: C times its gradient for C classes,
  which Adam does not feel. With another optimiser write kd's weight as 1 / C.

  Args:
    student_tap: names the student's layers, each (B, T, D).
    teacher_tap: names the teacher's.
    student_attention: names the student's attention layers, which have the
      submodules `query` and `key`.
    teacher_attention: names the teacher's.
    embedding: names the embeddings (B, T, D) of both; None leaves them out.
    mask_tap: a feature of the student, (B, T), 0 where a token is padding,
      such as "stem:in" of a BERT. As in the authors' code scores of padded keys
      then count as 0, and padded tokens stay in the means; they are left out of
      them where the task knows of the padding, and this is None.

  Returns:
    The method.

  Raises:
    UserError: where the method is applied, if features are no tokens, or
      numbers of tokens or heads differ.

  Example:
    >>> feats = {"stage_0": jnp.ones((1, 2, 4))} | {
    ...   f"stage_0/attention/{part}": jnp.ones((1, 2, 1, 4))
    ...   for part in ("query", "key")
    ... }
    >>> outputs, method = Outputs(None, feats), tinybert(embedding=None)
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), jnp.array(0))
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> params["from_4_to_4"]["kernel"].shape
    (4, 4)

  Source:
    Jiao et al. 2020, arXiv:1909.10351; `kdjax.losses.tinybert`.
  """
  state_taps = [(student_tap, teacher_tap)]
  state_taps += [] if embedding is None else [(embedding, embedding)]

  def matched_states(inputs):
    pairs = []
    for student, teacher in state_taps:
      pairs += _paired(
        _tokens.states("tinybert", student, inputs.student),
        _tokens.states("tinybert", teacher, inputs.teacher),
      )
    for s, t in pairs:
      _tokens.check_same_tokens("tinybert", s.shape[1], t.shape[1])
    return pairs

  def matched_scores(inputs):
    pairs = _paired(
      _scores(student_attention, inputs.student, inputs, mask_tap),
      _scores(teacher_attention, inputs.teacher, inputs, mask_tap),
    )
    for s, t in pairs:
      _tokens.check_same_heads("tinybert", s.shape[1], t.shape[1])
    return pairs

  def modules(inputs):
    pairs = matched_states(inputs)
    return {_map(s, t): (nn.Dense(t.shape[-1]), s) for s, t in pairs}

  def loss(call, inputs):
    scores = matched_scores(inputs)
    states = [(call(_map(s, t), s), t) for s, t in matched_states(inputs)]
    if mask_tap is None and inputs.tokens is not None:
      return _without_padding(scores, states, inputs.tokens)
    sides = (zip(*scores, strict=True), zip(*states, strict=True))
    return losses.tinybert(*zip(*sides, strict=True))

  students, teachers = zip(*state_taps, strict=True)
  students += _tokens.projection_taps(student_attention, _PARTS)
  teachers += _tokens.projection_taps(teacher_attention, _PARTS)
  students += _tokens.mask_taps(mask_tap)
  return learned(modules, loss, student_taps=students, teacher_taps=teachers)


def _without_padding(scores, states, tokens: jax.Array) -> jax.Array:
  """Returns `losses.tinybert`, in the means of which no padding stands."""
  return sum(
    losses.attention_mse(s, t, mask=tokens, clip_below=-1e2) for s, t in scores
  ) + sum(_tokens.over_tokens(losses.fitnet, s, t, tokens) for s, t in states)


def _paired(students, teachers) -> list[tuple[jax.Array, jax.Array]]:
  return [
    (students[s], teachers[t])
    for s, t in pair_layers(len(students), len(teachers))
  ]


def _map(student: jax.Array, teacher: jax.Array) -> str:
  return f"from_{student.shape[-1]}_to_{teacher.shape[-1]}"


def _scores(
  attention: str, outputs: Outputs, inputs: Inputs, mask_tap: str | None
) -> list[jax.Array]:
  """Returns each layer's (B, heads, T, T) scores, with padded keys at -1e4."""
  layers = []
  for query, key in _tokens.projections("tinybert", attention, outputs, _PARTS):
    scores = jnp.einsum(
      "bhqd,bhkd->bhqk", query, key, precision=jax.lax.Precision.HIGHEST
    )
    scores *= query.shape[-1] ** -0.5
    mask = _tokens.token_mask("tinybert", mask_tap, inputs, key.shape[2])
    if mask is not None:
      scores += jnp.where(mask, 0.0, -1e4)[:, None, None, :]
    layers.append(scores)
  return layers
