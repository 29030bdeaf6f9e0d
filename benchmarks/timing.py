"""The one way in which benchmarks here take time, compare and report.

What is compared takes turns, in an order that alternates, so that whatever else
the machine does meets all alike; a ratio is one of two times of the same round.
"""

import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

# On a machine that others use too, processor time is the less noisy one.
# Seconds until the threads of PyTorch's OpenMP and of XLA, which keep spinning for
# a while after their work, have left the processors to whoever comes next.
PAUSE = 0.05
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def interleaved(
  runs: Mapping[str, Callable[[], Any]],
  *,
  rounds: int,
  warmup: int = 1,
  clock: Callable[[], float] = time.perf_counter,
  settle: bool = False,
) -> dict[str, list[float]]:
  """Times several things in turns.

  Args:
    runs: what to run, by name; what they return is waited for.
    clock: seconds; `time.process_time` for those that the processors worked.
    settle: whether every turn begins with a pause and a run that does not count,
      as it must where libraries with threads of their own take turns.
  """
  times = {name: [] for name in runs}
  for number in range(-warmup, rounds):
    for name in list(runs)[:: -1 if number % 2 else 1]:
      if settle:
        time.sleep(PAUSE)
        jax.block_until_ready(runs[name]())
      start = clock()
      jax.block_until_ready(runs[name]())
      if number >= 0:
        times[name].append(clock() - start)
  return times


def ratio(
  times: Mapping[str, Sequence[float]], of: str, over: str
) -> dict[str, float]:
  """Compares two things round by round."""
  return spread([a / b for a, b in zip(times[of], times[over], strict=True)])


def spread(values: Sequence[float]) -> dict[str, float]:
  """Sums up rounds."""
  low, median, high = (
    statistics.quantiles(values, n=4, method="inclusive")
    if len(values) > 1
    else [values[0]] * 3
  )
  return {"median": median, "low": low, "high": high}


def machine() -> dict[str, Any]:
  """Says where and how figures were made."""
  device = jax.local_devices()[0]
  command = [x for x in sys.argv[1:] if not x.startswith("--output")]
  return {
    "date": datetime.date.today().isoformat(),
    "jax": jax.__version__,
    "python": platform.python_version(),
    "platform": f"{platform.system()} {platform.machine()}",
    "processors": os.cpu_count(),
    "device": f"{device.platform} {device.device_kind}",
    "devices": jax.local_device_count(),
    "command": " ".join(
      ["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *command]
    ),
  }


def line(what: str, target: str, measured: Any, met: bool | None) -> dict:
  """Makes a line of a benchmark's summary.

  Args:
    measured: what was found; numbers are kept to three digits.
    met: whether that is what was wanted; None where nothing was.
  """
  if isinstance(measured, float):
    measured = float(f"{measured:.3g}")
  return {"what": what, "target": target, "measured": measured, "met": met}


def written(path: Path | None, key: str) -> list[dict[str, Any]]:
  """Reads the rows that a file has already, for what is measured in parts.

  Args:
    path: the file; None, or one that does not exist, has none.
  """
  if path is None or not path.exists():
    return []
  return json.loads(path.read_text())[key]


def write(results: Mapping[str, Any], path: Path | str | None) -> None:
  """Prints what was found, and writes it where it is wanted.

  Args:
    results: JSON values; numbers are finite.
    path: a file, whose folder is made; None for nowhere.
  """
  text = json.dumps(results, indent=2, allow_nan=False)
  print(text)
  if path is not None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text + "\n")
