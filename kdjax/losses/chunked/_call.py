"""From the arguments of a loss to one pass over its tokens."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks
from kdjax.losses.chunked._mesh import divided, division
from kdjax.losses.chunked._passes import Plan, Side, Tokens, sums
from kdjax.losses.chunked._softmax import Vocabulary
from kdjax.losses.chunked.heads import ByClass
from kdjax.losses.chunked.stored import makes_logits
from kdjax.losses.helpers import class_ids

# Bytes that a chunk's logits of both sides and their gradient may take together,
# and those of the student's in a tile, which is to stay in a processor's cache.
CHUNK_BYTES = 2**28
_TILE_BYTES = 2**19


class Totals(NamedTuple):
  """What a loss finds: sums over tokens, so those of parts just add up.

  Attributes:
    loss: () float, what to differentiate:
      `divergence_weight * divergence + label_weight * cross_entropy`.
    tokens: () int32, the tokens that count; the sum of their weights, where the
      mask holds weights.
    divergence: () float, its sum over them; for the log: it has no gradient.
    cross_entropy: () float, its sum in nats over those with a label; for the
      log: it has no gradient.
    labelled: () int32, how many have a label; likewise.
  """

  loss: jax.Array
  tokens: jax.Array
  divergence: jax.Array
  cross_entropy: jax.Array
  labelled: jax.Array

  def sum(self) -> jax.Array:
    """Returns the loss, as an array of one loss a token would."""
    return self.loss

  def mean(self) -> jax.Array:
    """Returns loss / tokens; 0 with zero gradient where no token counts."""
    tokens = self.tokens.astype(self.loss.dtype)
    return self.loss / jnp.where(tokens > 0, tokens, 1.0)


class Form(NamedTuple):
  """What distinguishes one loss from another.

  Attributes:
    name: of the loss, for messages.
    rows: its arithmetic, from `_rows` or `_top`.
    keywords: its own ones that are compiled in.
    numbers: its own ones that may be traced.
  """

  name: str
  rows: Callable
  keywords: Mapping[str, Any]
  numbers: Mapping[str, Any]


def call(
  form: Form,
  student_hidden: jax.Array,
  student_head: jax.Array,
  teacher_hidden: jax.Array,
  teacher_head: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
  student_bias: jax.Array | None = None,
  teacher_bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  labels: jax.Array | None = None,
  label_weight: float | jax.Array = 1.0,
  divergence_weight: float | jax.Array = 1.0,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """Checks, flattens and pads the inputs, and runs the pass.

  Every loss takes these arguments and has these words about them.

  Args:
    form: which loss.
    student_hidden: (..., d) float, the states that the head reads.
    student_head: (d, V) float: logits are hidden @ head (+ bias).
    teacher_hidden: (..., d_t) float; a constant, as are the teacher's others.
    teacher_head: (d_t, V) float.
    temperature: T > 0; a scalar, or an array that broadcasts to the leading
      dimensions. A constant here: no gradient flows into it.
    t_squared: whether to multiply by T^2 (for each token its own T).
    student_bias: (V) float; -inf masks a class out, for the divergence on both
      sides.
    teacher_bias: (V) float.
    mask: (...) bool, True = counts, or weights >= 0, constants. Tokens that do
      not count give neither value nor gradient, whatever their hidden states
      hold.
    labels: (...) integer class ids; outside 0 to the whole V - 1 = no
      label.
    label_weight: of the labels' cross-entropy (at T = 1), beside the divergence.
    divergence_weight: of the divergence.
    chunk_size: tokens whose logits are held at a time, static; None for as many
      as keep three (tokens, V) arrays within 256 MiB.
    axis_name: the mapped axis over which the vocabulary is spread: heads and
      biases are then this device's columns, hidden states and labels the same on
      all its devices.

  Returns:
    The `Totals`: sums over the tokens that count.

  Raises:
    ValueError: at trace time, if shapes do not fit, or T is not positive.
  """
  name = form.name
  sides = (
    Side(jnp.asarray(student_hidden), _head(student_head), student_bias),
    Side(jnp.asarray(teacher_hidden), _head(teacher_head), teacher_bias),
  )
  _check(name, sides, mask, labels)
  _check_stored(form, teacher_head, axis_name)
  checks.positive(f"chunked.{name}", temperature=temperature)
  checks.weights(
    f"chunked.{name}",
    label_weight=label_weight,
    divergence_weight=divergence_weight,
  )
  if chunk_size is not None:
    chunk_size = checks.whole(f"chunked.{name}", "chunk_size", chunk_size)
  over = None if axis_name else division(*sides)
  if over is not None:
    return divided(
      call, form, over,
      student_hidden=student_hidden, student_head=student_head,
      teacher_hidden=teacher_hidden, teacher_head=teacher_head,
      temperature=temperature, t_squared=t_squared, student_bias=student_bias,
      teacher_bias=teacher_bias, mask=mask, labels=labels,
      label_weight=label_weight, divergence_weight=divergence_weight,
      chunk_size=chunk_size,
    )  # fmt: skip
  shape = sides[0].hidden.shape[:-1]
  dtype = functools.reduce(
    jnp.promote_types, [x.dtype for x in jax.tree.leaves(sides)], jnp.float32
  )
  numbers = {"label_weight": label_weight} | form.numbers
  # A weight of 1 is none.
  if not isinstance(divergence_weight, float) or divergence_weight != 1:
    numbers["divergence_weight"] = divergence_weight
  per_token = _math.per_row(temperature, shape, dtype, name)
  per_token, numbers = _constants(name, (per_token, numbers), dtype)
  vocabulary = Vocabulary(sides[0].head.shape[1], axis_name)
  parts = 1 if axis_name is None else jax.lax.axis_size(axis_name)
  checks.classes(f"chunked.{name}", sides[0].head, parts=parts)
  if labels is not None:
    labels = _labels(labels, parts, vocabulary, student_bias)
  chunk, tile = sizes(math.prod(shape), vocabulary, dtype, chunk_size)
  mask, weights = _read(name, mask, shape, dtype)
  per_token = jnp.broadcast_to(per_token, shape)
  tokens = Tokens(per_token, mask, labels, weights)
  plan = Plan(
    rows=form.rows,
    keywords=tuple(form.keywords.items()),
    t_squared=t_squared,
    # Without a bias there is no -inf.
    same=teacher_bias is None
    and isinstance(temperature, int | float)
    and temperature == 1,
    vocabulary=vocabulary,
    chunk=chunk,
    tile=tile,
    dtype=dtype,
  )
  return _totals(plan, *sides, tokens, numbers)


def _labels(labels, parts, vocabulary, bias):
  """Returns the labels, -1 for what is no class or one that the student masks."""
  labels = class_ids(labels, parts * vocabulary.size)
  if bias is None:
    return labels
  here = labels - vocabulary.start()
  inside = (here >= 0) & (here < vocabulary.size)
  dead = inside & (bias[jnp.where(inside, here, 0)] == -jnp.inf)
  return jnp.where(vocabulary.total(dead.astype(jnp.int32)) > 0, -1, labels)


def _read(name, mask, shape, dtype):
  """Returns which tokens count, and their weights if they have some."""
  if mask is None:
    return jnp.ones(shape, bool), None
  if jnp.issubdtype(mask.dtype, jnp.bool_):
    return mask, None
  checks.weights(f"chunked.{name}", mask=mask)
  if jnp.issubdtype(mask.dtype, jnp.floating):
    mask = _constants(name, mask, dtype)
  return mask != 0, mask


@functools.partial(jax.jit, static_argnums=0)
def _totals(plan, student, teacher, tokens, numbers):
  labels, mask, weights = tokens.labels, tokens.mask, tokens.weights
  has_label = mask & (labels >= 0) if labels is not None else mask & False
  flat = functools.partial(_flat, plan.chunk)
  student, teacher = (
    side._replace(hidden=flat(side.hidden, side.hidden.shape[-1], 0))
    for side in (student, jax.lax.stop_gradient(teacher))
  )
  tokens = Tokens(
    flat(jnp.where(mask, tokens.temperature, 1.0), 1, 1),
    flat(mask, 1, False),
    None if labels is None else flat(jnp.where(has_label, labels, -1), 1, -1),
    None if weights is None else flat(weights.astype(plan.dtype), 1, 0),
  )
  plan, student = _varying(plan, student, (teacher, tokens, numbers))
  results = sums(plan, student, teacher, tokens, numbers)
  return Totals(
    results.loss,
    _count(mask, weights),
    jax.lax.stop_gradient(results.divergence),
    jax.lax.stop_gradient(results.cross_entropy),
    _count(has_label, weights),
  )


def _count(mask, weights):
  weights = mask if weights is None else jnp.where(mask, weights, 0)
  floats = jnp.issubdtype(weights.dtype, jnp.floating)
  return jnp.sum(weights, dtype=weights.dtype if floats else jnp.int32)


def sizes(
  tokens: int, vocabulary: Vocabulary, dtype, chunk_size: int | None
) -> tuple[int, int]:
  """Chooses how many tokens to hold the logits of.

  Args:
    tokens: N.
    vocabulary: the classes here.
    dtype: of the logits.
    chunk_size: what the caller wants, or None: what CHUNK_BYTES hold.

  Returns:
    Tokens a chunk, and rows a tile, which divides it.
  """
  row = vocabulary.size * jnp.dtype(dtype).itemsize
  chunk_limit = chunk_size or max(CHUNK_BYTES // (3 * row), 1)
  chunk = -(-tokens // max(-(-tokens // chunk_limit), 1))
  if vocabulary.axis_name is not None or jax.default_backend() != "cpu":
    # Few long kernels, and few collectives.
    return max(chunk, 1), max(chunk, 1)
  tile = max(1, min(chunk, _TILE_BYTES // row))
  return max(-(-chunk // tile), 1) * tile, tile


def _flat(chunk, x, width, fill):
  """Returns (N, width), filled up to whole chunks."""
  x = x.reshape(-1, width)
  missing = -len(x) % chunk if len(x) else chunk
  if not missing:
    return x
  return jnp.pad(x, ((0, missing), (0, 0)), constant_values=fill)


def _varying(plan, student, others):
  """Returns plan and student for use where JAX tracks what varies over devices.

  There the student's arrays are made to vary as the gradient will: each device
  has its part, and JAX adds the parts of what came in the same on all devices.
  """
  axes = set().union(*map(_axes_of, jax.tree.leaves((student, others))))
  axis = plan.vocabulary.axis_name
  tracked = axis is not None and axis in _axes_of(jax.lax.axis_index(axis))
  if tracked:
    axes.add(axis)

  def spread(x):
    missing = tuple(sorted(axes - _axes_of(x)))
    return jax.lax.pcast(x, missing, to="varying") if missing else x

  plan = dataclasses.replace(plan, vary=tuple(sorted(axes)), tracked=tracked)
  return plan, jax.tree.map(spread, student)


def _axes_of(x):
  """Returns the mapped axes over which x is known to vary."""
  return jax.typeof(x).manual_axis_type.varying


def _constants(name, numbers, dtype):
  """Returns them as arrays that refuse to be differentiated."""

  @jax.custom_jvp
  def constant(x):
    return x

  @constant.defjvp
  def refuse(primals, tangents):
    raise NotImplementedError(
      f"chunked.{name}: the temperature, weights and shares are constants; take"
      f" kdjax.losses.{name} on the logits for their gradients, or"
      " jax.lax.stop_gradient"
    )

  return jax.tree.map(lambda x: constant(jnp.asarray(x, dtype)), numbers)


def _head(head):
  kept = isinstance(head, ByClass) or makes_logits(head)
  return head if kept else jnp.asarray(head)


def _check_stored(form, head, axis_name):
  """Refuses what the stored largest classes of a teacher do not tell."""
  if not makes_logits(head):
    return
  if form.keywords.get("k", 0) > getattr(head, "k", head.shape[1]):
    raise ValueError(
      f"chunked.{form.name}: k={form.keywords['k']}, and {head.k} classes of the"
      " teacher are stored"
    )
  if axis_name is not None:
    raise ValueError(
      f"chunked.{form.name}: stored classes of a teacher, or several teachers, are"
      f" of the whole vocabulary, which lies in parts along {axis_name!r}"
    )


def _check(name, sides, mask, labels):
  """Raises a ValueError unless all shapes fit."""
  student, teacher = sides
  leading = student.hidden.shape[:-1]
  for who, side in zip(("student", "teacher"), sides, strict=True):
    fits = (
      side.head.ndim == 2
      and side.hidden.shape[-1:] == side.head.shape[:1]
      and (side.bias is None or side.bias.shape == side.head.shape[1:])
    )
    if not fits:
      bias = "" if side.bias is None else f" and a bias {side.bias.shape}"
      raise ValueError(
        f"chunked.{name}: the {who} must be hidden states (..., d), a head"
        f" (d, V) and no bias or one (V,), got {side.hidden.shape} and"
        f" {side.head.shape}{bias}"
      )
  if leading != teacher.hidden.shape[:-1] or (
    student.head.shape[1] != teacher.head.shape[1]
  ):
    raise ValueError(
      f"chunked.{name}: student and teacher must have the same tokens and the"
      f" same vocabulary, got {student.hidden.shape} x {student.head.shape} and"
      f" {teacher.hidden.shape} x {teacher.head.shape}"
    )
  for argument, array in (("mask", mask), ("labels", labels)):
    if array is not None and array.shape != leading:
      raise ValueError(
        f"chunked.{name}: {argument} must have the tokens' shape {leading}, got"
        f" {array.shape}"
      )
  if labels is not None and not jnp.issubdtype(labels.dtype, jnp.integer):
    raise ValueError(
      f"chunked.{name}: labels must be integer class ids, got {labels.dtype}"
    )
