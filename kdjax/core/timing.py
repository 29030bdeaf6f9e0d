"""How long the parts of a program take, told to whoever listens."""

import contextlib
import time
from collections.abc import Iterator

# Of the events that `jax.monitoring` gets, beside jax's own.
PREFIX = "/kdjax/"


@contextlib.contextmanager
def part(name: str) -> Iterator[None]:
  """Reports a part's seconds when it ends, as jax reports those of compiling.

  Example:
    >>> heard = lambda event, seconds, **_: print(event)
    >>> jax.monitoring.register_event_duration_secs_listener(heard)
    >>> with part("evaluation"):
    ...   pass
    /kdjax/evaluation
    >>> jax.monitoring.unregister_event_duration_listener(heard)
  """
  start = time.perf_counter()
  yield
  # It reads its environment when it is imported, which is not yet complete.
  import jax

  jax.monitoring.record_event_duration_secs(
    PREFIX + name, time.perf_counter() - start
  )
