"""What makers and models refuse, with one wording for all families."""

from typing import Any

import jax


def whole_number(name: str, value: Any, *, least: int = 1) -> None:
  """Refuses what is no whole number of at least some size.

  Args:
    name: what the number is, with its article.
    value: what was given.
    least: the smallest number allowed.

  Raises:
    ValueError: names the number, the value and what is allowed.

  Example:
    >>> whole_number("a width", 16)
  """
  if not isinstance(value, int) or isinstance(value, bool) or value < least:
    raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def share(name: str, value: Any) -> None:
  """Refuses what is no number in [0, 1).

  Args:
    name: what the number is.
    value: what was given.

  Raises:
    ValueError: names the number, the value and what is allowed.

  Example:
    >>> share("dropout", 0.5)
  """
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if not number or not 0 <= value < 1:
    raise ValueError(f"{name} must be in [0, 1), got {value!r}")


def image_side(model: str, images: jax.Array, least: int) -> None:
  """Refuses images too small for the model's halvings.

  Args:
    model: the model's name.
    images: (B, H, W, C).
    least: the smallest height and width, in pixels.

  Raises:
    ValueError: at trace time; names the model, its least size and the size.

  Example:
    >>> image_side("lenet", jnp.zeros((1, 8, 8, 1)), 4)
  """
  height, width = images.shape[1:3]
  if min(height, width) < least:
    raise ValueError(
      f"{model} needs images of at least {least} x {least} pixels, got"
      f" {height} x {width}"
    )
