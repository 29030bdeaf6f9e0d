"""Contrastive representation distillation, with a memory of all examples."""

import math

import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.core.method import Inputs, Method, batch_mean, example_keys
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.methods._features import memory_rows, working
from kdjax.methods._modules import Embed
from kdjax.methods.labels import read_labels
from kdjax.methods.registry import register


@register("crd", objective="ce:1 + crd:0.8", reads=KINDS)
def crd(
  *,
  examples: int | None = None,
  width: int = 128,
  negatives: int | None = None,
  temperature: float = 0.07,
  momentum: float = 0.5,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Contrastive distillation of embeddings.

  loss = noise contrast of each example's own pair of embeddings with K others,
         the student's against the teacher's memory and the other way round

  Matched: the penultimate features: an example's two embeddings are to be more
  alike than those of examples of other classes. Learned: a linear embedding for
  either network, and, not by gradients, two memories of N embeddings of the
  training set, the constants Z of the contrast, kept from the first batch, and
  the labels seen. Default taps: `head:in`. Cost: 2 * N * width numbers to
  remember, and 2 * B * K inner products (up to N each, where N is small).

  Weight, width, K, temperature and momentum are the authors' code's. Negatives
  are drawn from examples of other classes as there, but with replacement, and
  an example's class is known from the first time it was seen; where examples have
  no class, or several, all others are negatives. Z is the first
  batch's mean over the whole memory, not over its samples: the same number with
  less noise.

  Args:
    examples: N, the number of training examples.
    width: of the embeddings, >= 1.
    negatives: K >= 1; None for 16384, or N - 1 if that is less.
    temperature: T > 0, no unit.
    momentum: share of an old row of the memory, in [0, 1].
    student_tap: names the student's features, (B, ...).
    teacher_tap: names the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a hyper-parameter outside its range.
    UserError: where the method is applied, if `examples` is not given, or the
      batch does not say which examples it holds.

  Example:
    >>> outputs = Outputs(None, {"head:in": jnp.ones((2, 3))})
    >>> inputs = Inputs(
    ...   outputs, outputs, jnp.array([0, 1]), jnp.array(0), index=jnp.array([4, 2])
    ... )
    >>> params, state = crd(examples=6).init(jax.random.key(0), inputs)
    >>> state["student"].shape, float(state["z_student"])
    ((6, 128), 0.0)

  Source:
    Tian, Krishnan, Isola 2020, arXiv:1910.10699; `kdjax.losses.crd`,
    `crd_update`.
  """
  _check(examples, width, negatives, temperature, momentum)
  embed = Embed(width)

  def features(inputs):
    memory_rows("crd", examples, inputs)
    teacher = working(taps.pick(inputs.teacher.feats, teacher_tap))
    return {
      "student": working(taps.pick(inputs.student.feats, student_tap)),
      "teacher": jax.lax.stop_gradient(teacher),
    }

  def init(rng, inputs):
    rng, key = jax.random.split(rng)
    params = {
      side: embed.init(jax.random.fold_in(rng, i), x)["params"]
      for i, (side, x) in enumerate(features(inputs).items())
    }
    return params, _memory(key, examples, width)

  def apply(params, state, inputs):
    embeddings = {
      side: embed.apply({"params": params[side]}, x)
      for side, x in features(inputs).items()
    }
    state = _noted(state, embeddings, temperature, inputs)
    values = losses.crd(
      embeddings["student"],
      embeddings["teacher"],
      state["student"],
      state["teacher"],
      _samples(state, inputs, negatives or min(16384, examples - 1)),
      temperature=temperature,
      z_student=state["z_student"],
      z_teacher=state["z_teacher"],
    )
    state = _remembered(state, embeddings, momentum, inputs)
    return batch_mean(values, inputs), state, {}

  return Method(init, apply, (student_tap,), (teacher_tap,), couples_batch=True)


def _memory(key: jax.Array, examples: int, width: int) -> dict:
  """Begins with random rows of about unit length, and nothing known."""
  bound = math.sqrt(3 / width)
  keys = jax.random.split(key, 3)
  student, teacher = (
    jax.random.uniform(
      key, (examples, width), jnp.float32, minval=-bound, maxval=bound
    )
    for key in keys[:2]
  )
  return {
    "student": student,
    "teacher": teacher,
    "z_student": jnp.float32(0.0),
    "z_teacher": jnp.float32(0.0),
    "classes": -1 - jnp.arange(examples),
    "key": keys[2],
  }


def _noted(state: dict, embeddings: dict, temperature, inputs: Inputs) -> dict:
  """Adds the batch's classes, and Z where this is the first batch.

  An example without a label is a class of its own, and so are all where labels are
  no classes of examples: numbers, vectors, those of pixels or of questions.
  """
  classes = state["classes"]
  numbers = -1 - inputs.index
  if _are_classes(inputs):
    labels = read_labels(inputs)
    numbers = jnp.where(labels >= 0, labels, numbers)
  rows = memory_rows("crd", classes.shape[0], inputs)
  numbers = classes.at[rows].set(numbers.astype(classes.dtype))
  return state | {
    "classes": numbers,
    "z_student": _constant(
      state["z_student"],
      embeddings["student"],
      state["teacher"],
      temperature,
      inputs,
    ),
    "z_teacher": _constant(
      state["z_teacher"],
      embeddings["teacher"],
      state["student"],
      temperature,
      inputs,
    ),
  }


def _are_classes(inputs: Inputs) -> bool:
  labels = inputs.labels
  return (
    labels is not None
    and labels.shape == inputs.index.shape
    and jnp.issubdtype(labels.dtype, jnp.integer)
  )


def _samples(state, inputs: Inputs, count: int) -> jax.Array:
  """Returns (B, 1 + K) rows: each example's own, then some of other classes."""
  classes = state["classes"]
  order = jnp.argsort(classes)
  sorted_classes = classes[order]

  def of_one(key, row):
    label = classes[row]
    first = jnp.searchsorted(sorted_classes, label, side="left")
    same = jnp.searchsorted(sorted_classes, label, side="right") - first
    others = jnp.maximum(classes.shape[0] - same, 1)
    places = jax.random.randint(key, (count,), 0, others)
    # The own class is one stretch of the order, and skipped.
    places += jnp.where(places >= first, same, 0)
    return jnp.append(row, order[jnp.minimum(places, classes.shape[0] - 1)])

  return jax.vmap(of_one)(example_keys(state["key"], inputs), inputs.index)


def _remembered(
  state: dict, embeddings: dict, momentum, inputs: Inputs
) -> dict:
  """Moves the memories' rows towards the batch's embeddings."""
  rows = memory_rows("crd", len(state["classes"]), inputs)
  return state | {
    side: losses.crd_update(
      state[side], jax.lax.stop_gradient(x), rows, momentum=momentum
    )
    for side, x in embeddings.items()
  }


def _constant(z, embeddings, memory, temperature, inputs: Inputs):
  """Keeps Z, or takes it from the first batch."""
  embeddings = jax.lax.stop_gradient(embeddings).astype(jnp.float32)

  def estimate():
    sums = jax.lax.map(
      lambda row: jnp.sum(jnp.exp(memory @ row / temperature)), embeddings
    )
    return jnp.minimum(batch_mean(sums, inputs), jnp.finfo(jnp.float32).max)

  return jax.lax.cond(z > 0, lambda: z, estimate)


def _check(examples, width, negatives, temperature, momentum):
  check_value("temperature", temperature, lambda value: value > 0)
  check_value("momentum", momentum, lambda value: 0 <= value <= 1)
  for name, value, least in (
    ("examples", examples, 2),
    ("width", width, 1),
    ("negatives", negatives, 1),
  ):
    is_set = value is not None or name == "width"
    if is_set and (not isinstance(value, int) or value < least):
      raise ValueError(f"{name} must be a whole number >= {least}: {value!r}")
