"""A causal transformer of token ids, with switches for the published families.

Called as `module(tokens, mask=None, segments=None)`, each (B, T); returns logits
(B, T, V). Its parts are `stem`, blocks `stage_0`, `stage_1`, ... with `attention`
and `mlp` inside, `norm`, and a linear `head` unless the embedding is the output
layer. "stage_i", "stage_i/attention:weights", "stage_i/attention/query" and
"norm", the state that the head reads, are taps as in every network. Logits are
computed last: under jit they cost nothing where only "norm" is used.

Padding is where `mask` is false, at either end. Packed documents have numbers in
`segments`, 0 for padding: a token sees its own document alone, whose positions
begin at 0.

Decoding with a cache, of which all shapes are fixed:

  cache = empty_cache(module.config, batch, slots)
  logits, cache = module.apply(variables, prompts, mask, cache, method="decode")
  logits, cache = module.apply(variables, tokens, alive, cache, method="decode")

Prompts (B, P) begin at the left, `mask` says which of their tokens count; then
`tokens` (B, 1) follow. The logits (B, V) are those behind each row's last token
that counts; rows of which none counts (`alive` is false) stay as they are, and
their logits mean nothing. Every call takes as many slots as it has tokens,
whatever the mask: P + new tokens are enough. Positions, windows and what is
visible go by each row's own tokens, so that a row's answers do not depend on the
others; `cache.counts` (B,) says how many tokens each row has.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.bert import check_tokens
from kdjax.models.grouped_attention import Attention, norm_of
from kdjax.models.layers import FUNCTIONS, dot_of_rows
from kdjax.models.places import Places, Visibility, find_places
from kdjax.models.rope import Rotation, rotation
from kdjax.models.transformer_config import Layer, TransformerConfig

_initial = nn.initializers.normal(0.02)


class Cache(NamedTuple):
  """What blocks remember of the tokens so far, in slots.

  Attributes:
    keys: for each block (B, groups, slots, d).
    values: likewise.
    positions: (B, slots) int32, of the token in each slot; -1 for none.
    counts: (B,) int32, tokens so far.
    cursor: () int32, the first free slot.
  """

  keys: tuple[jax.Array, ...]
  values: tuple[jax.Array, ...]
  positions: jax.Array
  counts: jax.Array
  cursor: jax.Array


def empty_cache(
  config: TransformerConfig, batch: int, slots: int, dtype: Any = jnp.float32
) -> Cache:
  """Makes the cache before the first token.

  Args:
    slots: how many tokens will be given to `decode`, padding included.
    dtype: of keys and values.

  Example:
    >>> from kdjax.models.transformer_config import Layer, TransformerConfig
    >>> layers = (Layer(None, None, 1.0),)
    >>> config = TransformerConfig(9, 8, layers, 4, 2, 2, 16, 32)
    >>> empty_cache(config, 3, 5).keys[0].shape
    (3, 2, 5, 2)
  """
  shape = (batch, config.groups, slots, config.head_width)

  def blank():
    return tuple(jnp.zeros(shape, dtype) for _ in config.layers)

  return Cache(
    blank(),
    blank(),
    jnp.full((batch, slots), -1, jnp.int32),
    jnp.zeros((batch,), jnp.int32),
    jnp.zeros((), jnp.int32),
  )


class Stem(nn.Module):
  """Embeds tokens, and their positions where these are learned."""

  config: TransformerConfig

  def setup(self):
    config = self.config

    def table(size):
      return nn.Embed(size, config.width, embedding_init=_initial)

    self.tokens = table(config.vocabulary)
    if config.learned_positions:
      self.positions = table(config.positions)
    if config.embedding_norm:
      self.norm = norm_of(config)

  def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
    config = self.config
    x = self.tokens(tokens)
    if config.embedding_scale != 1:
      x = x * jnp.asarray(config.embedding_scale, x.dtype)
    if config.learned_positions:
      x = x + self.positions(positions)
    return self.norm(x) if config.embedding_norm else x

  def attend(self, x: jax.Array) -> jax.Array:
    return self.tokens.attend(x)


class Mlp(nn.Module):
  """Dense layers `dense_0` and `dense_1`, with a `gate` where there is one."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    config = self.config

    def dense(size, name):
      return nn.Dense(
        size,
        use_bias=config.mlp_bias,
        kernel_init=_initial,
        dot_general=dot_of_rows,
        name=name,
      )

    activate = FUNCTIONS[config.activation]
    hidden = dense(config.mlp, "dense_0")(x)
    if config.gated:
      hidden = activate(dense(config.mlp, "gate")(x)) * hidden
    else:
      hidden = activate(hidden)
    return dense(config.width, "dense_1")(hidden)


