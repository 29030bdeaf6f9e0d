"""Classifiers on the stages of a network, deeper the earlier the stage is.

They are one-for-all distillation's, Hao et al. 2023, arXiv:2310.19444. The batch
normalisation in them uses the batch's own statistics: they only live in training.
"""

import math

import flax.linen as nn
import jax

_CONVOLUTION = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_CLASSIFIER = nn.initializers.normal(0.02)


class Shrink(nn.Module):
  """Two separable 3 x 3 convolutions, of which the first halves the map.

  Attributes:
    width: output channels.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inner = x.shape[-1]
    for i, (stride, width) in enumerate(((2, inner), (1, self.width))):
      x = nn.Conv(
        inner,
        (3, 3),
        strides=stride,
        padding=((1, 1), (1, 1)),
        feature_group_count=inner,
        use_bias=False,
        kernel_init=_CONVOLUTION,
        name=f"each_{i}",
      )(x)
      x = nn.Conv(
        width,
        (1, 1),
        use_bias=False,
        kernel_init=_CONVOLUTION,
        name=f"mix_{i}",
      )(x)
      x = nn.relu(_norm(f"norm_{i}")(x))
    return x


class MapHead(nn.Module):
  """For maps: halved once for each later stage, averaged, classified.

  Attributes:
    width: features that are classified.
    later: number of later stages.
    classes: number of classes.
  """

  width: int
  later: int
  classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i in range(self.later):
      width = self.width if i == self.later - 1 else 2 * x.shape[-1]
      x = Shrink(width, name=f"shrink_{i}")(x)
    if not self.later:
      x = nn.Conv(self.width, (1, 1), kernel_init=_CONVOLUTION, name="project")(
        x
      )
    return _classify(self.classes)(x.mean(axis=(1, 2)))


class Block(nn.Module):
  """A transformer block: attention and a perceptron, each behind a norm.

  Attributes:
    width: features of a token.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    heads = math.gcd(4, self.width)
    y = nn.LayerNorm(epsilon=1e-6, name="norm_0")(x)
    x = x + nn.MultiHeadDotProductAttention(heads, name="attention")(y)
    y = nn.LayerNorm(epsilon=1e-6, name="norm_1")(x)
    y = nn.gelu(nn.Dense(4 * self.width, name="dense_0")(y), approximate=False)
    return x + nn.Dense(self.width, name="dense_1")(y)


class TokenHead(nn.Module):
  """For tokens: a block for each later stage, at least one, a mean, a classifier.

  Attributes:
    width: features that are classified.
    later: number of later stages.
    classes: number of classes.
  """

  width: int
  later: int
  classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, name="project")(x)
    for i in range(max(self.later, 1)):
      x = Block(self.width, name=f"block_{i}")(x)
    return _classify(self.classes)(x.mean(axis=1))


class VectorHead(nn.Module):
  """For vectors: a normalised dense layer for each later stage, a classifier.

  Attributes:
    width: features that are classified.
    later: number of later stages.
    classes: number of classes.
  """

  width: int
  later: int
  classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i in range(self.later):
      x = nn.Dense(self.width, use_bias=False, name=f"dense_{i}")(x)
      x = nn.relu(_norm(f"norm_{i}")(x))
    if not self.later:
      x = nn.Dense(self.width, name="project")(x)
    return _classify(self.classes)(x)


def _norm(name):
  return nn.BatchNorm(
    use_running_average=False, momentum=0.9, epsilon=1e-5, name=name
  )


def _classify(classes):
  return nn.Dense(classes, kernel_init=_CLASSIFIER, name="classify")
