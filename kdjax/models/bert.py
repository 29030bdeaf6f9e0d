"""BERT: a bidirectional transformer encoder of token ids."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import checks
from kdjax.models.layers import FUNCTIONS

PADDING = 0
POOLS = ("cls", "mean", "pooler")
_EPSILON = 1e-12
_initial = nn.initializers.truncated_normal(0.02)


class Stem(nn.Module):
  """Sum of token, position and segment embeddings, normalised."""

  vocabulary: int
  width: int
  positions: int
  dropout: float
  segments: int = 2
  epsilon: float = _EPSILON

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    segments: jax.Array,
    places: jax.Array,
    *,
    train: bool,
  ) -> jax.Array:
    def embed(name, size, ids):
      return nn.Embed(size, self.width, embedding_init=_initial, name=name)(ids)

    x = embed("tokens", self.vocabulary, tokens)
    x = x + embed("positions", self.positions, places)
    if self.segments:
      x = x + embed("segments", self.segments, segments)
    x = _norm("norm_0", self.epsilon)(x)
    return nn.Dropout(self.dropout, deterministic=not train)(x)


class Mlp(nn.Module):
  """Two dense layers with an activation between them."""

  hidden: int
  activation: str = "gelu_exact"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    x = nn.Dense(self.hidden, kernel_init=_initial, name="dense_0")(x)
    x = FUNCTIONS[self.activation](x)
    return nn.Dense(width, kernel_init=_initial, name="dense_1")(x)


def _attend(
  drop: nn.Dropout,
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None = None,
  dtype: jnp.dtype | None = None,
  precision: jax.lax.PrecisionLike = None,
  module: nn.Module | None = None,
) -> jax.Array:
  """Stock attention, but a layer drops weights: the stock mask is a device's."""
  weights = nn.dot_product_attention_weights(
    query, key, mask=mask, dtype=dtype, precision=precision, module=module
  )
  return jnp.einsum(
    "bhqk,bkhd->bqhd", drop(weights), value, precision=precision
  )


class Stage(nn.Module):
  """One post-norm block: norm(x + attention(x)), then norm(x + mlp(x))."""

  heads: int
  mlp: int
  dropout: float
  activation: str = "gelu_exact"
  epsilon: float = _EPSILON

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool
  ) -> jax.Array:
    drop = nn.Dropout(self.dropout, deterministic=not train)
    attention = nn.MultiHeadDotProductAttention(
      self.heads,
      kernel_init=_initial,
      attention_fn=functools.partial(_attend, drop),
      name="attention",
    )(x, mask=mask)
    x = _norm("norm_0", self.epsilon)(x + drop(attention))
    mlp = Mlp(self.mlp, self.activation, name="mlp")
    return _norm("norm_1", self.epsilon)(x + drop(mlp(x)))


class Bert(nn.Module):
  """`stem`, blocks `stage_0`, `stage_1`, ..., pooling, and a linear `head`.

  Called as `module(tokens, segments=None, mask=None, train=False)` with int32
  (B, T) ids. No token attends to padding and pooling leaves it out: it is where
  `mask` is false, or, without a mask, where ids are `padding`. `segments` (B, T)
  are 0 or 1, the sentence of a pair; None is all 0. Returns logits (B, classes),
  or the pooled embeddings (B, width) where `classes` is 0.

  Attributes:
    vocabulary: number of token ids.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block.
    mlp: hidden units of a block's dense layers.
    positions: greatest number of tokens T.
    classes: number of classes; 0 for embeddings.
    pool: "cls" is the first token's state, "mean" that of the real tokens,
      "pooler" the first one's through a dense tanh layer `pooler`.
    normalise: embeddings have unit length.
    dropout: share dropped, of states and of attention, in training.
    segments: number of segment ids; 0 for none.
    padding: the id of padding.
    first: the first token's position; RoBERTa's real tokens count from here.
    epsilon: added to variances.
    activation: of the dense layers, a name of `layers.FUNCTIONS`.
    pooler_activation: of the pooler, likewise.
    stored: JSON of what the network was read from, which writing it needs.
  """

  vocabulary: int
  width: int
  depth: int
  heads: int
  mlp: int
  positions: int
  classes: int
  pool: str = "cls"
  normalise: bool = False
  dropout: float = 0.1
  segments: int = 2
  padding: int = PADDING
  first: int = 0
  epsilon: float = _EPSILON
  activation: str = "gelu_exact"
  pooler_activation: str = "tanh"
  stored: str = ""

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    segments: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    x, real = encode(self, tokens, segments, mask, train=train)
    x = mean_of_real(x, real) if self.pool == "mean" else x[:, 0]
    if self.pool == "pooler":
      pooler = nn.Dense(self.width, kernel_init=_initial, name="pooler")
      x = FUNCTIONS[self.pooler_activation](pooler(x))
    if not self.classes:
      return unit(x) if self.normalise else x
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(self.classes, kernel_init=_initial, name="head")(x)


