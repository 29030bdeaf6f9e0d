"""Small linen networks, each with one thing that taps must cope with."""

import flax.linen as nn
import jax.numpy as jnp


class Block(nn.Module):
  """conv, norm and a nested dense, by setup."""

  def setup(self):
    self.conv = nn.Conv(3, (3, 3))
    self.norm = nn.BatchNorm(momentum=0.9)

  def __call__(self, x, train):
    return nn.relu(self.norm(self.conv(x), use_running_average=not train))


class ConvNet(nn.Module):
  @nn.compact
  def __call__(self, images, train=False):
    x = Block(name="stage_0")(images, train)
    x = Block(name="stage_1")(x, train)
    x = nn.Dropout(0.5, deterministic=not train)(x)
    return nn.Dense(2, name="head")(x.mean((1, 2)))


class Attention(nn.Module):
  layer: type = nn.MultiHeadDotProductAttention
  function: object = nn.dot_product_attention

  @nn.compact
  def __call__(self, x, train=False, mask=None, sow_weights=False):
    options = {"attention_fn": self.function, "name": "attention"}
    if self.layer.__name__.startswith("Checkpoint"):
      # nn.remat makes tracers of all arguments, flags included.
      return self.layer(2, deterministic=True, **options)(x)
    layer = self.layer(2, dropout_rate=0.5, **options)
    return layer(x, deterministic=not train, mask=mask, sow_weights=sow_weights)


class Child(nn.MultiHeadDotProductAttention):
  """A subclass that calls the stock layer by `super`."""

  @nn.compact
  def __call__(self, x, **kwargs):
    return 2.0 * super().__call__(x, **kwargs)


class Shared(nn.Module):
  @nn.compact
  def __call__(self, x):
    layer = nn.Dense(4, name="shared")
    return layer(layer(x))


class Dense(nn.Module):
  """A block with something inside to tap."""

  @nn.compact
  def __call__(self, x):
    return nn.tanh(nn.Dense(4, name="dense")(x))


# One class, as users write it: only so do nn.jit's traces live on.
JITTED = nn.jit(Dense)


class Wrapped(nn.Module):
  """Two calls of one transformed block, then another one."""

  block: type

  @nn.compact
  def __call__(self, x):
    block = self.block(name="block")
    return self.block(name="last")(block(block(x)))


class Layer(nn.Module):
  @nn.compact
  def __call__(self, x, _):
    return nn.Dense(4, name="dense")(x), None


class Stack(nn.Module):
  axes: tuple = ("params",)

  @nn.compact
  def __call__(self, x):
    layers = nn.scan(
      Layer,
      variable_axes=dict.fromkeys(self.axes, 0),
      split_rngs={"params": True},
      length=3,
    )
    return layers(name="layers")(x, None)[0]


class AutoEncoder(nn.Module):
  def setup(self):
    self.layers = [nn.Dense(3), nn.Dense(4)]

  def encode(self, x):
    return self.layers[0](x)

  def decode(self, code, *, scale=1.0):
    return scale * self.layers[1](code)

  def __call__(self, x):
    return self.decode(code=self.encode(x))


class Pair(nn.Module):
  """A module that returns a tuple, and one that takes no positional input."""

  @nn.compact
  def __call__(self, x):
    both = Both(name="both")(x=x)
    return both[0] + both[1]["more"]


class Both(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(4)(x), {"more": jnp.ones_like(x)}


class Sower(nn.Module):
  @nn.compact
  def __call__(self, x):
    self.sow("intermediates", "own", x)
    return nn.Dense(4, name="head")(x)


class Branch(nn.Module):
  @nn.compact
  def __call__(self, x):
    layer = nn.Dense(4, name="layer")
    x = layer(x)
    return nn.cond(
      x[0, 0] < 1e9, lambda _, x: layer(x), lambda _, x: x, self, x
    )
