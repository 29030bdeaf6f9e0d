"""A network's answers to a batch, as they are measured."""

from typing import Any

from kdjax.core.factored import factored
from kdjax.core.task import Batch, Rows, Task


def rows_of(network: Any, variables: Any, batch: Batch, task: Task) -> Rows:
  """The task's rows of a network, Factored where the task says so."""

  def answered(variables, inputs):
    return network.apply(variables, inputs)[0], ()

  outputs, _ = factored(answered, task.factored_from)(variables, batch.inputs)
  return task.rows(outputs, batch)
