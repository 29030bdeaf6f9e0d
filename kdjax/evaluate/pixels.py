"""What is said of networks that name a class at every pixel."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from kdjax.evaluate.scores import log_softmax

# Share of an image's diagonal within which a pixel is at a contour.
BOUNDARY_SHARE = 0.02
# Pixels that are looked at at once: contours are some copies of them.
_AT_ONCE = 1 << 22


class Overlap(NamedTuple):
  """How much of each class is where it should be, in pixels.

  Attributes:
    both: (C,) pixels that are of the class and are called it.
    either: (C,) pixels that are of the class or are called it.
    true: (C,) pixels that are of the class.
  """

  both: np.ndarray
  either: np.ndarray
  true: np.ndarray

  @property
  def iou(self) -> np.ndarray:
    """(C,) intersection over union; nan for a class that there is nowhere."""
    whole = self.either.astype(float)
    share = np.full_like(whole, np.nan)
    return np.divide(self.both, whole, out=share, where=whole > 0)


def class_overlap(
  called: np.ndarray, targets: np.ndarray, classes: int
) -> Overlap:
  """Counts, over a whole set, where classes are and where they are called.

  Args:
    called: (N, H, W) int, a network's classes.
    targets: (N, H, W) int; what is none of the classes counts nowhere.
    classes: C.

  Example:
    >>> overlap = class_overlap(np.array([[[0, 1]]]), np.array([[[0, 0]]]), 2)
    >>> overlap.iou.tolist()
    [0.5, 0.0]
  """
  known = (targets >= 0) & (targets < classes)
  return _overlap(called, targets, known, known, classes)


def boundary_overlap(
  called: np.ndarray, targets: np.ndarray, classes: int, width: int
) -> Overlap:
  """As `class_overlap`, of the pixels at the contours of classes alone.

  A pixel is at a contour if another class, a pixel of no known class, or the
  outside of the image is at most `width` pixels away in rows and in columns. The
  contours of what is called are its own.

  Args:
    width: d >= 1, pixels.

  Example:
    >>> one = np.zeros((1, 5, 5), int)
    >>> boundary_overlap(one, one, 1, 1).true.tolist()
    [16]

  Source:
    Cheng, Girshick, Dollar, Berg, Kirillov 2021, arXiv:2103.16562 (boundary IoU),
    there for the mask of one object.
  """
  sums = [np.zeros(classes, np.int64) for _ in Overlap._fields]
  step = max(1, _AT_ONCE // max(1, int(np.prod(targets.shape[1:]))))
  for start in range(0, len(targets), step):
    true = np.asarray(targets[start : start + step], np.int32)
    known = (true >= 0) & (true < classes)
    true = np.where(known, true, -1)
    said = np.where(known, called[start : start + step], -1)
    at_contour = [known & _at_contour(one, width) for one in (said, true)]
    for total, part in zip(
      sums, _overlap(said, true, *at_contour, classes), strict=True
    ):
      total += part
  return Overlap(*sums)


def boundary_width(height: int, width: int) -> int:
  """Returns how wide a contour is: 2 % of the diagonal, at least a pixel.

  Example:
    >>> boundary_width(48, 48), boundary_width(512, 512)
    (1, 14)
  """
  return max(1, round(BOUNDARY_SHARE * float(np.hypot(height, width))))


def measure_pixels(
  called: np.ndarray,
  targets: np.ndarray,
  teacher_called: np.ndarray | None = None,
  *,
  classes: int,
) -> dict[str, Any]:
  """Scores networks that name a class at every pixel, class by class.

  Args:
    called: (M, N, H, W) int, one row of networks.
    targets: (N, H, W) int; what is none of the classes counts nowhere.
    teacher_called: (N, H, W), to measure the agreement with; or None.
    classes: C.

  Returns:
    Lists of one float a network: "test_mean_iou", the mean over the classes of
    intersection over union of the whole set, "accuracy" of pixels, "boundary_iou"
    at contours of "boundary_width" pixels and, with a teacher, "agreement", the
    share of pixels of a known class that both call alike. "per_pixel_class", by name a
    list of C values: "pixels", how many are of it, and of the networks' mean "iou"
    and "boundary_iou", None for a class that there is nowhere. "test_examples".

  Example:
    >>> called, targets = np.array([[[[0, 1]]]]), np.array([[[0, 0]]])
    >>> measure_pixels(called, targets, classes=2)["test_mean_iou"]
    [0.25]
  """
  width = boundary_width(*targets.shape[1:])
  known = (targets >= 0) & (targets < classes)
  whole = [class_overlap(one, targets, classes) for one in called]
  contour = [boundary_overlap(one, targets, classes, width) for one in called]
  alike = {}
  if teacher_called is not None:
    alike = {
      "agreement": [_share(one == teacher_called, known) for one in called]
    }
  return {
    "test_mean_iou": [mean_iou(one) for one in whole],
    "accuracy": [_share(one == targets, known) for one in called],
    "boundary_iou": [mean_iou(one) for one in contour],
    "boundary_width": width,
    **alike,
    "per_pixel_class": {
      "pixels": whole[0].true.tolist(),
      "iou": _numbers([one.iou for one in whole]),
      "boundary_iou": _numbers([one.iou for one in contour]),
    },
    "test_examples": len(targets),
  }


def pixel_divergence(
  student_logits: np.ndarray, teacher_logits: np.ndarray
) -> np.ndarray:
  """Returns the KL divergence from the student's to the teacher's classes by pixel.

  Args:
    student_logits: (..., H, W, C).
    teacher_logits: (..., H, W, C).

  Returns:
    (..., H, W) nats, >= 0.

  Example:
    >>> print(pixel_divergence(np.zeros((1, 1, 2)), np.log([[[0.9, 0.1]]])).round(3))
    [[0.368]]
  """
  log_q, log_p = map(log_softmax, (student_logits, teacher_logits))
  return np.maximum(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1), 0.0)


def mean_iou(overlap: Overlap) -> float:
  """The mean over the classes that there are; nan where there is none.

  Example:
    >>> mean_iou(Overlap(np.array([1, 0]), np.array([2, 0]), np.array([2, 0])))
    0.5
  """
  return float(_mean(overlap.iou))


def _overlap(called, targets, counts_called, counts_true, classes) -> Overlap:
  both = counts_called & counts_true & (called == targets)
  both, said, true = (
    np.bincount(ids[counts].astype(np.int64), minlength=classes)[:classes]
    for ids, counts in (
      (targets, both), (called, counts_called), (targets, counts_true)
    )
  )  # fmt: skip
  return Overlap(both, said + true - both, true)


def _at_contour(ids: np.ndarray, width: int) -> np.ndarray:
  """Whether not all of a pixel's neighbourhood is of its class."""
  size = (1, 2 * width + 1, 2 * width + 1)
  outside = {"size": size, "mode": "constant", "cval": -1}
  ids = ids.astype(np.int32)
  return ndimage.maximum_filter(ids, **outside) != ndimage.minimum_filter(
    ids, **outside
  )


def _share(is_alike: np.ndarray, known: np.ndarray) -> float:
  return float(np.mean(is_alike[known])) if known.any() else float("nan")


def _mean(values: np.ndarray, axis: int | None = None) -> Any:
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing
    return np.nanmean(values, axis=axis)


def _numbers(rows: list[np.ndarray]) -> list[float | None]:
  means = _mean(np.stack(rows), axis=0)
  return [float(x) if np.isfinite(x) else None for x in means]
