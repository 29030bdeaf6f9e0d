"""What logits are worth: accuracy, likelihood, calibration, agreement."""

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the share of examples whose most likely class is the label.

  Args:
    logits: (..., N, C).
    labels: (N,) int.

  Returns:
    (...) in [0, 1].
  """
  return np.mean(np.argmax(logits, axis=-1) == labels, axis=-1)


def agreement(
  student_logits: np.ndarray, teacher_logits: np.ndarray
) -> np.ndarray:
  """Returns the share of examples on which both networks name the same class.

  Args:
    student_logits: (..., N, C).
    teacher_logits: (N, C).

  Returns:
    (...) in [0, 1].
  """
  return accuracy(student_logits, np.argmax(teacher_logits, axis=-1))


def negative_log_likelihood(
  logits: np.ndarray, labels: np.ndarray
) -> np.ndarray:
  """Returns the mean cross-entropy with the labels.

  Args:
    logits: (..., N, C).
    labels: (N,) int.

  Returns:
    (...) nats.
  """
  log_p = np.take_along_axis(
    log_softmax(logits), _column(logits, labels), axis=-1
  )
  return -np.mean(log_p[..., 0], axis=-1)


def calibration_error(
  logits: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> np.ndarray:
  """Returns the expected calibration error.

  sum_b n_b / n |accuracy_b - confidence_b| over equally wide bins of confidence

  Args:
    logits: (..., N, C).
    labels: (N,) int.

  Returns:
    (...) in [0, 1].

  Source:
    Guo et al. 2017, arXiv:1706.04599, expected calibration error.
  """
  probabilities = np.exp(log_softmax(logits))
  confidence = np.max(probabilities, axis=-1)
  correct = np.argmax(logits, axis=-1) == labels
  # Confidence 1 belongs to the last bin.
  place = np.minimum((confidence * bins).astype(int), bins - 1)
  gap = correct - confidence
  inside = place[..., None] == np.arange(bins)
  sums = np.sum(np.where(inside, gap[..., None], 0.0), axis=-2)
  return np.sum(np.abs(sums), axis=-1) / labels.shape[0]


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Returns log-probabilities over the last axis, in float64.

  Args:
    logits: (..., C).

  Returns:
    (..., C) nats.
  """
  logits = np.asarray(logits, np.float64)
  shifted = logits - np.max(logits, axis=-1, keepdims=True)
  return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def _column(logits, labels):
  return np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1))
