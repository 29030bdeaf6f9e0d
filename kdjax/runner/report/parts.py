"""Parts of a report that fail are left out, and the rest of it is shown.

A training can take days, and a picture fail at a name that no font knows: what
is drawn of the results must not cost them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from kdjax.core import errors

Part = TypeVar("Part")


@contextmanager
def part(title: str, left_out: list[str] | None) -> Iterator[None]:
  """Leaves out what fails inside, and says so on stderr.

  Args:
    left_out: gets a sentence; None where it is said elsewhere.

  Example:
    >>> with part("the picture of all", None):
    ...   raise ValueError("no such glyph")
  """
  try:
    yield
  # Whatever it is, the results are worth more than this part of the page.
  except Exception as error:
    message = " ".join(str(error).split())[:200]
    reason = (
      f"{type(error).__name__}: {message}" if message else type(error).__name__
    )
    if left_out is not None:
      left_out.append(f"Left out: {title} ({reason}).")
      errors.warn(f"{title} is left out: {reason}")


def make_parts(
  kind: str,
  makers: Mapping[str, Callable[[], Part]],
  left_out: list[str] | None,
) -> dict[str, Part]:
  """Makes all parts that can be made.

  Example:
    >>> make_parts("the table", {"a": lambda: 1, "b": lambda: 1 / 0}, None)
    {'a': 1}
  """
  values = {}
  for name, make in makers.items():
    with part(f"{kind} {name}", left_out):
      values[name] = make()
  return values