def encode(
  model: Bert,
  tokens: jax.Array,
  segments: jax.Array | None,
  mask: jax.Array | None,
  *,
  train: bool,
) -> tuple[jax.Array, jax.Array]:
  """Makes the stem and the blocks, within a compact module that has them.

  Args:
    model: sizes and switches; see there for the others.

  Returns:
    The last states (B, T, D), and which tokens are real, (B, T) bool.
  """
  check_tokens("bert", tokens, model.positions - model.first)
  if segments is None:
    segments = jnp.zeros_like(tokens)
  real = tokens != model.padding if mask is None else mask.astype(bool)
  places = (
    jax.lax.broadcasted_iota(jnp.int32, (1, tokens.shape[1]), 1) + model.first
  )
  stem = Stem(
    model.vocabulary,
    model.width,
    model.positions,
    model.dropout,
    model.segments,
    model.epsilon,
    name="stem",
  )
  x = stem(tokens, segments, places, train=train)
  for i in range(model.depth):
    stage = Stage(
      model.heads,
      model.mlp,
      model.dropout,
      model.activation,
      model.epsilon,
      name=f"stage_{i}",
    )
    x = stage(x, real[:, None, None, :], train=train)
  return x, real


def mean_of_real(states: jax.Array, real: jax.Array) -> jax.Array:
  """Mean of the states of real tokens.

  Args:
    states: (B, T, D) float.
    real: (B, T) bool, False for padding.

  Returns:
    (B, D), zero where no token is real.
  """
  weight = real[..., None].astype(states.dtype)
  count = jnp.maximum(jnp.sum(weight, axis=1), 1)
  return jnp.sum(states * weight, axis=1) / count


def unit(x: jax.Array) -> jax.Array:
  """Scales the last axis to length one; a zero vector stays zero.

  Args:
    x: (..., D) float.

  Returns:
    (..., D), x / max(||x||, 1e-12).
  """
  # The maximum is taken of the square: a root of 0 has no gradient.
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x / jnp.sqrt(jnp.maximum(square, 1e-24))


def check_tokens(model: str, tokens: jax.Array, positions: int) -> None:
  """Refuses input that is no batch of token ids of a length that fits.

  Example:
    >>> check_tokens("bert", jnp.zeros((2, 3)), 512)
    Traceback (most recent call last):
      ...
    ValueError: bert takes integer token ids (B, T <= 512), got float32 (2, 3)
  """
  whole = jnp.issubdtype(tokens.dtype, jnp.integer)
  fits = tokens.ndim == 2
  # A program for any length has a symbol in its place.
  if fits and isinstance(tokens.shape[1], int):
    fits = tokens.shape[1] <= positions
  if not whole or not fits:
    raise ValueError(
      f"{model} takes integer token ids (B, T <= {positions}), got"
      f" {tokens.dtype} {tokens.shape}"
    )


def check_sizes(
  *, width: int, heads: int, dropout: float, **sizes: int
) -> None:
  """Refuses sizes that make no transformer.

  Args:
    heads: attention heads, which share the width equally.
    **sizes: further whole numbers >= 1, by name.

  Example:
    >>> check_sizes(width=10, heads=4, dropout=0.1, depth=2)
    Traceback (most recent call last):
      ...
    ValueError: heads must divide the width 10, got 4
  """
  for name, size in {"width": width, "heads": heads, **sizes}.items():
    checks.whole_number(name, size)
  if width % heads:
    raise ValueError(f"heads must divide the width {width}, got {heads}")
  checks.share("dropout", dropout)


def _norm(name, epsilon):
  # The fast variance, a difference of squares, loses digits.
  return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)
