"""GPT: a causal transformer decoder of token ids."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.bert import check_sizes, check_tokens
from kdjax.models.registry import register

_initial = nn.initializers.normal(0.02)


class Stem(nn.Module):
  """Sum of token and position embeddings; `attend` scores states against tokens.

  Attributes:
    vocabulary: number of token ids.
    width: size of a hidden state.
    length: greatest number of tokens.
    dropout: share dropped in training.
  """

  vocabulary: int
  width: int
  length: int
  dropout: float

  def setup(self):
    self.tokens = nn.Embed(self.vocabulary, self.width, embedding_init=_initial)
    self.positions = nn.Embed(self.length, self.width, embedding_init=_initial)
    self.drop = nn.Dropout(self.dropout)

  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    places = jnp.arange(tokens.shape[1])[None]
    x = self.tokens(tokens) + self.positions(places)
    return self.drop(x, deterministic=not train)

  def attend(self, x: jax.Array) -> jax.Array:
    return self.tokens.attend(x)


class Mlp(nn.Module):
  """Two dense layers with GELU, in its tanh form, between them."""

  hidden: int
  last_initial: nn.initializers.Initializer

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    x = nn.Dense(self.hidden, kernel_init=_initial, name="dense_0")(x)
    x = nn.gelu(x, approximate=True)
    return nn.Dense(width, kernel_init=self.last_initial, name="dense_1")(x)


class Stage(nn.Module):
  """One pre-norm block: x + attention(norm(x)), then x + mlp(norm(x))."""

  heads: int
  mlp: int
  depth: int
  dropout: float

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool
  ) -> jax.Array:
    drop = nn.Dropout(self.dropout, deterministic=not train)
    # The 2 depth branches that are summed start with the variance of one.
    last_initial = nn.initializers.normal(0.02 * (2 * self.depth) ** -0.5)
    attention = nn.MultiHeadDotProductAttention(
      self.heads,
      dropout_rate=self.dropout,
      broadcast_dropout=False,
      kernel_init=_initial,
      out_kernel_init=last_initial,
      name="attention",
    )(_norm("norm_0")(x), mask=mask, deterministic=not train)
    x = x + drop(attention)
    mlp = Mlp(self.mlp, last_initial, name="mlp")
    return x + drop(mlp(_norm("norm_1")(x)))


class Gpt(nn.Module):
  """`stem`, blocks `stage_0`, `stage_1`, ..., `norm`, and logits of the next token.

  Called as `module(tokens, train=False)` with int32 (B, T) ids; returns logits
  (B, T, classes). A token sees itself and the ones before it, so padding at the
  end needs no mask. Tied logits are `stem.attend`, others a linear `head`.

  Attributes:
    classes: size of the vocabulary, which is what the model reads and predicts.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block.
    mlp: hidden units of a block's dense layers.
    positions: greatest number of tokens T.
    tied: the output layer is the token embedding.
    dropout: share dropped, of states and of attention, in training.
  """

  classes: int
  width: int
  depth: int
  heads: int
  mlp: int
  positions: int
  tied: bool = True
  dropout: float = 0.1

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool = False) -> jax.Array:
    check_tokens("gpt", tokens, self.positions)
    stem = Stem(
      self.classes, self.width, self.positions, self.dropout, name="stem"
    )
    x = stem(tokens, train=train)
    mask = nn.make_causal_mask(tokens, dtype=bool)
    for i in range(self.depth):
      stage = Stage(
        self.heads, self.mlp, self.depth, self.dropout, name=f"stage_{i}"
      )
      x = stage(x, mask, train=train)
    x = _norm("norm")(x)
    if self.tied:
      return stem.attend(x)
    head = nn.Dense(
      self.classes, use_bias=False, kernel_init=_initial, name="head"
    )
    return head(x)


def _norm(name):
  # The fast variance, a difference of squares, loses digits.
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


@register("gpt")
def gpt(
  *,
  classes: int,
  width: int = 128,
  depth: int = 4,
  heads: int = 4,
  mlp: int = 512,
  positions: int = 256,
  tied: bool = True,
  dropout: float = 0.1,
) -> Gpt:
  """Makes a GPT decoder; the defaults are a small one.

  Args:
    classes: size of the vocabulary, which is what the model reads and predicts.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block.
    mlp: hidden units of a block's dense layers.
    positions: greatest number of tokens.
    tied: the output layer is the token embedding.
    dropout: share dropped in training, in [0, 1).

  Returns:
    The module: token ids (B, T) -> logits (B, T, classes).

  Raises:
    ValueError: for a size below 1, heads that do not divide the width, or a
      share outside [0, 1).

  Example:
    >>> model = gpt(classes=11, width=8, depth=1, heads=2, mlp=16)
    >>> tokens = jnp.array([[1, 2, 3]])
    >>> model.init_with_output(jax.random.key(0), tokens)[0].shape
    (1, 3, 11)
  """
  check_sizes(
    width=width,
    heads=heads,
    dropout=dropout,
    classes=classes,
    depth=depth,
    mlp=mlp,
    positions=positions,
  )
  return Gpt(
    classes=classes,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    positions=positions,
    tied=tied,
    dropout=dropout,
  )


@register("gpt2")
def gpt2(*, classes: int, dropout: float = 0.1) -> Gpt:
  """Makes the smallest GPT-2: 12 blocks of width 768, tied.

  124 439 808 parameters for its vocabulary of 50 257.

  Args:
    classes: size of the vocabulary.
    dropout: share dropped in training, in [0, 1).

  Returns:
    The module: token ids (B, T <= 1024) -> logits (B, T, classes).

  Example:
    >>> gpt2(classes=50257).positions
    1024
  """
  return gpt(
    classes=classes,
    width=768,
    depth=12,
    heads=12,
    mlp=3072,
    positions=1024,
    dropout=dropout,
  )
