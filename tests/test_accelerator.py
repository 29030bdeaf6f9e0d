"""The environment that jax finds when it wakes."""

import os

import pytest

from kdjax.accelerator import prepare_environment
from kdjax.errors import UserError

NAMES = ("JAX_PLATFORMS", "XLA_FLAGS", "NPROC")


@pytest.mark.parametrize(
  ("accelerator", "host_devices", "expected"),
  [
    ("auto", 1, (None, None, None)),
    ("gpu", 1, (None, None, None)),
    ("cpu", 1, ("cpu", None, None)),
    ("auto", 2, ("cpu", "--xla_force_host_platform_device_count=2", "32")),
    ("cpu", 16, ("cpu", "--xla_force_host_platform_device_count=16", "64")),
  ],
)
def test_environment(accelerator, host_devices, expected, monkeypatch):
  for name in NAMES:
    monkeypatch.setenv(name, "")  # restored after the test
    monkeypatch.delenv(name)
  prepare_environment(accelerator, host_devices)
  assert tuple(os.environ.get(name) for name in NAMES) == expected


def test_other_flags_stay(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=there")
  monkeypatch.setenv("NPROC", "8")
  prepare_environment("cpu", 2)
  assert os.environ["XLA_FLAGS"].startswith("--xla_dump_to=there --xla_force")
  assert os.environ["NPROC"] == "8"


def test_splitting_a_gpu_is_refused(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")
  with pytest.raises(UserError, match="--host_devices=2"):
    prepare_environment("gpu", 2)
  assert os.environ["XLA_FLAGS"] == ""
