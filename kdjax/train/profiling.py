"""How fast a training is, what it waits for, and a trace of some of its steps."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax

from kdjax.core.errors import UserError

Item = TypeVar("Item")

# Dense bfloat16 operations a second of one device, from the makers' data sheets
# (NVIDIA's without sparsity; Google Cloud's TPU pages, v4 to v6e), by how the
# kind of device begins. The longest name that fits counts.
PEAKS = {
  "NVIDIA A100": 312e12,
  "NVIDIA A10G": 70e12,
  "NVIDIA GH200": 989e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H100 NVL": 835e12,
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H200": 989e12,
  "NVIDIA H200 NVL": 835e12,
  "NVIDIA L4": 121e12,
  "NVIDIA L40S": 362e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v5p": 459e12,
  "TPU v6 lite": 918e12,
  "TPU v6e": 918e12,
}


def peak(kind: str) -> float | None:
  """Returns how many operations a second a device can do at most.

  Returns:
    Dense bfloat16 operations a second; None where they are not known, as of
    every CPU.
  """
  names = [name for name in PEAKS if re.match(rf"{name}\b", kind)]
  return PEAKS[max(names, key=len)] if names else None


def read_window(text: str) -> tuple[int, int]:
  """Reads which steps are to be traced.

  Returns:
    The first step, and one past the last.
  """
  start, colon, stop = text.partition(":")
  if not (colon and start.isdecimal() and stop.isdecimal()) or (
    int(start) >= int(stop)
  ):
    raise UserError(
      f"--profile_steps={text}: expected START:STOP, such as 100:110"
    )
  return int(start), int(stop)


def trace_epochs(
  following: Iterator[Item],
  portions: Iterable[tuple[int, int]],
  window: tuple[int, int],
  folder: Path,
) -> Iterator[Item]:
  """Writes a profile of some steps, for TensorBoard or Perfetto.

  Args:
    following: what comes of the training's portions, one by one.
    portions: (first step, one past the last) of each. Whole portions are
      traced, with the compilation where one is the first.
    window: first step and one past the last.
  """
  tracing = False
  try:
    for first, stop in portions:
      if not tracing and first < window[1] and stop > window[0]:
        jax.profiler.start_trace(folder)
        tracing = True
      item = next(following)
      if tracing and stop >= window[1]:
        jax.profiler.stop_trace()
        tracing = False
      yield item
  finally:
    if tracing:
      jax.profiler.stop_trace()


class Meter:
  """Measures a training, from one row of its log to the next.

  Attributes:
    needs: of every program that was compiled, see `preflight.needs`.
  """

  def __init__(self, devices: list[jax.Device]):
    """Sets all counts to 0."""
    peak_of_one = peak(devices[0].device_kind)
    self._peak = None if peak_of_one is None else peak_of_one * len(devices)
    self._laps: list[dict[str, float]] = []
    self.needs: list[Any] = []
    self._spent: list[tuple[float, int]] = []
    self._begin()

  def _begin(self) -> None:
    self._seconds = self._lost = self._done = 0.0
    self._steps = self._examples = 0

  def watch(self, following: Iterator[Item], *, first: int) -> Iterator[Item]:
    """Takes the time of what follows, without what is done in between.

    Args:
      following: epochs, or parts of them, as `loop.train` yields them.
    """
    while True:
      start = time.perf_counter()
      try:
        epoch = next(following)
      except StopIteration:
        return
      self._seconds += time.perf_counter() - start
      self._steps += max(epoch.step - first, 0)
      self._examples += epoch.examples
      first = epoch.step
      yield epoch

  def input(
    self, fed: Iterator[Item], idle: Callable[[], bool]
  ) -> Iterator[Item]:
    """Counts the time that devices lose by waiting for their input.

    Args:
      idle: () -> whether the devices have nothing left to do. Where they have,
        reading costs no time.
    """
    while True:
      start = time.perf_counter()
      try:
        item = next(fed)
      except StopIteration:
        return
      if idle():
        self._lost += time.perf_counter() - start
      yield item

  def count(self, operations: float) -> None:
    """Adds to the operations that all devices together have done."""
    self._done += operations

  def lap(self) -> dict[str, float]:
    """Ends what is measured together, and begins anew.

    Returns:
      "step_seconds", "images_per_second" of all networks together,
      "input_share" and, where the device is known, "mfu": the share of its peak
      in bfloat16 that matrix products and convolutions used, those that --remat
      repeats among them.
    """
    seconds = max(self._seconds, 1e-9)
    self._spent.append((self._seconds, self._steps))
    lap = {
      "step_seconds": seconds / max(self._steps, 1),
      "images_per_second": self._examples / seconds,
      "input_share": min(self._lost / seconds, 1.0),
    }
    if self._peak is not None:
      lap["mfu"] = self._done / seconds / self._peak
    self._laps.append(lap)
    self._begin()
    return lap

  def summary(self) -> dict[str, Any]:
    """Returns what a training took.

    Returns:
      As of `lap`, the medians over all but the first, which compiles;
      "train_seconds" of all, and "compile_seconds", by which the first took
      longer than the others would have; and "programs", what each needs.
    """
    laps = self._laps[1:] or self._laps
    speeds = {
      name: sorted(lap[name] for lap in laps)[len(laps) // 2]
      for name in (laps[0] if laps else ())
    }
    if len(self._spent) > 1:
      seconds, steps = self._spent[0]
      usual = steps * speeds["step_seconds"]
      speeds["compile_seconds"] = max(seconds - usual, 0.0)
    return speeds | {
      "train_seconds": sum(seconds for seconds, _ in self._spent),
      "programs": [one._asdict() for one in self.needs],
    }
