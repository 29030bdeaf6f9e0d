"""Self-attention of decoders: grouped heads, rotary positions, windows, a cache."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.places import Visibility, mask_of
from kdjax.models.rope import Rotation, rotate
from kdjax.models.transformer_config import Layer, TransformerConfig
from kdjax.taps.attention import shows_weights

_initial = nn.initializers.normal(0.02)

# Queries beyond this many attend in blocks, so that no array is (T, S).
LONGEST = 1024
BLOCK = 256


class Norm(nn.Module):
  """Layer or root-mean-square normalisation, reduced in float32.

  Attributes:
    epsilon: added to the mean square.
    centred: subtracts the mean, as layer normalisation does.
    bias: adds a learned bias.
    offset: added to the learned scale: 1 where files hold the scale less one.
  """

  epsilon: float
  centred: bool = False
  bias: bool = False
  offset: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    start = nn.initializers.constant(1.0 - self.offset)
    scale = self.param("scale", start, x.shape[-1:])
    y = _wide(x)
    if self.centred:
      y = y - jnp.mean(y, axis=-1, keepdims=True)
    square = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(square + self.epsilon)
    y = y * _ranked(self.offset + _wide(scale), y)
    if self.bias:
      bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
      y = y + _ranked(_wide(bias), y)
    return y.astype(jnp.result_type(x.dtype, scale.dtype))


def norm_of(config: TransformerConfig, name: str | None = None) -> Norm:
  """Makes a normalisation of a network's kind; without a name in `setup`."""
  return Norm(
    config.epsilon,
    config.centred,
    config.norm_bias,
    config.norm_offset,
    name=name,
  )


class Projection(nn.Module):
  """Queries, keys or values as they enter the attention.

  Attributes:
    heads: how many.
    norm: "head" normalises every head, "whole" all heads together, None nothing.
    factor: multiplies what comes out.
  """

  config: TransformerConfig
  heads: int
  bias: bool
  norm: str | None = None
  factor: float = 1.0

  @nn.compact
  def __call__(self, x: jax.Array, turn: Rotation | None = None) -> jax.Array:
    size = (self.heads, self.config.head_width)
    kernel = self.param("kernel", _initial, (x.shape[-1], *size))
    bias = (
      self.param("bias", nn.initializers.zeros, size) if self.bias else None
    )
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
    # All rows as one matrix, see `kdjax.models.layers.dot_of_rows`.
    rows = x.reshape(-1, x.shape[-1])
    rows = jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())))
    x = rows.reshape(*x.shape[:-1], *size)
    if bias is not None:
      x = x + _ranked(bias, x)
    if self.norm:
      joined = x.shape if self.norm == "head" else (*x.shape[:2], -1)
      x = norm_of(self.config, "norm")(x.reshape(joined)).reshape(x.shape)
    if self.factor != 1:
      x = x * jnp.asarray(self.factor, x.dtype)
    return rotate(x, turn)


