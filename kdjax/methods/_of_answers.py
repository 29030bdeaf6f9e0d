"""Methods of the last features, of networks whose answers are these themselves."""

import inspect
from collections.abc import Callable
from typing import Any

from kdjax.core.method import Inputs, Method, Outputs
from kdjax.core.task import Task

# The tap of what a whole network puts out, and of what a classifier reads.
ANSWERS, PENULTIMATE = ":out", "head:in"


def default_taps(maker: Callable, task: Task | None) -> dict[str, Any]:
  """Says where embeddings are, for methods that match both networks' last features.

  Args:
    maker: of a method.
    task: what the answers are.

  Returns:
    Defaults in the place of the maker's own; none where answers are no embeddings.

  Example:
    >>> from kdjax.methods import MAKERS
    >>> from kdjax.tasks import embedding
    >>> default_taps(MAKERS["rkd"], embedding(4))
    {'student_tap': ':out', 'teacher_tap': ':out'}
  """
  names = "student_tap", "teacher_tap"
  parameters = inspect.signature(maker).parameters
  defaults = [getattr(parameters.get(name), "default", None) for name in names]
  is_embedding = task is not None and task.kind == "embedding"
  if not is_embedding or defaults != [PENULTIMATE, PENULTIMATE]:
    return {}
  return dict.fromkeys(names, ANSWERS)


def reading_answers(method: Method, task: Task | None) -> Method:
  """Shows a method the answers where it taps what the networks put out.

  So stored answers, caches and ensembles teach it as they are.

  Args:
    method: whose rows are the examples.
    task: what the answers are; nothing changes where they are no embeddings.

  Returns:
    The method, without these taps.
  """
  taps = (*method.student_taps, *method.teacher_taps)
  if task is None or task.kind != "embedding" or ANSWERS not in taps:
    return method

  def init(rng, inputs):
    return method.init(rng, _with_answers(inputs))

  def apply(params, state, inputs):
    return method.apply(params, state, _with_answers(inputs))

  student_taps, teacher_taps = (
    tuple(tap for tap in taps if tap != ANSWERS)
    for taps in (method.student_taps, method.teacher_taps)
  )
  return method._replace(
    init=init,
    apply=apply,
    student_taps=student_taps,
    teacher_taps=teacher_taps,
    over_examples=True,
  )


def _with_answers(inputs: Inputs) -> Inputs:
  def one(outputs: Outputs | None) -> Outputs | None:
    if outputs is None:
      return None
    feats = {**outputs.feats, ANSWERS: outputs.answers}
    members = tuple(map(one, outputs.members))
    return outputs._replace(feats=feats, members=members)

  return inputs._replace(
    student=one(inputs.student), teacher=one(inputs.teacher)
  )
