"""Who watches a training from inside: programs, and the wait for input."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Observer(NamedTuple):
  """Told of what a training does; changes nothing of it.

  Attributes:
    step: (mapped function, its arguments) before every call of it; it may end
      the training by raising.
    cut: () before every call of a portion whose beginning is kept; it may end
      the training by raising.
    input: (what the next calls are fed, () -> whether the devices have nothing
      left to do) -> the same, to be taken from instead.
  """

  step: Callable[[Callable, tuple], None]
  input: Callable[[Iterator, Callable[[], bool]], Iterator[Any]]
  cut: Callable[[], None] = lambda: None


UNWATCHED = Observer(lambda run, arguments: None, lambda fed, idle: fed)
