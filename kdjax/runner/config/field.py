"""One setting: its default, its help, and what it may be."""

import dataclasses
import math
from typing import Any, NamedTuple

from kdjax.core import spec

# A number, a schedule such as linear(8, 1, 1000), or for `sweep` several
# numbers.
Scalar = float | spec.Spec | tuple[float, ...]


class Interval(NamedTuple):
  """The numbers that an option may take; `ends` says which ends belong to it."""

  low: float
  high: float = math.inf
  ends: str = "[)"

  def __contains__(self, value: object) -> bool:
    above = self.low <= value if self.ends[0] == "[" else self.low < value
    below = value <= self.high if self.ends[1] == "]" else value < self.high
    return above and below

  def __str__(self) -> str:
    if self.high == math.inf:
      return f"{'>=' if self.ends[0] == '[' else '>'} {self.low:g}"
    return f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


# A network that is left to the program.
AUTO = "auto"

POSITIVE = Interval(0, ends="()")
COUNT = Interval(1)
SHARE = Interval(0, 1)


def option(
  default: Any,
  help: str,
  *,
  flag: str | None = None,
  other_flag: str | None = None,
  within: Interval | None = None,
  choices: tuple[str, ...] | None = None,
  none_is_a_text: bool = False,
) -> Any:
  """Declares one setting; "none" takes a setting of None back, or is its text."""
  metadata = {"help": help, "flag": flag, "within": within, "choices": choices}
  metadata |= {"other_flag": other_flag, "none_is_a_text": none_is_a_text}
  return dataclasses.field(default=default, metadata=metadata)
