"""The environment that jax finds when it wakes."""

import fnmatch
import os

import pytest

from kdjax.core.errors import UserError
from kdjax.runner.system.platform import (
  CACHE,
  keep_programs,
  order_for_memory,
  prepare_environment,
)

MINIMUM = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
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


@pytest.mark.parametrize(
  ("remat", "before", "expected"),
  [
    (False, "", ""),
    (True, "", "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"),
    (True, "--xla_cpu_scheduler_type=X", "--xla_cpu_scheduler_type=X"),
  ],
)
def test_remat_orders_for_memory(remat, before, expected, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", before)
  order_for_memory(remat)
  assert os.environ["XLA_FLAGS"] == expected


def test_splitting_a_gpu_is_refused(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")
  with pytest.raises(UserError, match="--host_devices=2"):
    prepare_environment("gpu", 2)
  assert os.environ["XLA_FLAGS"] == ""


@pytest.mark.parametrize(
  ("given", "environment", "expected"),
  [
    ("none", {"JAX_COMPILATION_CACHE_DIR": "/there"}, None),
    ("{tmp}/a/b", {"JAX_COMPILATION_CACHE_DIR": "/there"}, "{tmp}/a/b"),
    (None, {"JAX_COMPILATION_CACHE_DIR": "/there"}, "/there"),
    (None, {"XDG_CACHE_HOME": "{tmp}/xdg"}, "{tmp}/xdg/kdjax/jax/*"),
    (None, {"XDG_CACHE_HOME": "here"}, "{tmp}/.cache/kdjax/jax/*"),
    (None, {}, "{tmp}/.cache/kdjax/jax/*"),
  ],
)
def test_where_programs_are_kept(
  given, environment, expected, tmp_path, monkeypatch
):
  def told(text):
    return text and text.format(tmp=tmp_path)

  _bare(monkeypatch, HOME=str(tmp_path))
  for name, value in environment.items():
    monkeypatch.setenv(name, told(value))
  keep_programs(told(given))
  found = os.environ.get(CACHE)
  if expected is None:
    assert found is None
  else:
    assert fnmatch.fnmatch(found, told(expected))
    assert os.path.isdir(found) != (expected == "/there")


def test_without_a_place_for_programs_a_run_goes_on(
  tmp_path, monkeypatch, capsys
):
  (tmp_path / ".cache").write_text("no folder")
  _bare(monkeypatch, HOME=str(tmp_path))
  keep_programs(None)
  assert CACHE not in os.environ
  said = capsys.readouterr().err
  assert "--compilation_cache" in said and len(said.splitlines()) == 1


def _bare(monkeypatch, **values):
  for name in (CACHE, "XDG_CACHE_HOME", MINIMUM):
    monkeypatch.setenv(name, "")  # restored after the test
    monkeypatch.delenv(name)
  for name, value in values.items():
    monkeypatch.setenv(name, value)
