"""One of several classes for each text."""

import functools
from collections.abc import Sequence
from typing import Any

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.class_weights import read_class_weights
from kdjax.core.task import Task
from kdjax.tasks.classification import classification
from kdjax.tasks.registry import register


@register("text_classification")
def text_classification(
  classes: int,
  *,
  inputs: str = "tokens",
  mask: str = "mask",
  label: str = "label",
  class_weights: Sequence[float] | str | None = None,
) -> Task:
  """One of several classes for each text.

  As `classification`; the network is also handed the mask of the tokens that
  count, where the batch has one.

  Args:
    classes: how many there are.
    inputs: the entry of an item that holds the tokens, (B, T) int.
    mask: the entry that says which of them count, (B, T); it may be missing.
    label: the entry that holds the class, (B,) int; it may be missing.
    class_weights: as of `classification`.

  Returns:
    The task, scored by accuracy.

  Raises:
    UserError: for fewer than two classes, or an entry's name that is no text.

  Example:
    >>> task = text_classification(3)
    >>> tokens = jnp.zeros((2, 5), int)
    >>> batch = task.batch({"tokens": tokens, "mask": tokens == 0})
    >>> sorted(batch.inputs), batch.targets.tolist()
    (['mask', 'tokens'], [-1, -1])
  """
  classes = check_whole("classes", classes, least=2)
  for argument, name in {
    "inputs": inputs,
    "mask": mask,
    "label": label,
  }.items():
    check_text(argument, name)
  class_weights = read_class_weights(class_weights, classes)
  return _task(classes, inputs, mask, label, class_weights)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  classes: int, inputs: str, mask: str, label: str, class_weights: Any
) -> Task:
  plain = classification(
    classes, inputs=inputs, label=label, class_weights=class_weights
  )

  def batch(item):
    result = plain.batch(item)
    if mask not in item:
      return result
    return result._replace(inputs={**result.inputs, mask: item[mask]})

  return plain._replace(name="text_classification", batch=batch, samples=None)
