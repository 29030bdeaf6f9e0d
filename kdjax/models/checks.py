"""What makers and models refuse, with one wording for all families."""

import jax

from kdjax.core.checks import number, share, whole_number

__all__ = ["image_side", "number", "share", "whole_number"]


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
