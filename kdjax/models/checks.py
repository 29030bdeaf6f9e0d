"""What makers and models refuse, with one wording for all families."""

from typing import Any

import jax


def whole_number(name: str, value: Any, *, least: int = 1) -> None:
  """Refuses what is no whole number of at least some size.

  Args:
    name: what the number is, with its article.
  """
  if not isinstance(value, int) or isinstance(value, bool) or value < least:
    raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def share(name: str, value: Any) -> None:
  """Refuses what is no number in [0, 1)."""
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if not number or not 0 <= value < 1:
    raise ValueError(f"{name} must be in [0, 1), got {value!r}")


def image_side(model: str, images: jax.Array, least: int) -> None:
  """Refuses images too small for the model's halvings.

  Args:
    images: (B, H, W, C).
    least: the smallest height and width, in pixels.
  """
  height, width = images.shape[1:3]
  if min(height, width) < least:
    raise ValueError(
      f"{model} needs images of at least {least} x {least} pixels, got"
      f" {height} x {width}"
    )
