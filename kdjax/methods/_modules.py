"""Modules that several methods train: regressors, embeddings, stages' heads."""

import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.method import Inputs, Method, batch_mean, learned
from kdjax.methods._features import Pair

_CONVOLUTION = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_CLASSIFIER = nn.initializers.normal(0.02)


class Regressor(nn.Module):
  """A linear layer over the channels: vectors, tokens or maps to a new width.

  On maps it is the 1x1 convolution of the papers, as a matrix product.

  Attributes:
    features: output channels.
    hidden: widths of hidden layers with ReLU before it.
    norm: whether batch normalisation with the batch's statistics follows, in
      place of a bias; a method that uses it couples the batch.
    bias: whether the layers have biases; the last has none before a norm.
  """

  features: int
  hidden: tuple[int, ...] = ()
  norm: bool = False
  bias: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i, width in enumerate(self.hidden):
      hidden = nn.Dense(width, use_bias=self.bias, name=f"hidden_{i}")
      x = nn.relu(hidden(x))
    bias = self.bias and not self.norm
    x = nn.Dense(self.features, use_bias=bias, name="dense")(x)
    if self.norm:
      x = nn.BatchNorm(use_running_average=False, name="norm")(x)
    return x


class Embed(nn.Module):
  """A linear layer onto the unit sphere, on the whole of an example.

  Attributes:
    features: dimensions of the embedding.
  """

  features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.Dense(self.features, name="dense")(x.reshape(x.shape[0], -1))
    # The floor keeps the gradient of a zero row finite.
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


class Scale(nn.Module):
  """A learned vector, such as the logarithms of variances.

  Attributes:
    features: its length.
    start: the value of every entry at first.
  """

  features: int
  start: float = 0.0

  @nn.compact
  def __call__(self) -> jax.Array:
    begin = nn.initializers.constant(self.start)
    return self.param("scale", begin, (self.features,))


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


