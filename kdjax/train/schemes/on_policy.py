"""On-policy distillation: a student is taught on what it writes itself."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.method import Metrics
from kdjax.core.task import Batch, as_batch, has_weight
from kdjax.core.teacher import observe
from kdjax.train.devices import collectives
from kdjax.train.loader import repeat_steps
from kdjax.train.schemes.scheme import Scheme
from kdjax.train.state import TrainState, create_state, variables
from kdjax.train.step import take_step

# What a text is, by name: (B, T) arrays, and the weight of each, (B,).
Texts = dict[str, jax.Array]


class Writing(NamedTuple):
  """A student, and the texts that it learns from.

  Attributes:
    student: its state.
    texts: of the whole batch, as they were last written; {} where each step
      writes anew.
  """

  student: TrainState
  texts: Texts


def on_policy(
  write: Callable[..., Mapping[str, jax.Array]],
  *,
  new_tokens: int,
  share: float = 1.0,
  teacher_share: float = 0.0,
  updates: int = 1,
  batch_size: int | None = None,
  pieces: int = 1,
) -> Scheme:
  """Makes a scheme in which the student learns from texts of its own.

  In each step the student, with the weights that it has, goes on from the
  prompts of the batch, and the teacher answers to what it wrote: one program, one
  set of weights. Of a text the generated tokens alone count, that which ends it
  included; they are nobody's labels, so that no cross-entropy learns from them. A
  batch whose texts are not the student's has the file's answers, with labels.

  A row of the task language_model is a prompt, P tokens at most, with an answer
  behind it; the prompt ends where the first target stands. Rows have the length P
  + N. What is written depends on the member's seed, the step and the row's index.

  Cost: N forward passes of one token, and the teacher's of each member's texts.

  Args:
    write: (network, variables, {"tokens", "mask"} (B, P), key=, step=, ids=,
      teacher=) -> "tokens", "mask", "counts" (B, P + N), as those of
      `kdjax.models.generation.rollout`; of the teacher it is handed what it knows.
      A prompt of which nothing counts is left empty.
    new_tokens: N, the most tokens that are written.
    share: probability that a batch is the student's own, in (0, 1]; each draws.
    teacher_share: of what `write` draws from, the teacher's; methods are told.
    updates: steps that are taken on the same texts, which are then written with
      weights 0, 1, ..., updates - 1 steps old.
    batch_size: of all devices; needed for more than one update.
    pieces: see `take_step`.

  Returns:
    The scheme; its state is `Writing`.

  Raises:
    ValueError: for a share outside (0, 1], fewer than one new token or update, or
      a batch size that is missing.

  Example:
    >>> on_policy(None, new_tokens=8, share=0.5).asks
    True

  Source:
    Agarwal et al. 2024, arXiv:2306.13649 (GKD; share is its lambda).
  """
  if not 0 < share <= 1:
    raise ValueError(f"share must be in (0, 1], got {share}")
  if new_tokens < 1 or updates < 1:
    raise ValueError(
      "new_tokens and updates must be at least 1, got"
      f" {new_tokens} and {updates}"
    )
  if updates > 1 and batch_size is None:
    raise ValueError("batch_size is needed for more than one update")
  return Scheme(
    create=partial(_create, batch_size if updates > 1 else None),
    step=partial(
      _step, write, new_tokens, (share, teacher_share), updates, pieces
    ),
    network=lambda state: variables(state.student),
    adapt_loader=partial(repeat_steps, times=updates) if updates > 1 else None,
    asks=True,
  )


def _create(batch_size, *arguments, inputs, **options) -> Writing:
  state = create_state(*arguments, inputs=inputs, **options)
  if batch_size is None:
    return Writing(state, {})
  shape = (batch_size, inputs["tokens"].shape[1])
  flags = jnp.zeros(shape, bool)
  tokens = jnp.zeros(shape, jnp.int32)
  weight = jnp.zeros(batch_size, bool)
  return Writing(
    state,
    {"tokens": tokens, "labels": tokens, "mask": flags, "counts": flags}
    | {"weight": weight},
  )


def _step(
  write,
  new_tokens,
  shares,
  updates,
  pieces,
  state,
  method,
  batch,
  teacher,
  *,
  rng,
  axis_name=None,
  **options,
) -> tuple[Writing, Metrics]:
  student = state.student
  age = student.step % updates
  key, chance = jax.random.split(rng)
  own = jax.random.uniform(chance) < shares[0]
  filed = _filed(batch)
  length = filed["tokens"].shape[1] - new_tokens
  # Who is not to write has no prompt: the loop over tokens ends at once.
  due = own & (age == 0)
  asked = {
    "tokens": filed["tokens"][:, :length],
    "mask": _prompts(batch)[:, :length] & due,
  }
  written = write(
    student.network,
    variables(student),
    asked,
    key=key,
    step=student.step,
    ids=batch.index,
    teacher=teacher.arrays,
  )
  texts = jax.tree.map(
    partial(jnp.where, own), dict(written) | _unlabelled(filed), filed
  )
  kept = state.texts
  if updates > 1:
    everyone = jax.tree.map(
      lambda x: collectives.all_gather(x, axis_name), texts
    )
    kept = jax.tree.map(partial(jnp.where, age == 0), everyone, kept)
    texts = jax.tree.map(lambda x: x[batch.position], kept)
  drawn = texts["counts"] & (texts["labels"] < 0)
  shown = as_batch(
    student.task,
    texts
    | {
      "index": batch.index,
      "position": batch.position,
      "drawn": jnp.where(drawn, texts["tokens"], -1)[:, 1:],
      "teacher_share": jnp.full(batch.index.shape, shares[1]),
    },
  )
  student, metrics = take_step(
    student,
    method,
    shown,
    observe(
      teacher,
      shown,
      method.teacher_taps,
      step=student.step,
      task=student.task,
    ),
    rng=rng,
    axis_name=axis_name,
    pieces=pieces,
    **options,
  )
  metrics |= _told(texts, age, axis_name)
  return Writing(student, kept), metrics


def _filed(batch: Batch) -> Texts:
  """The file's rows: tokens, what of them is learned, and as what."""
  beside = ((0, 0), (1, 0))
  return {
    "tokens": batch.inputs["tokens"].astype(jnp.int32),
    "mask": batch.inputs["mask"] != 0,
    "counts": jnp.pad(batch.targets >= 0, beside),
    "labels": jnp.pad(batch.targets, beside, constant_values=-1),
    "weight": has_weight(batch.weight),
  }


def _prompts(batch: Batch) -> jax.Array:
  """Which tokens stand before the first that is learned, (B, T) bool."""
  last = jnp.argmax(batch.targets >= 0, axis=1)
  places = jnp.arange(batch.inputs["tokens"].shape[1])
  return (places[None] <= last[:, None]) & has_weight(batch.weight)[:, None]


def _unlabelled(filed: Texts) -> Texts:
  return {
    "labels": jnp.full_like(filed["labels"], -1),
    "weight": filed["weight"],
  }


def _told(texts: Texts, age: jax.Array, axis_name) -> Metrics:
  """What the log says of a step's texts."""
  alone = jnp.float32(1)
  counted = texts["counts"] & texts["weight"][:, None]
  own = counted & (texts["labels"] < 0)
  rows = jnp.sum(jnp.any(own, axis=1), dtype=jnp.float32)
  tokens, rows = collectives.psum(
    (jnp.sum(own, dtype=jnp.float32), rows), axis_name
  )
  return {
    "own_texts": (jnp.where(rows > 0, 1.0, 0.0), alone),
    "staleness": (age.astype(jnp.float32), alone),
    "tokens_written": (tokens, rows),
  }
