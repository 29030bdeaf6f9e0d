"""What settings refuse that are plain numbers of Python, in one wording."""

import math
from collections.abc import Callable
from typing import Any


def number(
  name: str,
  value: Any,
  condition: str = "a number >= 0",
  is_allowed: Callable[[float], bool] = lambda value: 0 <= value < math.inf,
) -> None:
  """Refuses what is no plain number, or one that is not allowed.

  Args:
    condition: what is allowed, in words.
    is_allowed: number -> bool; nan is given to it as well.
  """
  plain = isinstance(value, int | float) and not isinstance(value, bool)
  if not plain or not is_allowed(value):
    raise ValueError(f"{name} must be {condition}, got {value!r}")


def whole_number(name: str, value: Any, *, least: int = 1) -> None:
  """Refuses what is no whole number of at least some size.

  Args:
    name: what the number is, with its article.
  """
  if not isinstance(value, int) or isinstance(value, bool) or value < least:
    raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def share(name: str, value: Any) -> None:
  """Refuses what is no number in [0, 1)."""
  number(name, value, "in [0, 1)", lambda value: 0 <= value < 1)
