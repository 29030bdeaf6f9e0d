"""What a network makes of a batch: as it is measured, and as it learns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.factored import factored, over_rows
from kdjax.core.method import Inputs, Outputs
from kdjax.core.task import Batch, Rows, Task
from kdjax.taps.network import Network
from kdjax.train.devices import collectives
from kdjax.train.devices.batch_norm import over_the_batch
from kdjax.train.devices.collectives import Axis
from kdjax.train.devices.dropout import by_example


def forward(
  network: Network,
  variables: Mapping[str, Any],
  batch: Batch,
  taps: Sequence[str],
  task: Task,
) -> tuple[Outputs, Rows]:
  """Shows a network a batch, without dropout or updates.

  Returns:
    Its outputs, with one answer a row, and the rows.
  """
  outputs, (features, _) = _apply(network, task, variables, batch, taps=taps)
  rows = task.rows(outputs, batch)
  return Outputs(rows.answers, features), rows


def train_forward(
  network: Network,
  variables: Mapping[str, Any],
  batch: Batch,
  taps: Sequence[str],
  task: Task,
  *,
  key: jax.Array,
  axis_name: Axis,
) -> tuple[Outputs, Rows, dict]:
  """Shows a network a batch as it sees it while it learns.

  Args:
    key: PRNG key of this step, the same on all devices.

  Returns:
    Its outputs, the task's rows of them, and its collections (batch statistics)
    after that.
  """
  with (
    nn.intercept_methods(by_example(batch.position)),
    nn.intercept_methods(over_the_batch(batch.weight, axis_name)),
  ):
    outputs, (features, updates) = _apply(
      network, task, variables, batch,
      taps=taps, train=True, rngs={"dropout": key},
    )  # fmt: skip
  rows = task.rows(outputs, batch)
  if "share" in batch.extra:
    partners = batch._replace(targets=batch.extra["partner_targets"])
    targets = task.rows(outputs, partners).targets
    rows = rows._replace(partner_targets=targets)
  collections = {name: updates[name] for name in updates if name != "params"}
  return Outputs(rows.answers, features), rows, collections


def _apply(network, task, variables, batch, **options):
  """Returns outputs, Factored where the task says so, and (features, variables)."""

  def run(variables, inputs):
    outputs, *rest = network.apply(variables, inputs, **options)
    return outputs, tuple(rest)

  return factored(run, task.factored_from)(variables, batch.inputs)


def without_padding(
  outputs: Outputs | None, tokens: jax.Array | None
) -> Outputs | None:
  """Puts zeros in the place of features of a text's padding.

  Whatever stands there, nan too, has then no part in a loss or its gradient.

  Args:
    tokens: (B, T) bool, which tokens are no padding; None where all count.
  """
  if outputs is None or tokens is None:
    return outputs

  def one(tap, x):
    of_tokens = getattr(x, "ndim", 0) > 2 and x.shape[:2] == tokens.shape
    if not of_tokens or tap.partition("#")[0].endswith(":weights"):
      return x
    shape = (*tokens.shape, *[1] * (x.ndim - 2))
    return jnp.where(tokens.reshape(shape), x, 0)

  return outputs._replace(
    feats={tap: one(tap, x) for tap, x in outputs.feats.items()},
    members=tuple(without_padding(one, tokens) for one in outputs.members),
  )


def gather(inputs: Inputs, axis_name: Axis) -> Inputs:
  """Collects the global batch; steps and classifiers are everyone's already.

  Args:
    axis_name: the mapped axis of devices, or a group of them.

  Returns:
    The inputs of all devices, in their order.
  """

  return _over_rows(lambda x: collectives.all_gather(x, axis_name), inputs)


def first_examples(inputs: Inputs, examples: int) -> Inputs:
  """Leaves out what comes behind the first examples of a batch.

  Args:
    inputs: whose arrays have a leading axis of examples, or of the rows of all
      of them in order.
  """
  size = len(inputs.index)
  return _over_rows(lambda x: x[: len(x) * examples // size], inputs)


def _over_rows(function: Callable, inputs: Inputs) -> Inputs:
  alone = dict.fromkeys(("step", "head", "student_head"))
  as_they_are = {name: getattr(inputs, name) for name in alone}
  new = over_rows(function, inputs._replace(**alone))
  return new._replace(**as_they_are)
