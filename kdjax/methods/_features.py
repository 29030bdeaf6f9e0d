"""What methods read off their inputs, checked: features, classifiers.

Features are vectors (B, D), tokens (B, T, D) or maps (B, H, W, C), all with the
channels last.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods._layer_matching import pair_layers

_FORMS = {
  2: "vectors (B, D)",
  3: "tokens (B, T, D)",
  4: "maps (B, H, W, C)",
}

Pair = tuple[jax.Array, jax.Array]


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


def last(outputs: Outputs, tap: str) -> jax.Array:
  """Picks the last feature that a tap names, such as the last of the stages.

  Returns:
    (B, ...) float32 (float64 for float64).

  Example:
    >>> feats = {"stage_0": jnp.zeros((1, 3)), "stage_1": jnp.ones((1, 2))}
    >>> last(Outputs(None, feats), "stage_*").shape
    (1, 2)
  """
  return working(taps.select(outputs.feats, tap)[-1])


def over_positions(
  features: jax.Array, tokens: jax.Array | None = None
) -> jax.Array:
  """Averages over all positions of maps or tokens.

  Args:
    features: (B, D), (B, T, D) or (B, H, W, D).
    tokens: (B, T) bool, which tokens of a text are no padding; None where all
      count.

  Returns:
    (B, D), as vectors are already.

  Example:
    >>> over_positions(jnp.ones((1, 2, 2, 3))).shape
    (1, 3)
  """
  if tokens is not None and features.shape[:-1] == tokens.shape:
    mask = jnp.broadcast_to(tokens[..., None], features.shape)
    return losses.masked_mean(features, mask, axis=1)
  return features.mean(axis=tuple(range(1, features.ndim - 1)))


def vectors(
  method: str, tap: str, outputs: Outputs, tokens: jax.Array | None = None
) -> jax.Array:
  """Picks one feature, averaged over the positions of tokens and maps.

  Args:
    tokens: (B, T) bool, which tokens of a text are no padding; None where all
      count.

  Returns:
    (B, D) float32 (float64 for float64).

  Example:
    >>> outputs = Outputs(None, {"stage_0": jnp.ones((2, 4, 4, 3))})
    >>> vectors("vkd", "stage_0", outputs).shape
    (2, 3)
  """
  array = taps.pick(outputs.feats, tap)
  if array.ndim < 2:
    raise UserError(
      f"{method} needs features (B, D), but {tap} is {array.shape}"
    )
  return over_positions(working(array), tokens)


def pair_vectors(
  method: str, inputs: Inputs, student_tap: str, teacher_tap: str
) -> tuple[Pair, ...]:
  """Pairs one feature of both networks, averaged over positions, as `vectors`.

  Returns:
    One pair, (B, D) and (B, D'); the teacher's is a constant.

  Example:
    >>> student, teacher = (Outputs(None, {"a": jnp.ones((2, n))}) for n in (3, 4))
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> [x.shape for x in pair_vectors("cosine", inputs, "a", "a")[0]]
    [(2, 3), (2, 4)]
  """
  if inputs.teacher is None:
    raise UserError(f"{method} needs a teacher")
  student, teacher = (
    vectors(method, tap, outputs, inputs.tokens)
    for tap, outputs in (
      (student_tap, inputs.student),
      (teacher_tap, inputs.teacher),
    )
  )
  return ((student, jax.lax.stop_gradient(teacher)),)


def stages(method: str, tap: str, outputs: Outputs) -> tuple[jax.Array, ...]:
  """Picks the features that a tap names, and checks that they have a form.

  Returns:
    For each layer vectors, tokens or maps, float32 (float64 for float64).
  """
  feats = taps.select(outputs.feats, tap)
  for i, stage in enumerate(feats):
    if stage.ndim not in _FORMS:
      raise UserError(
        f"{method} needs vectors (B, D), tokens (B, T, D) or maps (B, H, W, C),"
        f" but feature {i} of {tap!r} is {stage.shape}"
      )
  return tuple(map(working, feats))


def need_maps(method: str, tap: str, features: jax.Array) -> None:
  """Refuses features that are no maps.

  Example:
    >>> need_maps("nst", "stage_0", jnp.zeros((2, 4, 4, 8)))
  """
  if features.ndim != 4:
    raise UserError(
      f"{method} needs feature maps (B, H, W, C), but {tap} is"
      f" {features.shape}; tap a convolutional stage"
    )


def pair_features(
  method: str,
  inputs: Inputs,
  student_tap: str,
  teacher_tap: str,
  *,
  maps: bool = False,
) -> tuple[Pair, ...]:
  """Pairs the tapped layers of both networks, the last with the last.

  Args:
    student_tap: the student's layers, from shallow to deep.

  Returns:
    (student, teacher) features, as many pairs as the shallower network has
    layers, in working precision; the teacher's are constants.

  Raises:
    UserError: if there is no teacher, a tap names nothing, or a pair's
      features are of different ranks, or no maps where those are needed.

  Example:
    >>> student = Outputs(jnp.zeros((2, 3)), {"a": jnp.zeros((2, 4))})
    >>> teacher = Outputs(jnp.zeros((2, 3)), {"b": jnp.zeros((2, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> [(s.shape, t.shape) for s, t in pair_features("fitnets", inputs, "a", "b")]
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
    student: (B, H, W, C), (B, T, D) or (B, D) float.

  Returns:
    Both, alike but for the channels. Vectors and tokens are left as they are.

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


def need_two(method: str, pairs: tuple[Pair, ...]) -> None:
  """Refuses a single pair of layers where a method goes from one to the next.

  Example:
    >>> need_two("fsp", ((None, None), (None, None)))
  """
  if len(pairs) < 2:
    raise UserError(
      f"{method} needs two stages of both networks or more; the taps name one"
      " of the student or of the teacher"
    )


def memory_rows(method: str, examples: int | None, inputs: Inputs) -> jax.Array:
  """Says which rows of a memory of all training examples a batch writes.

  Args:
    inputs: whose index and mask say which examples the batch holds.

  Returns:
    (B,) int rows; N for padding, as writing behind the end is writing nothing.

  Example:
    >>> mask, index = jnp.array([True, False]), jnp.array([3, 1])
    >>> inputs = Inputs(None, None, jnp.zeros(2, int), 0, mask, index)
    >>> memory_rows("crd", 5, inputs).tolist()
    [3, 5]
  """
  if examples is None or inputs.index is None:
    raise UserError(
      f"{method} remembers every training example: it needs their number,"
      f" {method}(examples=50000), and batches that say which they hold"
    )
  if inputs.mask is None:
    return inputs.index
  return jnp.where(inputs.mask != 0, inputs.index, examples)


def classifier(
  name: str,
  whose: str,
  head: Mapping[str, jax.Array] | None,
  width: int,
  hint: str = "tap 'head:in'",
) -> tuple[jax.Array, jax.Array]:
  """Takes a linear classifier apart, and checks that it fits some features.

  Args:
    name: the method that needs it, for the message.
    head: {"kernel": (D, C), "bias": (C,)}, or None.
    width: D of the features that it is to be applied to.
    hint: what to do where it takes others.

  Returns:
    The kernel (D, C) and the bias (C,), float32.
  """
  if head is None:
    raise UserError(
      f"{name} needs the {whose}'s linear classifier, but this {whose} shows"
      " none: the dense layer 'head', or what classifier= names"
    )
  kernel = head["kernel"].astype(jnp.float32)
  if kernel.shape[0] != width:
    raise UserError(
      f"{name}: the {whose}'s classifier takes {kernel.shape[0]} features, and"
      f" the tapped ones have {width}; {hint}"
    )
  return kernel, head["bias"].astype(jnp.float32)


def _form(features: jax.Array) -> str:
  kind = _FORMS.get(features.ndim, "neither")
  return f"{features.shape}, {kind}"
