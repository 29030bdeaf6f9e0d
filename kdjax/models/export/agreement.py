"""Whether a file that was written answers as its network does."""

import numpy as np

from kdjax.core.errors import StorageError

# The largest difference of outputs, as a share of the largest output.
TOLERANCE = 1e-4


def check(
  name: str, logits: np.ndarray, reference: np.ndarray, *, classes: bool = True
) -> dict:
  """Checks that what was written answers as the network does.

  Args:
    logits: (N, C) outputs of the file's own runtime; or (N, ..., C).
    reference: (N, C) outputs of the network itself, likewise.
    classes: whether the largest one decides, and must be the same.

  Raises:
    StorageError: if it does not.
  """
  if logits.shape != reference.shape or not np.isfinite(logits).all():
    raise StorageError(
      f"{name}: gave answers of shape {logits.shape}, not {reference.shape}, or"
      " such as are not finite; nothing was exported"
    )
  scale = np.abs(reference).max() or 1.0
  difference = float(np.abs(logits - reference).max() / scale)
  is_other = logits.argmax(-1) != reference.argmax(-1)
  if reference.ndim > 2:
    # Of so many pixels some have two classes that are a tie.
    best = np.sort(reference, axis=-1)[..., -2:]
    is_other &= np.diff(best, axis=-1)[..., 0] > 2 * TOLERANCE * scale
  other = classes * int(np.sum(is_other))
  if other or not difference <= TOLERANCE:
    of_class = f"{other} of {len(reference)} images get another class, logits"
    raise StorageError(
      f"{name}: is not the network: {of_class if classes else 'answers'} differ"
      f" by {difference:.1e} of the largest (at most {TOLERANCE:.0e} is allowed);"
      " nothing was exported"
    )
  return {"images": len(reference), "largest_difference": difference}
