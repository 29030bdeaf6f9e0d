"""What methods that match features share: regressors, pairs, checks of shapes.

Features are vectors (B, D), tokens (B, T, D) or maps (B, H, W, C), all with the
channels last.
"""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.errors import UserError
from kdjax.method import Inputs, Method, batch_mean, learned
from kdjax.pairing import pair_layers
from kdjax.schedule import check_value

_FORMS = {
  2: "vectors (B, D)",
  3: "tokens (B, T, D)",
  4: "maps (B, H, W, C)",
}

Pair = tuple[jax.Array, jax.Array]


class Regressor(nn.Module):
  """A linear layer over the channels: vectors, tokens or maps to a new width.

  On maps it is the 1x1 convolution of the papers, as a matrix product.

  Attributes:
    features: output channels.
    hidden: widths of hidden layers with ReLU before it.
    norm: whether batch normalisation with the batch's statistics follows, in
      place of a bias; a method that uses it couples the batch.
  """

  features: int
  hidden: tuple[int, ...] = ()
  norm: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i, width in enumerate(self.hidden):
      x = nn.relu(nn.Dense(width, name=f"hidden_{i}")(x))
    x = nn.Dense(self.features, use_bias=not self.norm, name="dense")(x)
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


def working(x: jax.Array) -> jax.Array:
  """Casts to float32, unless an array is wider already.

  Args:
    x: (...) float.

  Returns:
    The same shape, float32 (float64 for float64).

  Example:
    >>> working(jnp.ones(1, jnp.bfloat16)).dtype
    dtype('float32')
  """
  return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  """Refuses a word that is none of the choices.

  Args:
    name: the hyper-parameter's name.
    value: what was given.
    choices: what is possible.

  Raises:
    ValueError: if the value is not among them.

  Example:
    >>> check_choice("kernel", "poly", ("poly", "linear"))
  """
  if value not in choices:
    raise ValueError(f"{name}={value!r} is not one of {', '.join(choices)}")


def check_static(
  name: str, value: float, allowed: Callable[[float], bool]
) -> None:
  """Checks a hyper-parameter that can be neither swept nor scheduled.

  Args:
    name: its name, for the message.
    value: what was given.
    allowed: number -> bool.

  Raises:
    ValueError: if it is no plain number, or one that is not allowed.

  Example:
    >>> check_static("rate", 0.5, lambda value: value > 0)
  """
  if callable(value) or isinstance(value, jax.Array):
    raise ValueError(f"{name} must be a plain number, no sweep or schedule")
  check_value(name, value, allowed)


def need_maps(method: str, tap: str, features: jax.Array) -> None:
  """Refuses features that are no maps.

  Args:
    method: the method's name, for the message.
    tap: where the features come from.
    features: what was tapped.

  Raises:
    UserError: unless they are (B, H, W, C).

  Example:
    >>> need_maps("nst", "stage_0", jnp.zeros((2, 4, 4, 8)))
  """
  if features.ndim != 4:
    raise UserError(
      f"{method} needs feature maps (B, H, W, C), but {tap} is"
      f" {features.shape}; tap a convolutional stage"
    )


def paired(
  method: str,
  inputs: Inputs,
  student_tap: str,
  teacher_tap: str,
  *,
  maps: bool = False,
) -> tuple[Pair, ...]:
  """Pairs the tapped layers of both networks, the last with the last.

  Args:
    method: the method's name, for messages.
    inputs: what both networks show.
    student_tap: the student's layers, from shallow to deep.
    teacher_tap: the teacher's.
    maps: whether only maps will do.

  Returns:
    (student, teacher) features, as many pairs as the shallower network has
    layers, in working precision; the teacher's are constants.

  Raises:
    UserError: if there is no teacher, a tap names nothing, or a pair's
      features are of different ranks, or no maps where those are needed.

  Example:
    >>> student = View(jnp.zeros((2, 3)), {"a": jnp.zeros((2, 4))})
    >>> teacher = View(jnp.zeros((2, 3)), {"b": jnp.zeros((2, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> [(s.shape, t.shape) for s, t in paired("fitnets", inputs, "a", "b")]
    [((2, 4), (2, 5))]
  """
  if inputs.teacher is None:
    raise UserError(f"{method} needs a teacher")
  students = taps.select(inputs.student.feats, student_tap)
  teachers = taps.select(inputs.teacher.feats, teacher_tap)
  pairs = []
  for i, j in pair_layers(len(students), len(teachers)):
    student, teacher = working(students[i]), working(teachers[j])
    if maps:
      need_maps(method, f"the student's {student_tap}", student)
      need_maps(method, f"the teacher's {teacher_tap}", teacher)
    if student.ndim != teacher.ndim or student.ndim not in _FORMS:
      raise UserError(
        f"{method} matches vectors with vectors, tokens with tokens or maps with"
        f" maps, but the student's {student_tap} is {_form(student)} and the"
        f" teacher's {teacher_tap} {_form(teacher)}; name other taps"
      )
    pairs.append((student, jax.lax.stop_gradient(teacher)))
  return tuple(pairs)


