"""One of several classes for each text."""

import functools
from collections.abc import Mapping, Sequence
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
  segments: str = "segments",
  label: str = "label",
  class_weights: Sequence[float] | str | None = None,
) -> Task:
  """One of several classes for each text.

  As `classification`; the network is also handed the mask of the tokens that
  count, and which text of a pair each belongs to, where the batch has them. What is
  no token of a text changes nothing: neither answers nor features that are matched.

  Args:
    classes: how many there are.
    inputs: the entry of an item that holds the tokens, (B, T) int.
    mask: the entry that says which of them count, (B, T); it may be missing.
    segments: the entry that says which text of a pair a token is of, (B, T) int of 0
      and 1; it may be missing.
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
    "segments": segments,
    "label": label,
  }.items():
    check_text(argument, name)
  class_weights = read_class_weights(class_weights, classes)
  return _task(classes, inputs, mask, segments, label, class_weights)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  classes: int,
  inputs: str,
  mask: str,
  segments: str,
  label: str,
  class_weights: Any,
) -> Task:
  plain = classification(
    classes, inputs=inputs, label=label, class_weights=class_weights
  )

  def batch(item):
    result = plain.batch(item)
    more = {name: item[name] for name in (mask, segments) if name in item}
    return result._replace(inputs={**result.inputs, **more})

  def tokens(batch):
    by_name = batch.inputs if isinstance(batch.inputs, Mapping) else {}
    return by_name[mask] != 0 if mask in by_name else None

  return plain._replace(name="text_classification", batch=batch, tokens=tokens)
