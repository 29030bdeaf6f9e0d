"""One network's figures, as they stand in results.json."""

import numpy as np

from kdjax.evaluate import scores


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
    in [0, 1]; and "test_examples".

  Example:
    >>> measure(np.zeros((1, 4, 2)), np.array([0, 0, 0, 1]))["test_accuracy"]
    [0.75]
  """
  figures = {
    "test_accuracy": scores.accuracy(logits, labels),
    "negative_log_likelihood": scores.negative_log_likelihood(logits, labels),
    "calibration_error": scores.calibration_error(logits, labels),
  }
  if teacher_logits is not None:
    figures["agreement"] = scores.agreement(logits, teacher_logits)
  lists = {name: [float(x) for x in values] for name, values in figures.items()}
  return lists | {"test_examples": len(labels)}


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
  chosen = np.isin(labels, classes)
  values = scores.accuracy(logits[:, chosen], labels[chosen])
  return [float(x) for x in values]
