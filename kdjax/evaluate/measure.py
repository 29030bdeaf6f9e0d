"""One network's scores, as they stand in results.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kdjax.core.task import Batch, Task, final_score, mean_of
from kdjax.evaluate import scores
from kdjax.evaluate.groups import measure_classes


def score(task: Task, outputs: np.ndarray, targets: Any) -> list[float]:
  """Scores several networks of one architecture by what their task counts.

  Args:
    outputs: (M, N, ...) of the networks, or what the task keeps of them.
    targets: (N, ...) arrays.

  Returns:
    The task's score, one float a network; nan where nothing counts.
  """
  if task.kept is not None:
    return [float(task.kept.score(one, targets)) for one in outputs]
  return [_metric(task, task.score, one, targets) for one in outputs]


def measure_task(
  task: Task, outputs: np.ndarray, targets: Any, teacher_outputs: Any = None
) -> dict[str, Any]:
  """Says of several networks of one architecture what results.json says.

  Args:
    task: what the outputs mean.
    outputs: (M, N, ...) of the networks, or what the task keeps of them.
    targets: (N, ...) arrays.
    teacher_outputs: (N, ...) likewise, to compare with; or None.

  Returns:
    "test_<score>" and all other metrics, lists of one float a network, and
    "test_examples"; or what the task itself makes of it.

  Example:
    >>> from kdjax.tasks import classification
    >>> task = classification(2)._replace(measure=None)
    >>> found = measure_task(task, np.zeros((1, 4, 2)), np.array([0, 0, 0, 1]))
    >>> found["test_accuracy"], found["test_examples"]
    ([0.75], 4)
  """
  if task.measure is not None:
    return task.measure(outputs, targets, teacher_outputs)
  others = [name for name in task.metrics if name != task.score]
  return {
    f"test_{task.score}": score(task, outputs, targets),
    **{
      name: [_metric(task, name, one, targets) for one in outputs]
      for name in others
    },
    "test_examples": outputs.shape[1],
  }


def _metric(task: Task, name: str, outputs: np.ndarray, targets: Any) -> float:
  """A metric of one network on a whole set."""
  order = np.arange(len(outputs), dtype=np.int32)
  batch = Batch(None, targets, np.ones(len(outputs), bool), order, order)
  total, count = task.metrics[name](task.rows(outputs, batch))
  return float(final_score(task, name, mean_of(total, count)))


def measure(
  logits: np.ndarray,
  labels: np.ndarray,
  teacher_logits: np.ndarray | None = None,
) -> dict:
  """Scores several networks of one architecture on one set of images.

  Args:
    logits: (M, N, C), one row of networks.
    labels: (N,) int.
    teacher_logits: (N, C), to measure the agreement with; or None.

  Returns:
    Lists of one float a network: "test_accuracy" and "calibration_error" in
    [0, 1], "negative_log_likelihood" in nats and, with a teacher, "agreement"
    in [0, 1]; "test_examples", and "chance", the accuracy of always naming the
    commonest class; and what `measure_classes` says.

  Example:
    >>> found = measure(np.zeros((1, 4, 2)), np.array([0, 0, 0, 1]))
    >>> found["test_accuracy"], found["chance"]
    ([0.75], 0.75)
  """
  values_by_name = {
    "test_accuracy": scores.accuracy(logits, labels),
    "negative_log_likelihood": scores.negative_log_likelihood(logits, labels),
    "calibration_error": scores.calibration_error(logits, labels),
  }
  if teacher_logits is not None:
    values_by_name["agreement"] = scores.agreement(logits, teacher_logits)
  lists = {
    name: [float(x) for x in values] for name, values in values_by_name.items()
  }
  chance = float(np.bincount(labels).max() / len(labels))
  lists |= {"test_examples": len(labels), "chance": chance}
  return lists | measure_classes(logits, labels)


def measure_together(
  task: Task,
  outputs: np.ndarray,
  targets: Any,
  roles: Sequence[str],
  pooled: np.ndarray | None = None,
) -> dict:
  """Scores networks that learnt together, and what they answer together.

  Args:
    task: what the outputs mean.
    outputs: (M, R, N, ...), a row of R networks for each seed.
    targets: (N, ...) arrays.
    roles: what the R networks are called.
    pooled: (M, N, ...) what the task keeps of the pooled answers, where it keeps but
      a part of outputs; else they are pooled here.

  Returns:
    "test_<score>" by role and "ensemble_<score>", of their pooled answers: lists
    of one float a seed.

  Example:
    >>> from kdjax.tasks import classification
    >>> logits = np.log([[[[0.6, 0.4]], [[0.1, 0.9]]]])
    >>> roles = ("a", "b")
    >>> found = measure_together(classification(2), logits, np.array([1]), roles)
    >>> found["test_accuracy"], found["ensemble_accuracy"]
    ({'a': [0.0], 'b': [1.0]}, [1.0])
  """
  if pooled is None:
    pooled = np.stack([np.asarray(task.pool(one)) for one in outputs])
  return {
    f"test_{task.score}": {
      role: score(task, outputs[:, place], targets)
      for place, role in enumerate(roles)
    },
    f"ensemble_{task.score}": score(task, pooled, targets),
  }


def recall(logits: np.ndarray, labels: np.ndarray, classes) -> list[float]:
  """Returns the share of some classes' images that get their own class.

  Args:
    logits: (M, N, C).
    labels: (N,) int.
    classes: the classes.

  Returns:
    One float a network, in [0, 1].

  Example:
    >>> recall(np.array([[[1.0, 0.0], [1.0, 0.0]]]), np.array([0, 1]), (0,))
    [1.0]
  """
  has_class = np.isin(labels, classes)
  values = scores.accuracy(logits[:, has_class], labels[has_class])
  return [float(x) for x in values]
