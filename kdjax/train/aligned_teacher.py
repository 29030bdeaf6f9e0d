"""A language model as a teacher of one with another tokenizer."""

import functools
from typing import Any

from kdjax.core.alignment import SLOTS, alignment_features
from kdjax.core.factored import factored, first_classes, over_rows
from kdjax.core.method import Outputs
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
) -> Teacher:
  """Makes a teacher that reads texts as `kdjax.data.text.beside` puts them.

  Args:
    network: which reads its own tokens.
    variables: what it has learned.
    vocabulary: how many token ids its tokenizer has.
    factored_from: as `kdjax.tasks.language_model` has it.
    dtype: as `live_teacher` has it.

  Returns:
    The teacher. A batch has what it reads as "teacher_inputs", and it shows logits
    in rows of its own, B * (T' - 1), for the losses of `kdjax.losses.aligned`.
  """
  live = live_teacher(network, variables, dtype=dtype)
  show = _show_aligned(live.show, vocabulary, factored_from)
  return live.replace(show=show, head=_no_head, in_rows=True)


# Equal networks make equal teachers, so that programs are compiled once.
@functools.cache
def _show_aligned(show, vocabulary: int, factored_from: int | None):
  def show_aligned(arrays, batch, step, taps) -> Outputs:
    inputs = dict(batch.teacher_inputs)
    slots = [inputs.pop(name) for name in SLOTS]
    batch = batch._replace(extra={**batch.extra, "teacher_inputs": inputs})

    def answered(arrays, batch):
      return show(arrays, batch, step, taps).answers, ()

    answers, _ = factored(answered, factored_from)(arrays, batch)
    answers = over_rows(_before_the_last, first_classes(answers, vocabulary))
    return Outputs(answers, alignment_features(slots, inputs["tokens"][:, 1:]))

  return show_aligned


def _before_the_last(x):
  return x[:, :-1].reshape(-1, x.shape[-1])


def _no_head(arrays) -> None:
  return None
