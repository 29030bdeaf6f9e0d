"""What transformers of one kind differ in, as a value."""

import dataclasses

from kdjax.models.rope import Rope


@dataclasses.dataclass(frozen=True)
class Layer:
  """What one block's attention differs in from another's.

  Attributes:
    window: a token sees those less than so many places away; None for all.
    rope: its rotary positions; None for none.
    scale: what scores q k' are multiplied by.
  """

  window: int | None
  rope: Rope | None
  scale: float


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """Sizes and switches of a transformer; equal ones compute the same.

  Attributes:
    vocabulary: number of token ids V.
    width: size D of a hidden state.
    layers: one for each block.
    heads: attention heads of a block.
    groups: heads of keys and values; each serves heads / groups queries.
    head_width: features of a head.
    mlp: hidden units of a block's dense layers.
    positions: greatest number of tokens; binding where positions are learned.
    learned_positions: a table of positions is added to the embeddings.
    embedding_scale: what token embeddings are multiplied by.
    embedding_norm: they are normalised.
    epsilon: added to variances.
    centred: normalisation subtracts the mean.
    norm_bias: normalisation adds a bias.
    norm_offset: added to the scale of normalisations.
    norms: "pre" normalises what enters a branch, "post" what leaves it, "both"
      both.
    head_norm: normalises queries and keys, each "head" or the "whole"; None for
      neither.
    projection_bias: of queries, keys and values.
    out_bias: of attention's output layer.
    mlp_bias: of the dense layers.
    gated: the dense layers are activation(gate(x)) * dense_0(x), then dense_1.
    activation: a name of `layers.FUNCTIONS`.
    score_cap: bound of attention's scores; None for none.
    logit_cap: bound of the logits; None for none.
    tied: the output layer is the token embedding.
    dtype: what the weights are stored in, such as "bfloat16".
    stored: JSON of what the network was read from, which writing it needs.
  """

  vocabulary: int
  width: int
  layers: tuple[Layer, ...]
  heads: int
  groups: int
  head_width: int
  mlp: int
  positions: int
  learned_positions: bool = False
  embedding_scale: float = 1.0
  embedding_norm: bool = False
  epsilon: float = 1e-6
  centred: bool = False
  norm_bias: bool = False
  norm_offset: float = 0.0
  norms: str = "pre"
  head_norm: str | None = None
  projection_bias: bool = False
  out_bias: bool = False
  mlp_bias: bool = False
  gated: bool = True
  activation: str = "silu"
  score_cap: float | None = None
  logit_cap: float | None = None
  tied: bool = False
  dtype: str = "float32"
  # Not shown, as it is long.
  stored: str = dataclasses.field(default="", repr=False)
