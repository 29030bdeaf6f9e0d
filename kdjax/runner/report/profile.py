"""Where a run's time went: `--profile`.

jax reports how long it traces and compiles, `kdjax.core.timing` the parts of a run,
and a hook what is imported. Such intervals lie within each other or apart: each
one's own time is its seconds without those of the intervals within it.
"""

import builtins
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.timing import PREFIX
from kdjax.runner.report.logs import write_json

FILE = "profile.json"
PARTS = ("imports", "data", "tracing", "compiling")
PARTS += ("steps", "evaluation", "report", "other")
_JAX = "/jax/core/compile/"
_EVENTS = {
  f"{_JAX}jaxpr_trace_duration": "tracing",
  f"{_JAX}jaxpr_to_mlir_module_duration": "tracing",
  f"{_JAX}backend_compile_duration": "compiling",
} | {PREFIX + name: name for name in PARTS}
# Seconds: most imports are of what is there already.
_LEAST_IMPORT = 1e-4
# Programs that are printed.
_LONGEST = 5


class Interval(NamedTuple):
  """What was done for how long; `program` where it is one that jax made."""

  end: float
  seconds: float
  part: str
  program: str | None = None


def own_seconds(intervals: Sequence[Interval]) -> list[float]:
  """The seconds of each interval without those of the intervals within it.

  Args:
    intervals: in the order in which they ended.

  Example:
    >>> own_seconds([Interval(2, 1, "imports"), Interval(5, 4, "data")])
    [1, 3]
  """
  own, outer = [], []
  for one in intervals:
    within = 0
    while outer and outer[-1].end > one.end - one.seconds:
      within += outer.pop().seconds
    outer.append(one)
    own.append(one.seconds - within)
  return own


@contextlib.contextmanager
def profiled() -> Iterator[list[Interval]]:
  """Collects all intervals of this thread; the last one is the whole process."""
  # Nothing tells when the process began; till now it has worked without pause.
  before, start = time.process_time(), time.perf_counter()
  intervals, thread = [], threading.get_ident()
  intervals.append(Interval(start, before, "imports"))

  def hear(event: str, seconds: float, fun_name: Any = None, **_: Any) -> None:
    if event in _EVENTS and threading.get_ident() == thread:
      name = fun_name and str(fun_name).removeprefix("jit(").removesuffix(")")
      now = time.perf_counter()
      intervals.append(Interval(now, seconds, _EVENTS[event], name))

  plain = builtins.__import__
  builtins.__import__ = _reporting(plain, hear)
  try:
    import jax

    jax.monitoring.register_event_duration_secs_listener(hear)
    yield intervals
  finally:
    builtins.__import__ = plain
    jax.monitoring.unregister_event_duration_listener(hear)
  end = time.perf_counter()
  intervals.append(Interval(end, before + end - start, "other"))


def _reporting(import_module: Callable, hear: Callable) -> Callable:
  """An `__import__` that reports its seconds."""

  def reporting(*arguments, **keywords):
    start = time.perf_counter()
    try:
      return import_module(*arguments, **keywords)
    finally:
      seconds = time.perf_counter() - start
      if seconds > _LEAST_IMPORT:
        hear(f"{PREFIX}imports", seconds)

  return reporting


def summary(intervals: Sequence[Interval]) -> dict[str, Any]:
  """What profile.json holds.

  Returns:
    "total" and "seconds" by part; "programs", those that took longest first: how
    often each was compiled (or read from the cache), and the seconds.
  """
  seconds, programs = dict.fromkeys(PARTS, 0.0), {}
  for one, own in zip(intervals, own_seconds(intervals), strict=True):
    seconds[one.part] += own
    if one.program is not None:
      zero = {"name": one.program, "compiled": 0, "tracing": 0, "compiling": 0}
      program = programs.setdefault(one.program, zero)
      program[one.part] += own
      program["compiled"] += one.part == "compiling"
  return {
    "total": sum(seconds.values()),
    "processor_seconds": time.process_time(),
    "seconds": seconds,
    "programs": sorted(
      programs.values(), key=lambda x: -x["tracing"] - x["compiling"]
    ),
  }


def table(found: Mapping[str, Any]) -> str:
  """Lays out a summary."""
  total, programs = found["total"], found["programs"]
  lines = [f"{'where the time went':24}  seconds  share"]
  lines += [
    f"{name:24} {seconds:8.1f} {seconds / total:6.0%}"
    for name, seconds in [*found["seconds"].items(), ("total", total)]
  ]
  count = f"{sum(x['compiled'] for x in programs)} programs compiled"
  lines += ["", f"{count:24}  tracing  compiling  times"]
  lines += [
    f"{x['name'][:24]:24} {x['tracing']:8.1f} {x['compiling']:10.1f}"
    f" {x['compiled']:6}"
    for x in programs[:_LONGEST]
  ]
  return "\n".join(lines)


def write(workdir: Path, intervals: Sequence[Interval]) -> str:
  """Writes profile.json; returns the table."""
  found = summary(intervals)
  write_json(workdir / FILE, found)
  return table(found)
