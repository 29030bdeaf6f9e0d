"""Texts that a student writes itself: written, laid beside the file's, learned from."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from kdjax.core.method import Method, Metrics
from kdjax.core.task import Batch, as_batch, has_weight
from kdjax.core.teacher import Teacher, observe
from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis
from kdjax.train.state import TrainState, variables
from kdjax.train.step import take_step

# What a text is, by name: (B, T) arrays, and (B,) the weight of each and the place of
# its prompt in the training set.
Texts = dict[str, jax.Array]
# (network, variables, {"tokens", "mask"} (B, P), key=, step=, ids=, teacher=) ->
# "tokens", "mask", "counts" (B, P + N).
Write = Callable[..., Mapping[str, jax.Array]]


def no_texts(count: int, inputs: Mapping[str, jax.Array]) -> Texts:
  """Makes room for some texts.

  Args:
    inputs: with "tokens" (..., T), for their length.
  """
  shape = (count, inputs["tokens"].shape[1])
  flags = jnp.zeros(shape, bool)
  tokens = jnp.zeros(shape, jnp.int32)
  return {
    "tokens": tokens,
    "labels": tokens,
    "mask": flags,
    "counts": flags,
    "weight": jnp.zeros(count, bool),
    "index": jnp.zeros(count, jnp.int32),
  }


def of_file(batch: Batch) -> Texts:
  """The file's rows: tokens, what of them is learned, and as what."""
  # The first token is no target.
  first = ((0, 0), (1, 0))
  return {
    "tokens": batch.inputs["tokens"].astype(jnp.int32),
    "mask": batch.inputs["mask"] != 0,
    "counts": jnp.pad(batch.targets >= 0, first),
    "labels": jnp.pad(batch.targets, first, constant_values=-1),
    "weight": has_weight(batch.weight),
    "index": batch.index.astype(jnp.int32),
  }


def of_student(
  write: Write,
  student: TrainState,
  batch: Batch,
  teacher: Teacher,
  *,
  new_tokens: int,
  due: jax.Array,
  key: jax.Array,
) -> Texts:
  """Lets a student go on from a batch's prompts.

  Args:
    batch: rows of the length P + N, each a prompt with an answer behind it, which
      begins where the first target stands.
    new_tokens: N.
    due: () bool; where it is False nothing is written, which takes no time but that
      of reading the prompts.
    key: PRNG key of the step.
  """
  length = batch.inputs["tokens"].shape[1] - new_tokens
  last = jnp.argmax(batch.targets >= 0, axis=1)[:, None]
  weight = has_weight(batch.weight)
  prompts = {
    "tokens": batch.inputs["tokens"][:, :length].astype(jnp.int32),
    # Who has no prompt does not write: the loop over tokens ends at once.
    "mask": (jnp.arange(length)[None] <= last) & weight[:, None] & due,
  }
  written = write(
    student.network,
    variables(student),
    prompts,
    key=key,
    step=student.step,
    ids=batch.index,
    teacher=teacher.arrays,
  )
  labels = jnp.full(batch.inputs["tokens"].shape, -1, jnp.int32)
  index = batch.index.astype(jnp.int32)
  return dict(written) | {"labels": labels, "weight": weight, "index": index}


def either(is_first: jax.Array, first: Texts, other: Texts) -> Texts:
  """Takes the one texts or the others, by a () bool."""
  return jax.tree.map(partial(jnp.where, is_first), first, other)


def take(texts: Texts, rows: jax.Array) -> Texts:
  """Takes some of the texts."""
  return jax.tree.map(lambda x: x[rows], texts)


def of_whole_batch(texts: Texts, axis_name: Axis) -> Texts:
  """Collects the texts of all devices."""
  return jax.tree.map(lambda x: collectives.all_gather(x, axis_name), texts)


def learn(
  student: TrainState,
  method: Method,
  texts: Texts,
  batch: Batch,
  teacher: Teacher,
  *,
  teacher_share: float = 0.0,
  axis_name: Axis = None,
  **options,
) -> tuple[TrainState, Metrics]:
  """Takes a step on texts, to which the teacher answers.

  Args:
    texts: of this device; where they have no labels they are the student's.
    batch: in the place of which they stand.
    teacher_share: of what they were drawn from, the teacher's.
    **options: those of `take_step`.
  """
  drawn = texts["counts"] & (texts["labels"] < 0)
  own_batch = as_batch(
    student.task,
    texts
    | {
      "position": batch.position,
      "drawn": jnp.where(drawn, texts["tokens"], -1)[:, 1:],
      "teacher_share": jnp.full(batch.index.shape, teacher_share),
    },
  )
  answers = observe(
    teacher,
    own_batch,
    method.teacher_taps,
    step=student.step,
    task=student.task,
  )
  student, metrics = take_step(
    student, method, own_batch, answers, axis_name=axis_name, **options
  )
  return student, metrics | _metrics(texts, drawn, axis_name)


def _metrics(texts: Texts, drawn: jax.Array, axis_name: Axis) -> Metrics:
  """What the log says of a step's texts."""
  own = drawn & texts["weight"][:, None]
  rows = jnp.sum(jnp.any(own, axis=1), dtype=jnp.float32)
  tokens, rows = collectives.psum(
    (jnp.sum(own, dtype=jnp.float32), rows), axis_name
  )
  return {
    "own_texts": (jnp.where(rows > 0, 1.0, 0.0), jnp.float32(1)),
    "tokens_written": (tokens, rows),
  }