class Output(nn.Module):
  """Joins the heads: (B, T, heads, d) -> (B, T, D)."""

  width: int
  bias: bool

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", _initial, (*x.shape[2:], self.width))
    bias = None
    if self.bias:
      bias = self.param("bias", nn.initializers.zeros, (self.width,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
    rows = x.reshape(-1, *x.shape[2:])
    rows = jax.lax.dot_general(rows, kernel, (((1, 2), (0, 1)), ((), ())))
    x = rows.reshape(*x.shape[:2], -1)
    return x if bias is None else x + _ranked(bias, x)


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  visibility: Visibility,
  *,
  cap: float | None = None,
  module: nn.Module | None = None,
) -> jax.Array:
  """Attention of heads that share keys and values in groups.

  weights = softmax(cap tanh(q k' / (sqrt(d) cap))) where a query sees a key

  More than LONGEST queries come in blocks of BLOCK, whose weights are made again
  for the gradient: memory grows with T, not with T^2. Each query sees all of its
  keys at once there too. Where the weights are looked at they are whole.

  Args:
    query: (B, T, heads, d) float.
    key: (B, groups, S, d) float; consecutive heads share a group.
    value: (B, groups, S, d) float.
    visibility: of T queries and S keys.
    cap: bound of the scores; None for none.
    module: sows the weights (B, heads, T, S) where it is given.

  Returns:
    (B, T, heads, d) in the type of the values.
  """
  length = query.shape[1]
  if module is not None or length <= LONGEST:
    mask = mask_of(visibility)
    return _attend(query, key, value, mask, cap=cap, module=module)

  @jax.checkpoint
  def attend_block(block):
    rows, places = block
    mask = mask_of(dataclasses.replace(visibility, queries=places))
    return _attend(rows, key, value, mask, cap=cap)

  blocks = _in_blocks((query, visibility.queries), length)
  mixed = jax.lax.map(attend_block, blocks)
  return mixed.swapaxes(0, 1).reshape(len(query), -1, *query.shape[2:])[
    :, :length
  ]


def _in_blocks(tree: Any, length: int) -> Any:
  """Cuts (B, T, ...) into (blocks, B, BLOCK, ...), the last one padded."""

  def cut(x):
    if x.shape[1] != length:  # one number for all tokens
      return jnp.broadcast_to(x, (count, *x.shape))
    padding = [(0, 0)] * x.ndim
    padding[1] = (0, count * BLOCK - length)
    x = jnp.pad(x, padding)
    return x.reshape(len(x), count, BLOCK, *x.shape[2:]).swapaxes(0, 1)

  count = -(-length // BLOCK)
  return jax.tree.map(cut, tree)


def _attend(query, key, value, mask, *, cap, module=None) -> jax.Array:
  """Attention of all queries at once; mask: (B or 1, T, S) bool."""
  batch, length, heads, width = query.shape
  groups = key.shape[1]
  # The queries of a group are rows of one matrix: so both products come out as
  # they are read, and (T, S) arrays are not transposed.
  stacked = query.reshape(batch, length, groups, -1, width)
  stacked = stacked.transpose(0, 2, 3, 1, 4)
  scores = jnp.einsum(
    "bgnd,bgsd->bgns",
    stacked.reshape(batch, groups, -1, width),
    key,
    preferred_element_type=jnp.promote_types(query.dtype, jnp.float32),
  )
  scores = scores.reshape(*stacked.shape[:4], -1) * width**-0.5
  if cap is not None:
    scores = cap * jnp.tanh(scores / cap)
  # Not -inf, which gives NaN where padding sees nothing at all.
  lowest = jnp.finfo(scores.dtype).min
  weights = nn.softmax(jnp.where(mask[:, None, None], scores, lowest))
  if module is not None:
    head_weights = weights.reshape(batch, heads, length, -1)
    module.sow("intermediates", "attention_weights", head_weights)
  weights = weights.astype(value.dtype).reshape(
    *key.shape[:2], -1, key.shape[2]
  )
  mixed = jnp.einsum("bgns,bgsd->bgnd", weights, value)
  return (
    mixed.reshape(stacked.shape).transpose(0, 3, 1, 2, 4).reshape(query.shape)
  )


class Attention(nn.Module):
  """Grouped-query self-attention with the parts `query`, `key`, `value`, `out`.

  The outputs (B, T, heads, d) of the first three are what enters the products:
  with biases, norms and rotations, queries scaled so that scores are
  q k' / sqrt(d).

  Attributes:
    config: sizes and switches.
    layer: what is this block's own.
    attention_fn: `attend`, or what computes the same.
  """

  config: TransformerConfig
  layer: Layer
  attention_fn: Callable = attend

  def setup(self):
    config = self.config

    def project(heads, norm=None, factor=1.0):
      return Projection(
        config, heads, config.projection_bias, norm=norm, factor=factor
      )

    factor = self.layer.scale * config.head_width**0.5
    # Where they are the same but for rounding, nothing is multiplied.
    factor = 1.0 if abs(factor - 1) < 1e-12 else factor
    self.query = project(config.heads, config.head_norm, factor)
    self.key = project(config.groups, config.head_norm)
    self.value = project(config.groups)
    self.out = Output(config.width, config.out_bias)

  @shows_weights
  def __call__(
    self, x: jax.Array, visibility: Visibility, turn: Rotation | None
  ) -> jax.Array:
    mixed = self.attention_fn(
      self.query(x, turn),
      self.key(x, turn).swapaxes(1, 2),
      self.value(x).swapaxes(1, 2),
      visibility,
      cap=self.config.score_cap,
    )
    return self.out(mixed)

  def extend(
    self,
    x: jax.Array,
    visibility: Visibility,
    turn: Rotation | None,
    cached: tuple[jax.Array, jax.Array],
    cursor: jax.Array,
    turn_of_slots: Rotation | None = None,
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Attends to cached keys and values, of which the new ones become part.

    Args:
      visibility: of the new tokens and all slots, theirs among them.
      cached: keys and values, each (B, groups, slots, d).
      cursor: () int32, the slot of the first new token.
      turn_of_slots: where it is given keys are cached as they are, and rotated
        when they are read: their rotation depends on the document's length.

    Returns:
      (B, T, D), and the keys and values with the new ones.
    """
    new = self.key(x, None if turn_of_slots else turn), self.value(x)
    keys, values = (
      jax.lax.dynamic_update_slice_in_dim(
        old, one.swapaxes(1, 2).astype(old.dtype), cursor, axis=2
      )
      for old, one in zip(cached, new, strict=True)
    )
    read = keys
    if turn_of_slots:
      read = rotate(keys.swapaxes(1, 2), turn_of_slots).swapaxes(1, 2)
    mixed = attend(
      self.query(x, turn), read, values, visibility, cap=self.config.score_cap
    )
    return self.out(mixed), (keys, values)


def _wide(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _ranked(part: jax.Array, x: jax.Array) -> jax.Array:
  """Gives an array the leading axes that it lacks beside another."""
  return part.reshape((1,) * (x.ndim - part.ndim) + part.shape)
