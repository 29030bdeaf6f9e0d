"""One training step on one device: who learns what from whom.

Steps are written per device. They reduce over the devices themselves, as
(sum, count), so that ragged batches and any number of devices agree.
"""

import jax

from kdjax.core.factored import with_matrix, without_matrix
from kdjax.core.method import Method, Metrics, Outputs
from kdjax.core.task import Batch
from kdjax.train import gradients
from kdjax.train.accumulate import over_pieces
from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis
from kdjax.train.objective import (
  counted,
  joined,
  losses_of,
  score_of,
  share_of,
  totals_of,
)
from kdjax.train.state import TrainState, descend


def take_step(
  state: TrainState,
  method: Method,
  batch: Batch,
  teacher: Outputs | None,
  *,
  rng: jax.Array,
  axis_name: Axis = None,
  head: dict | None = None,
  gradient_metrics: bool = False,
  pieces: int = 1,
  examples: int | None = None,
) -> tuple[TrainState, Metrics]:
  """Takes one step of gradient descent on a method's loss.

  With a method that reads only labels this is supervised training.

  Args:
    state: the student's state.
    method: the loss.
    batch: this device's share of the batch.
    teacher: the teacher's outputs of it, or None.
    rng: PRNG key of this step, the same on all devices.
    axis_name: the mapped axis of devices, or a group of them; None outside of
      one.
    head: the teacher's classifier, or None.
    gradient_metrics: whether to measure each term's gradient, see
      `gradients.by_term`; the step then differentiates term by term.
    pieces: how many pieces of its batch a device looks at, one after the other.
      Their gradients are summed: the same step in less memory, but that batch
      normalisation sees a piece at a time; it remembers their average.
    examples: how many there are in the global batch, where what comes behind
      them is padding; None where the program does not know.

  Returns:
    The new state, and metrics over the global batch as (sum, count): "loss",
    the task's score, and the method's own.

  Raises:
    ValueError: at trace time, for pieces of what cannot be cut.
  """
  totals = totals_of(state.task, batch, axis_name)
  # A teacher's rows are cut into pieces, its matrix is not.
  teacher, matrix = without_matrix(teacher)
  if pieces > 1 and (method.couples_batch or gradient_metrics):
    raise ValueError(
      "losses that relate the examples of a batch, and the gradients of single"
      " terms, need the whole batch at once"
    )

  def look(batch, teacher):
    return _look(
      state,
      method,
      batch,
      with_matrix(teacher, matrix),
      totals,
      rng=rng,
      axis_name=axis_name,
      head=head,
      gradient_metrics=gradient_metrics,
      examples=examples,
    )

  (grads, metrics), collections, method_state = over_pieces(
    look, pieces, batch, teacher
  )
  if not gradient_metrics:
    grads = collectives.psum(grads, axis_name)
  frozen = None if method.frozen is None else method.frozen(state.step)
  state = descend(state, grads, frozen)
  state = state.replace(
    collections=joined(collections, axis_name), method_state=method_state
  )
  return state, collectives.psum(metrics, axis_name)


def _look(
  state,
  method,
  batch,
  teacher,
  totals,
  *,
  rng,
  axis_name,
  head,
  gradient_metrics,
  examples,
):
  """What a batch, or a piece of it, adds to a step.

  Returns ((gradient, metrics), collections times its share, method's state); the
  gradient is over all devices only where it was measured.
  """
  counts = counted(state.task, batch, totals)

  def objective(params):
    return losses_of(
      method,
      state.network,
      state.task,
      params,
      (state.collections, state.method_state),
      teacher,
      batch,
      counts,
      step=state.step,
      key=rng,
      axis_name=axis_name,
      head=head,
      examples=examples,
      apart=gradient_metrics,
    )

  if gradient_metrics:
    grads, aux, term_metrics = gradients.by_term(
      objective, state.params, lambda tree: collectives.psum(tree, axis_name)
    )
  else:
    (grads, aux), term_metrics = gradients.of_sum(objective, state.params), {}
  rows, (collections, method_state), metrics = aux
  metrics |= term_metrics | score_of(state.task, rows, batch)
  return (grads, metrics), share_of(collections, counts), method_state
