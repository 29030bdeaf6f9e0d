"""Speeds, peaks, and when a trace begins and ends."""

from types import SimpleNamespace

import jax
import pytest

from kdjax.core.errors import UserError
from kdjax.train import profiling


@pytest.mark.parametrize(
  ("kind", "expected"),
  [
    ("NVIDIA H100 80GB HBM3", 989e12),
    ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA H200", 989e12),
    ("NVIDIA A100-SXM4-80GB", 312e12),
    ("NVIDIA L4", 121e12),
    ("NVIDIA L40S", 362e12),
    ("NVIDIA L400", None),
    ("TPU v5 lite", 197e12),
    ("TPU v5", 459e12),
    ("TPU v6 lite", 918e12),
    ("cpu", None),
  ],
)
def test_peak(kind, expected):
  assert profiling.peak(kind) == expected


@pytest.mark.parametrize("text", ["", "3", "3:", "5:5", "a:b", "-1:4", "1:2:3"])
def test_window_that_cannot_be_read(text):
  with pytest.raises(UserError, match="START:STOP"):
    profiling.read_window(text)


@pytest.mark.parametrize(
  ("window", "expected"),
  [
    ((5, 9), ["1", "start", "2", "3", "stop", "4"]),
    ((4, 8), ["1", "start", "2", "stop", "3", "4"]),
    ((14, 99), ["1", "2", "3", "start", "4", "stop"]),
    ((20, 30), ["1", "2", "3", "4"]),
  ],
)
def test_whole_portions_are_traced(window, expected, monkeypatch, tmp_path):
  events = []
  for name in ("start", "stop"):
    monkeypatch.setattr(
      jax.profiler, f"{name}_trace", lambda *_, name=name: events.append(name)
    )

  def training():
    for number in "1234":
      events.append(number)
      yield number

  portions = [(0, 4), (4, 8), (8, 12), (12, 16)]
  followed = profiling.trace_epochs(training(), portions, window, tmp_path)
  assert list(followed) == list("1234") and events == expected


def test_meter(monkeypatch):
  """Seconds by hand: 2 of training, 3 beside it, input late once by 1."""
  ticks = iter([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 5.0])
  clock = SimpleNamespace(perf_counter=lambda: next(ticks))
  monkeypatch.setattr(profiling, "time", clock)
  device = SimpleNamespace(device_kind="TPU v4")
  meter = profiling.Meter([device, device])

  def training():
    idle = iter([True, False])
    for _ in meter.input(iter("ab"), lambda: next(idle)):
      meter.count(275e12)
    yield SimpleNamespace(step=12, examples=80)

  for _ in meter.watch(training(), first=10):
    found = meter.lap()
  assert found == {
    "step_seconds": 1.0,
    "images_per_second": 40.0,
    "input_share": 0.5,
    "mfu": 0.5,
  }
  assert meter.summary() == found | {"train_seconds": 2.0, "programs": []}
