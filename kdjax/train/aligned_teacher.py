"""A language model as a teacher of one with another tokenizer."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.alignment import SLOTS, alignment_features
from kdjax.core.factored import factored, first_classes, over_rows
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, has_weight
from kdjax.core.teacher import Teacher
from kdjax.taps.network import Network
from kdjax.train.teacher import live_teacher


def aligned_teacher(
  network: Network,
  variables: Any,
  *,
  vocabulary: int,
  factored_from: int | None = 8192,
  dtype: Any = None,
  read: Callable[..., dict[str, np.ndarray]] | None = None,
) -> Teacher:
  """Makes a teacher that reads texts as `kdjax.data.text.beside` puts them.

  Args:
    network: which reads its own tokens.
    variables: what it has learned.
    vocabulary: how many token ids its tokenizer has.
    factored_from: as `kdjax.tasks.language_model` has it.
    dtype: as `live_teacher` has it.
    read: (index (B,), tokens (B, T), counts (B, T)) -> what the teacher reads of a
      batch without "teacher_inputs", such as the `reread` of `kdjax.data.text`:
      numpy arrays, a text's the same in every batch. Tokens are -1 behind the end.
      It runs on the host, in the middle of a step. None where all batches have them.

  Returns:
    The teacher. It shows logits in rows of its own, B * (T' - 1), for the losses of
    `kdjax.losses.aligned`.
  """
  live = live_teacher(network, variables, dtype=dtype)
  return as_aligned(
    live, vocabulary=vocabulary, factored_from=factored_from, read=read
  )


def as_aligned(
  teacher: Teacher,
  *,
  vocabulary: int,
  factored_from: int | None = 8192,
  read: Callable[..., dict[str, np.ndarray]] | None = None,
) -> Teacher:
  """Makes an aligned teacher of one that answers (B, T', V) to its own tokens.

  Args:
    teacher: a live one, or what a cache has of it.
    vocabulary: as `aligned_teacher` takes it.
    factored_from: as `aligned_teacher` takes it.
    read: as `aligned_teacher` takes it.
  """
  show = _show_aligned(teacher.show, vocabulary, factored_from, read)
  return teacher.replace(show=show, head=_no_head, in_rows=True)


# Equal networks make equal teachers, so that programs are compiled once.
@functools.cache
def _show_aligned(show, vocabulary: int, factored_from: int | None, read):
  def show_aligned(arrays, batch, step, taps) -> Outputs:
    stored = batch.extra.get("teacher_inputs")
    inputs = _read(read, batch) if read and not stored else dict(stored)
    slots = [inputs.pop(name) for name in SLOTS]
    batch = batch._replace(extra={**batch.extra, "teacher_inputs": inputs})

    def answered(arrays, batch):
      return show(arrays, batch, step, taps).answers, ()

    answers, _ = factored(answered, factored_from)(arrays, batch)
    answers = over_rows(_before_the_last, first_classes(answers, vocabulary))
    return Outputs(answers, alignment_features(slots, inputs["tokens"][:, 1:]))

  return show_aligned


def _read(read, batch: Batch) -> dict[str, jax.Array]:
  """Lets the host read a batch's texts for the teacher."""
  inputs = batch.inputs
  tokens = jnp.where(inputs["mask"] != 0, inputs["tokens"], -1)
  # The first token is no target.
  counts = jnp.pad(batch.extra["counts"], ((0, 0), (1, 0)))
  counts &= has_weight(batch.weight)[:, None]

  def on_host(index, *rows):
    index = np.asarray(index)
    texts = [np.stack([*map(np.asarray, x)], axis=-2) for x in _halves(rows)]
    flat = (x.reshape(-1, x.shape[-1]) for x in texts)
    arrays = read(index.reshape(-1), *flat)
    return {
      name: x.reshape(*index.shape, x.shape[-1]) for name, x in arrays.items()
    }

  shapes = read(
    *(np.zeros((1, *x.shape[1:]), int) for x in (batch.index, tokens, counts))
  )
  form = {
    name: jax.ShapeDtypeStruct((len(tokens), *x.shape[1:]), x.dtype)
    for name, x in shapes.items()
  }
  # Each row by itself: the callbacks of several CPU devices wait for each other
  # for ever where an argument has more than some 100 kB.
  return jax.pure_callback(
    on_host,
    form,
    batch.index,
    *tokens,
    *counts,
    vmap_method="broadcast_all",
  )


def _halves(rows):
  count = len(rows) // 2
  return rows[:count], rows[count:]


def _before_the_last(x):
  return x[:, :-1].reshape(-1, x.shape[-1])


def _no_head(arrays) -> None:
  return None
