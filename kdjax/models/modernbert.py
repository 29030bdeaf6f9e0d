"""ModernBERT: a bidirectional transformer with rotary positions and windows."""

from collections.abc import Mapping

import flax.linen as nn
import jax

from kdjax.models.bert import mean_of_real
from kdjax.models.decoder import Stage, Stem, check, turn_of
from kdjax.models.grouped_attention import norm_of
from kdjax.models.layers import FUNCTIONS
from kdjax.models.places import Visibility, find_places
from kdjax.models.transformer_config import TransformerConfig

_initial = nn.initializers.normal(0.02)


class ModernBert(nn.Module):
  """`stem`, blocks `stage_0`, ..., `norm`, a dense layer and a linear `head`.

  Called as `module(tokens, mask=None)`, each (B, T), the mask false at padding.
  It tells the texts of a pair by the token between them: `segments` are not read.
  Returns logits (B, classes), or the pooled last states (B, width) where
  `classes` is 0. What it classifies goes through `head_dense`, an activation and
  `head_norm`. The first block does not normalise what its attention reads.

  Attributes:
    config: sizes and switches.
    classes: number of classes; 0 for embeddings.
    pool: "cls", the first token's state, or the "mean" of the real ones.
    head_bias: whether `head_dense` has one.
    head_activation: behind it, a name of `layers.FUNCTIONS`.

  Source:
    Warner et al. 2024, arXiv:2412.13663.
  """

  config: TransformerConfig
  classes: int
  pool: str = "cls"
  head_bias: bool = False
  head_activation: str = "gelu_exact"

  def setup(self):
    config = self.config
    self.stem = Stem(config)
    self.stage = [
      Stage(config, layer, first_norm=i > 0)
      for i, layer in enumerate(config.layers)
    ]
    self.norm = norm_of(config)
    if self.classes:
      self.head_dense = nn.Dense(
        config.width, use_bias=self.head_bias, kernel_init=_initial
      )
      self.head_norm = norm_of(config)
      self.head = nn.Dense(self.classes, kernel_init=_initial)

  def __call__(
    self,
    tokens: jax.Array,
    mask: jax.Array | None = None,
    segments: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    del segments, train  # it has neither token types nor dropout
    config = self.config
    check(config, tokens)
    places = find_places(tokens, mask, None)
    x = self.stem(tokens, places.positions)
    for stage, layer in zip(self.stage, config.layers, strict=True):
      visibility = Visibility(places, places, layer.window, causal=False)
      x = stage(x, visibility, turn_of(layer, places))
    x = self.norm(x)
    if self.pool == "cls":
      x = x[:, 0]
    else:
      x = x.mean(axis=1) if mask is None else mean_of_real(x, mask != 0)
    if not self.classes:
      return x
    x = FUNCTIONS[self.head_activation](self.head_dense(x))
    return self.head(self.head_norm(x))

  @nn.nowrap
  def output_layer(self, params: Mapping) -> dict[str, jax.Array] | None:
    """Returns the head, kernel (D, C) and bias (C,); None where there is none."""
    return dict(params["head"]) if self.classes else None