class Stage(nn.Module):
  """One block: attention, then dense layers, each added to what comes in.

  Norms are `norm_0` before attention and `norm_1` before the dense layers;
  `norm_0_after` and `norm_1_after` behind them.

  Attributes:
    first_norm: whether there is a `norm_0` where norms come before.
  """

  config: TransformerConfig
  layer: Layer
  first_norm: bool = True

  def setup(self):
    config = self.config
    self.attention = Attention(config, self.layer)
    self.mlp = Mlp(config)
    if config.norms != "post":
      if self.first_norm:
        self.norm_0 = norm_of(config)
      self.norm_1 = norm_of(config)
    if config.norms != "pre":
      self.norm_0_after = norm_of(config)
      self.norm_1_after = norm_of(config)

  def __call__(
    self, x: jax.Array, visibility: Visibility, turn: Rotation | None
  ) -> jax.Array:
    attended = self.attention(self._attention_input(x), visibility, turn)
    return self._finish(x, attended)

  def extend(self, x: jax.Array, *args: Any) -> tuple[jax.Array, tuple]:
    attended, cached = self.attention.extend(self._attention_input(x), *args)
    return self._finish(x, attended), cached

  def _attention_input(self, x):
    plain = self.config.norms == "post" or not self.first_norm
    return x if plain else self.norm_0(x)

  def _finish(self, x, attended):
    before, after = self.config.norms != "post", self.config.norms != "pre"
    x = x + (self.norm_0_after(attended) if after else attended)
    mixed = self.mlp(self.norm_1(x) if before else x)
    return x + (self.norm_1_after(mixed) if after else mixed)


class Decoder(nn.Module):
  """The network that this file is about.

  Attributes:
    config: sizes and switches.
  """

  config: TransformerConfig

  def setup(self):
    config = self.config
    self.stem = Stem(config)
    self.stage = [Stage(config, layer) for layer in config.layers]
    self.norm = norm_of(config)
    if not config.tied:
      self.head = nn.Dense(
        config.vocabulary, use_bias=False, kernel_init=_initial
      )

  @property
  def classes(self) -> int:
    return self.config.vocabulary

  @property
  def positions(self) -> int:
    return self.config.positions

  @nn.nowrap
  def empty_cache(self, params: Mapping, batch: int, slots: int) -> Cache:
    """Makes the cache before the first token, in the type of the weights."""
    dtype = params["stem"]["tokens"]["embedding"].dtype
    return empty_cache(self.config, batch, slots, dtype)

  def __call__(
    self,
    tokens: jax.Array,
    mask: jax.Array | None = None,
    segments: jax.Array | None = None,
  ) -> jax.Array:
    config = self.config
    check(config, tokens)
    places = find_places(tokens, mask, segments)
    x = self.stem(tokens, places.positions)
    for stage, layer in zip(self.stage, config.layers, strict=True):
      visibility = Visibility(places, places, layer.window)
      x = stage(x, visibility, turn_of(layer, places))
    return self._logits(self.norm(x))

  def decode(
    self, tokens: jax.Array, mask: jax.Array | None, cache: Cache
  ) -> tuple[jax.Array, Cache]:
    """Reads tokens that follow those in the cache; see the top of this file.

    Args:
      tokens: (B, T) int.
      mask: (B, T) bool, those that count, in front of those that do not; None
        for all.

    Returns:
      Logits (B, V) behind each row's last token that counts, and the cache.
    """
    config = self.config
    check(config, tokens)
    mask = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
    counts = cache.counts + jnp.sum(mask, axis=1, dtype=jnp.int32)
    behind = jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1
    positions = jnp.maximum(cache.counts[:, None] + behind, 0)
    slots = jax.lax.dynamic_update_slice_in_dim(
      cache.positions, jnp.where(mask, positions, -1), cache.cursor, axis=1
    )
    new = Places(positions, positions, counts[:, None])
    old = Places(slots, slots, counts[:, None], slots >= 0)
    x, cached = self.stem(tokens, positions), []
    for i, (stage, layer) in enumerate(
      zip(self.stage, config.layers, strict=True)
    ):
      again = layer.rope is not None and layer.rope.long
      x, pair = stage.extend(
        x,
        Visibility(new, old, layer.window),
        turn_of(layer, new),
        (cache.keys[i], cache.values[i]),
        cache.cursor,
        turn_of(layer, old) if again else None,
      )
      cached.append(pair)
    last = jnp.maximum(jnp.sum(mask, axis=1) - 1, 0)
    x = jnp.take_along_axis(x, last[:, None, None], axis=1)
    keys, values = zip(*cached, strict=True)
    moved = Cache(keys, values, slots, counts, cache.cursor + tokens.shape[1])
    return self._logits(self.norm(x))[:, 0], moved

  @nn.nowrap
  def output_layer(self, params: Mapping) -> dict[str, jax.Array]:
    """Returns the layer that makes logits of "norm": kernel (D, V), bias (V,)."""
    if self.config.tied:
      kernel = params["stem"]["tokens"]["embedding"].T
    else:
      kernel = params["head"]["kernel"]
    return {"kernel": kernel, "bias": jnp.zeros(kernel.shape[1], kernel.dtype)}

  def _logits(self, x):
    config = self.config
    logits = self.stem.attend(x) if config.tied else self.head(x)
    if config.logit_cap is None:
      return logits
    return config.logit_cap * jnp.tanh(logits / config.logit_cap)


def check(config: TransformerConfig, tokens: jax.Array) -> None:
  """Refuses what is no batch of token ids, or longer than a table of positions."""
  length = tokens.shape[-1]
  longest = config.positions if config.learned_positions else length
  check_tokens("decoder", tokens, longest)


def turn_of(layer: Layer, places: Places) -> Rotation | None:
  """The rotation of a block's queries and keys; None where it has none."""
  if layer.rope is None:
    return None
  return rotation(layer.rope, places.positions, places.lengths)