def same_size(method: str, student: jax.Array, teacher: jax.Array) -> Pair:
  """Brings two maps to one size: the larger is average-pooled, per axis.

  Args:
    method: the method's name, for messages.
    student: (B, H, W, C), (B, T, D) or (B, D) float.
    teacher: as many dimensions, with any channels.

  Returns:
    Both, alike but for the channels. Vectors and tokens are left as they are.

  Raises:
    UserError: if tokens differ in number.

  Example:
    >>> student, teacher = same_size(
    ...   "nst", jnp.zeros((2, 8, 8, 3)), jnp.zeros((2, 4, 4, 5))
    ... )
    >>> student.shape
    (2, 4, 4, 3)
  """
  if student.ndim == 4:
    height, width = (
      min(student.shape[axis], teacher.shape[axis]) for axis in (1, 2)
    )
    return tuple(
      losses.adaptive_avg_pool(side, size=(height, width))
      for side in (student, teacher)
    )
  if student.shape[:-1] != teacher.shape[:-1]:
    raise UserError(
      f"{method} matches token by token, but the student has"
      f" {student.shape[1]} tokens and the teacher {teacher.shape[1]}"
    )
  return student, teacher


def as_maps(features: jax.Array) -> jax.Array:
  """Sees vectors and tokens as maps of one row.

  Args:
    features: (B, D), (B, T, D) or (B, H, W, C).

  Returns:
    (B, 1, 1, D), (B, 1, T, D) or (B, H, W, C).

  Example:
    >>> as_maps(jnp.zeros((2, 7, 3))).shape
    (2, 1, 7, 3)
  """
  batch, *inner, channels = features.shape
  return features.reshape(batch, *(1,) * (2 - len(inner)), *inner, channels)


def regressors(
  pairs: tuple[Pair, ...], *, always: bool = True, **options
) -> dict[str, tuple]:
  """Makes one regressor a pair, from the student's to the teacher's channels.

  Args:
    pairs: (student, teacher) features.
    always: False to leave out those whose channels agree already.
    **options: further attributes of `Regressor`.

  Returns:
    By name, `regressor_0`, `regressor_1`, ..., a module and what it is
    initialised on, as `kdjax.method.learned` takes them.

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


def regressed(call: Callable, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
  """Brings the student's features to the teacher's channels where they differ.

  Args:
    call: applies a module by name.
    pairs: (student, teacher) features, for which `regressors(always=False)`
      made the modules.

  Returns:
    The pairs, with equal channels.

  Example:
    >>> pair = (jnp.ones((2, 3)), jnp.ones((2, 3)))
    >>> regressed(None, (pair,)) == (pair,)
    True
  """
  return tuple(
    (student, teacher)
    if student.shape[-1] == teacher.shape[-1]
    else (call(f"regressor_{i}", student), teacher)
    for i, (student, teacher) in enumerate(pairs)
  )


def need_two(method: str, pairs: tuple[Pair, ...]) -> None:
  """Refuses a single pair of layers where a method goes from one to the next.

  Args:
    method: the method's name, for the message.
    pairs: those found.

  Raises:
    UserError: if there are fewer than two.

  Example:
    >>> need_two("fsp", ((None, None), (None, None)))
  """
  if len(pairs) < 2:
    raise UserError(
      f"{method} needs two stages of both networks or more; the taps name one"
      " of the student or of the teacher"
    )


def remembering(
  modules: Callable[[Inputs], Mapping[str, tuple]],
  start: Callable[[jax.Array, Inputs], object],
  loss: Callable[[Callable, Inputs, object], tuple[jax.Array, object]],
  **options,
) -> Method:
  """Makes a method that has modules of its own and remembers something.

  Args:
    modules: as in `kdjax.method.learned`.
    start: (rng, inputs) -> the state before the first step; an array or a tree.
    loss: (call, inputs, state) -> (loss, new state); otherwise as in `learned`.
    **options: taps and `couples_batch`, as in `learned`.

  Returns:
    The method. Nothing flows back through the state.

  Example:
    >>> method = remembering(
    ...   lambda inputs: {},
    ...   lambda rng, inputs: jnp.float32(0.0),
    ...   lambda call, inputs, seen: (seen * 2.0, seen + 1.0),
    ... )
    >>> inputs = Inputs(View(jnp.zeros((2, 3)), {}), None, jnp.zeros(2, int), 0)
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
    kept = []

    def value(call, inputs):
      loss_now, new = loss(call, inputs, state)
      kept.append(jax.lax.stop_gradient(new))
      return batch_mean(loss_now, inputs)

    now = learned(modules, value, **options)
    total, _, metrics = now.apply(params, (), inputs)
    return total, kept[0], metrics

  return plain._replace(init=init, apply=apply)


def _form(features: jax.Array) -> str:
  kind = _FORMS.get(features.ndim, "neither")
  return f"{features.shape}, {kind}"