class Block(nn.Module):
  """A transformer block: attention and a perceptron, each behind a norm.

  Query, key and value have no biases, the attention's output has one.

  Attributes:
    width: features of a token.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    heads = math.gcd(4, self.width)
    y = nn.LayerNorm(epsilon=1e-6, name="norm_0")(x)
    attention = nn.MultiHeadDotProductAttention(
      heads, use_bias=False, name="attention"
    )
    bias = self.param("attention_bias", nn.initializers.zeros, (self.width,))
    x = x + attention(y) + bias[None, None]
    y = nn.LayerNorm(epsilon=1e-6, name="norm_1")(x)
    y = nn.gelu(nn.Dense(4 * self.width, name="dense_0")(y), approximate=False)
    return x + nn.Dense(self.width, name="dense_1")(y)


class Head(nn.Module):
  """A classifier on a stage of a network, deeper the earlier the stage is.

  It returns the features that it classifies, (B, width), and the logits. Heads
  are one-for-all distillation's, Hao et al. 2023, arXiv:2310.19444. Their batch
  normalisation uses the batch's own statistics: they only live in training.

  Attributes:
    width: features that are classified.
    later: number of later stages.
    classes: number of classes.
  """

  width: int
  later: int
  classes: int

  def _classified(self, x: jax.Array) -> Pair:
    logits = nn.Dense(self.classes, kernel_init=_CLASSIFIER, name="classify")(x)
    return x, logits


class MapHead(Head):
  """For maps: halved once for each later stage, averaged, classified."""

  @nn.compact
  def __call__(self, x: jax.Array) -> Pair:
    for i in range(self.later):
      width = self.width if i == self.later - 1 else 2 * x.shape[-1]
      x = Shrink(width, name=f"shrink_{i}")(x)
    if not self.later:
      x = nn.Conv(self.width, (1, 1), kernel_init=_CONVOLUTION, name="project")(
        x
      )
    return self._classified(x.mean(axis=(1, 2)))


class TokenHead(Head):
  """For tokens: a block for each later stage, at least one, a mean, a classifier."""

  @nn.compact
  def __call__(self, x: jax.Array) -> Pair:
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, name="project")(x)
    for i in range(max(self.later, 1)):
      x = Block(self.width, name=f"block_{i}")(x)
    return self._classified(x.mean(axis=1))


class VectorHead(Head):
  """For vectors: a normalised dense layer for each later stage, a classifier."""

  @nn.compact
  def __call__(self, x: jax.Array) -> Pair:
    for i in range(self.later):
      x = nn.Dense(self.width, use_bias=False, name=f"dense_{i}")(x)
      x = nn.relu(_norm(f"norm_{i}")(x))
    if not self.later:
      x = nn.Dense(self.width, name="project")(x)
    return self._classified(x)


# The head for a stage, by its rank: vectors, tokens, maps.
HEADS = {2: VectorHead, 3: TokenHead, 4: MapHead}


def regressors(
  pairs: tuple[Pair, ...], *, always: bool = True, **options
) -> dict[str, tuple]:
  """Makes one regressor a pair, from the student's to the teacher's channels.

  Args:
    pairs: (student, teacher) features.
    always: False to leave out those whose channels agree already.

  Returns:
    By name, `regressor_0`, `regressor_1`, ..., a module and what it is
    initialised on, as `kdjax.core.method.learned` takes them.

  Example:
    >>> pair = (jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    >>> list(regressors((pair, pair))), list(regressors((pair,), always=False))
    (['regressor_0', 'regressor_1'], [])
  """
  return {
    f"regressor_{i}": (Regressor(teacher.shape[-1], **options), student)
    for i, (student, teacher) in enumerate(pairs)
    if always or student.shape[-1] != teacher.shape[-1]
  }


def regress_pairs(call: Callable, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
  """Brings the student's features to the teacher's channels where they differ.

  Args:
    pairs: (student, teacher) features, for which `regressors(always=False)`
      made the modules.

  Example:
    >>> pair = (jnp.ones((2, 3)), jnp.ones((2, 3)))
    >>> regress_pairs(None, (pair,)) == (pair,)
    True
  """
  return tuple(
    (student, teacher)
    if student.shape[-1] == teacher.shape[-1]
    else (call(f"regressor_{i}", student), teacher)
    for i, (student, teacher) in enumerate(pairs)
  )


def remembering(
  modules: Callable[[Inputs], Mapping[str, tuple]],
  start: Callable[[jax.Array, Inputs], object],
  loss: Callable[[Callable, Inputs, object], tuple[jax.Array, object]],
  **options,
) -> Method:
  """Makes a method that has modules of its own and remembers something.

  Args:
    start: (rng, inputs) -> the state before the first step; an array or a tree.
    loss: (call, inputs, state) -> (loss, new state); otherwise as in `learned`.

  Returns:
    The method. Nothing flows back through the state.

  Example:
    >>> method = remembering(
    ...   lambda inputs: {},
    ...   lambda rng, inputs: jnp.float32(0.0),
    ...   lambda call, inputs, seen: (seen * 2.0, seen + 1.0),
    ... )
    >>> inputs = Inputs(Outputs(jnp.zeros((2, 3)), {}), None, jnp.zeros(2, int), 0)
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> loss, state, _ = method.apply(params, state, inputs)
    >>> print(loss, state)
    0.0 1.0
  """
  plain = learned(modules, lambda call, inputs: call, **options)

  def init(rng, inputs):
    of_modules, of_state = jax.random.split(rng)
    return plain.init(of_modules, inputs)[0], start(of_state, inputs)

  def apply(params, state, inputs):
    states = []

    def value(call, inputs):
      loss_now, new = loss(call, inputs, state)
      states.append(jax.lax.stop_gradient(new))
      return batch_mean(loss_now, inputs)

    now = learned(modules, value, **options)
    total, _, metrics = now.apply(params, (), inputs)
    return total, states[0], metrics

  return plain._replace(init=init, apply=apply)


def _norm(name):
  return nn.BatchNorm(
    use_running_average=False, momentum=0.9, epsilon=1e-5, name=name
  )
