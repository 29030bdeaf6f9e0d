"""Networks with all that methods read, each written in linen and in nnx."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from kdjax.taps.network import from_apply, from_linen, from_nnx


class Relu(nn.Module):
  def __call__(self, x):
    return nn.relu(x)


class NnxRelu(nnx.Module):
  def __call__(self, x):
    return nnx.relu(x)


class Mean(nn.Module):
  def __call__(self, x):
    return x.mean((1, 2))


class NnxMean(nnx.Module):
  def __call__(self, x):
    return x.mean((1, 2))


class Stage(nn.Module):
  width: int
  stride: int

  @nn.compact
  def __call__(self, x, train):
    size = (self.stride, self.stride)
    x = nn.Conv(self.width, (3, 3), size, use_bias=False, name="conv")(x)
    x = nn.BatchNorm(not train, momentum=0.9, name="norm")(x)
    return Relu(name="activation")(x)


class NnxStage(nnx.Module):
  def __init__(self, before, width, stride, rngs):
    size = (stride, stride)
    self.conv = nnx.Conv(before, width, (3, 3), size, use_bias=False, rngs=rngs)
    self.norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
    self.activation = NnxRelu()

  def __call__(self, x):
    return self.activation(self.norm(self.conv(x)))


class Convolutional(nn.Module):
  """Stages, perhaps a projector, a mean, a classifier."""

  widths: tuple
  projector: int | None = None

  @nn.compact
  def __call__(self, images, train=False):
    x = images
    for i, width in enumerate(self.widths):
      x = Stage(width, 1 + (i > 0), name=f"stage_{i}")(x, train)
    if self.projector:
      x = Stage(self.projector, 1, name="projector")(x, train)
    x = nn.Dropout(0.2, name="drop")(Mean(name="pool")(x), not train)
    return nn.Dense(4, name="head")(x)


class NnxConvolutional(nnx.Module):
  def __init__(self, widths, projector=None, *, rngs):
    self.stages, before = len(widths), 1
    for i, width in enumerate(widths):
      setattr(self, f"stage_{i}", NnxStage(before, width, 1 + (i > 0), rngs))
      before = width
    self.projector = (
      NnxStage(before, projector, 1, rngs) if projector else NnxRelu()
    )
    self.pool = NnxMean()
    self.drop = nnx.Dropout(0.2, rngs=rngs)
    self.head = nnx.Linear(projector or before, 4, rngs=rngs)

  def __call__(self, x):
    for i in range(self.stages):
      x = getattr(self, f"stage_{i}")(x)
    return self.head(self.drop(self.pool(self.projector(x))))


class Stem(nn.Module):
  width: int

  @nn.compact
  def __call__(self, images):
    x = nn.Conv(self.width, (2, 2), (2, 2), name="patches")(images)
    return x.reshape(len(x), -1, self.width)


class NnxStem(nnx.Module):
  def __init__(self, width, rngs):
    self.patches = nnx.Conv(1, width, (2, 2), (2, 2), rngs=rngs)

  def __call__(self, images):
    x = self.patches(images)
    return x.reshape(len(x), -1, x.shape[-1])


class Block(nn.Module):
  heads: int

  @nn.compact
  def __call__(self, x, train):
    attention = nn.MultiHeadDotProductAttention(
      self.heads, dropout_rate=0.2, deterministic=not train, name="attention"
    )
    x = nn.LayerNorm(name="norm")(x + attention(x))
    return x + nn.Dense(x.shape[-1], name="mlp")(nn.gelu(x))


class NnxBlock(nnx.Module):
  def __init__(self, width, heads, rngs):
    self.attention = nnx.MultiHeadAttention(
      heads, width, dropout_rate=0.2, decode=False, rngs=rngs
    )
    self.norm = nnx.LayerNorm(width, rngs=rngs)
    self.mlp = nnx.Linear(width, width, rngs=rngs)

  def __call__(self, x):
    x = self.norm(x + self.attention(x))
    return x + self.mlp(nnx.gelu(x))


class Transformer(nn.Module):
  """A stem, blocks of tokens, two classifiers of the first two tokens."""

  width: int
  depth: int
  heads: int

  @nn.compact
  def __call__(self, images, train=False):
    x = Stem(self.width, name="stem")(images)
    for i in range(self.depth):
      x = Block(self.heads, name=f"stage_{i}")(x, train)
    x = nn.LayerNorm(name="norm")(x)
    first = nn.Dense(4, name="head")(x[:, 0])
    return (first + nn.Dense(4, name="head_dist")(x[:, 1])) / 2


class NnxTransformer(nnx.Module):
  def __init__(self, width, depth, heads, *, rngs):
    self.depth, self.stem = depth, NnxStem(width, rngs)
    for i in range(depth):
      setattr(self, f"stage_{i}", NnxBlock(width, heads, rngs))
    self.norm = nnx.LayerNorm(width, rngs=rngs)
    self.head = nnx.Linear(width, 4, rngs=rngs)
    self.head_dist = nnx.Linear(width, 4, rngs=rngs)

  def __call__(self, x):
    x = self.stem(x)
    for i in range(self.depth):
      x = getattr(self, f"stage_{i}")(x)
    x = self.norm(x)
    return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


# teacher, student: classes, and what they are made of
PAIRS = {
  "convolutional": (
    (Convolutional, NnxConvolutional),
    ((4, 6, 8),),
    ((4, 5, 6),),
  ),
  "projected": (
    (Convolutional, NnxConvolutional),
    ((4, 6, 8),),
    ((4, 5, 6), 8),
  ),
  "transformer": ((Transformer, NnxTransformer), (16, 2, 4), (8, 2, 4)),
}


def make_pair(name):
  """Makes teacher and student in both frameworks, with the same parameters.

  Returns:
    {"linen" | "nnx": ((teacher, variables), (student, variables))}
  """
  (linen, other), *settings = PAIRS[name]
  made = {"linen": [], "nnx": []}
  for seed, arguments in enumerate(settings):
    module = other(*arguments, rngs=nnx.Rngs(seed))
    network, variables = from_nnx(module, classifier="head")
    made["nnx"].append((network, variables))
    made["linen"].append((from_linen(linen(*arguments)), dict(variables)))
  return {framework: tuple(pair) for framework, pair in made.items()}


def make_functions():
  """Makes teacher and student of from_apply, which have outputs alone."""

  def apply(variables, inputs, *, train, rngs):
    return inputs.reshape(len(inputs), -1) @ variables["params"]

  network = from_apply(apply)
  return tuple(
    (network, {"params": scale * jnp.eye(64, 4)}) for scale in (1, 2)
  )


def batch():
  """Eight images of 8 x 8 with labels, the last of them padding."""
  images = jax.random.uniform(jax.random.key(3), (8, 8, 8, 1))
  return {
    "image": images,
    "label": jnp.arange(8) % 4,
    "weight": jnp.arange(8) < 7,
  }
