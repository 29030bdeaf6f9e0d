"""Layers that families of models share."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

FUNCTIONS = {
  "identity": lambda x: x,
  "gelu": nn.gelu,
  "gelu_exact": lambda x: nn.gelu(x, approximate=False),
  "relu": nn.relu,
  "relu6": nn.relu6,
  "relu_squared": lambda x: jnp.square(nn.relu(x)),
  "silu": nn.silu,
  "tanh": nn.tanh,
}

# He, Zhang, Ren, Sun 2015, arXiv:1502.01852: in the backward form, by fan-out,
# with which the nets' published code starts.
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def dot_of_rows(
  x: jax.Array, kernel: jax.Array, dimension_numbers: Any, **settings: Any
) -> jax.Array:
  """Multiplies as `jax.lax.dot_general` does in `nn.Dense`, all rows as one matrix.

  Of several leading axes XLA's CPU makes a transposed copy for the kernel's
  gradient, and a product that takes twice as long.

  Args:
    x: (..., D).
    kernel: (D, C).
    dimension_numbers: those of a dense layer.

  Example:
    >>> layer = nn.Dense(3, dot_general=dot_of_rows)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 4, 5)))[0].shape
    (2, 4, 3)
  """
  rows = x.reshape(-1, x.shape[-1])
  numbers = (((1,), dimension_numbers[0][1]), dimension_numbers[1])
  product = jax.lax.dot_general(rows, kernel, numbers, **settings)
  return product.reshape(*x.shape[:-1], product.shape[-1])


class Activation(nn.Module):
  """A non-linearity as a module, so that a tap can stand in front of it.

  Named `activation` at the end of `stage_i`, it makes `stage_i/activation:in`
  the stage's pre-activation. It has no parameters.

  Attributes:
    function: one of FUNCTIONS.
  """

  function: str = "relu"

  def __call__(self, x: jax.Array) -> jax.Array:
    if self.function not in FUNCTIONS:
      raise ValueError(
        f"unknown activation {self.function!r}; choices: {', '.join(FUNCTIONS)}"
      )
    return FUNCTIONS[self.function](x)


class MeanPool(nn.Module):
  """The mean over all positions as a module, so that a tap can stand in front.

  Named `pool` before a linear `head`, it makes `pool:in` the last map, whose
  mean is classified. It has no parameters.
  """

  def __call__(self, x: jax.Array) -> jax.Array:
    return x.mean(axis=(1, 2))


class NormedConvolution(nn.Module):
  """Convolution, batch normalisation and ReLU, each a part with a name.

  Attributes:
    width: output channels.
    size: height and width of the kernel.
    stride: step of the kernel.
  """

  width: int
  size: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    x = convolution(self.width, self.size, stride=self.stride, name="conv")(x)
    x = batch_norm(train=train, name="norm")(x)
    return Activation(name="activation")(x)


def max_pool_2x2(x: jax.Array) -> jax.Array:
  """Takes the maximum of every 2 x 2 positions; an odd last row is dropped.

  As `nn.max_pool` with window and stride 2, but without overlap there is no
  need for a windowed reduction, whose gradient XLA's CPU takes 7 times as long
  for. Among equal maxima the gradient is shared.

  Args:
    x: (B, H, W, C).

  Returns:
    (B, H // 2, W // 2, C).
  """
  batch, height, width, channels = x.shape
  height, width = height // 2, width // 2
  x = x[:, : 2 * height, : 2 * width]
  return _largest(x.reshape(batch, height, 2, width, 2, channels))


@jax.custom_jvp
def _largest(x):
  return jnp.max(x, axis=(2, 4))


@_largest.defjvp
def _(primals, tangents):
  top = _largest(*primals)
  equal = (primals[0] == jnp.expand_dims(top, (2, 4))).astype(top.dtype)
  # XLA may compute x twice, and round otherwise, so that none equals the largest.
  count = jnp.maximum(jnp.sum(equal, axis=(2, 4)), 1)
  return top, jnp.sum(tangents[0] * equal, axis=(2, 4)) / count


def convolution(
  width: int,
  size: int,
  *,
  stride: int = 1,
  groups: int = 1,
  bias: bool = False,
  name: str,
) -> nn.Conv:
  """Makes a square convolution whose output is its input's size over stride.

  The padding is size // 2 on all sides, also where the stride is 2; the kernel
  starts He normal by its fan-out.

  Args:
    size: height and width of the kernel, odd.
    groups: groups of channels that do not see each other.

  Returns:
    The layer: (B, H, W, C) -> (B, ceil(H / stride), ceil(W / stride), width).
  """
  padding = (size // 2, size // 2)
  return nn.Conv(
    width,
    (size, size),
    strides=(stride, stride),
    padding=(padding, padding),
    feature_group_count=groups,
    use_bias=bias,
    kernel_init=he_normal_fan_out,
    name=name,
  )


def batch_norm(
  *, train: bool | None = None, name: str | None = None
) -> nn.BatchNorm:
  """Makes the batch normalisation of all our convolutional nets.

  Args:
    train: whether the batch's own statistics are used, and remembered; None to
      say so at the call.
    name: the layer's name; None in `setup`.

  Returns:
    The layer; its running averages keep 0.9 of themselves a step.
  """
  return nn.BatchNorm(
    use_running_average=None if train is None else not train,
    momentum=0.9,
    epsilon=1e-5,
    name=name,
  )


def with_border(x: jax.Array, width: int) -> jax.Array:
  """Adds zeros around images, for a pooling that should see them.

  An exporter forgets the padding that a pooling is given itself.

  Args:
    x: (B, H, W, D).

  Returns:
    (B, H + 2 width, W + 2 width, D).

  Example:
    >>> with_border(jnp.ones((1, 2, 2, 1)), 1).shape
    (1, 4, 4, 1)
  """
  return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)))


class PlainStage(nn.Module):
  """3 x 3 convolutions of one width, each with a ReLU; the last is a tap.

  Attributes:
    convolutions: how many.
    width: channels.
    batch_norm: whether each convolution is followed by one.
  """

  convolutions: int
  width: int
  batch_norm: bool

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i in range(self.convolutions):
      x = nn.relu(x) if i else x
      x = convolution(self.width, 3, bias=True, name=f"conv_{i}")(x)
      if self.batch_norm:
        x = batch_norm(train=train, name=f"norm_{i}")(x)
    return Activation(name="activation")(x)
