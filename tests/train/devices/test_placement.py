"""What runs on several devices, and what jax keeps of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from kdjax.models import make_model
from kdjax.train.devices import placement
from kdjax.train.devices.mapped import Program
from kdjax.train.devices.sharded import sharded

TRAINING = (
  "fault_tolerance/test_nan_guard.py::test_networks_apart_skip_together"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """The persistent cache's folder, an empty one."""
  before = jax.config.jax_compilation_cache_dir
  compilation_cache.set_cache_dir(str(tmp_path))
  compilation_cache.reset_cache()
  yield tmp_path
  compilation_cache.set_cache_dir(before)
  compilation_cache.reset_cache()


class State(NamedTuple):
  step: Any


def mapped(devices):
  def total(x):
    return jax.lax.psum(x.sum(), placement.AXIS)

  run = placement.parallel(total, devices, sharded=(0,))
  return run(placement.shard(np.arange(8.0), len(devices), axis=0))


def over_mesh(devices):
  def step(state, teacher, batch, axis_name, examples):
    return state, batch.sum()

  mesh = jax.sharding.Mesh(np.array(devices), ("data",))
  program = Program(None, step, lambda batch: batch, 1, False)
  return sharded(mesh, []).compile(program)[1](
    State(np.int32(0)), None, np.arange(8.0)
  )


@pytest.mark.parametrize("run", [mapped, over_mesh])
@pytest.mark.parametrize(("devices", "kept"), [(1, 1), (2, 0), (8, 0)])
def test_programs_of_several_cpu_devices_are_not_kept(
  run, devices, kept, cache
):
  """Read again, they mix up their collectives."""
  jax.block_until_ready(run(jax.local_devices()[:devices]))
  assert len(list(cache.glob("*-cache"))) == kept
  jax.block_until_ready(jax.jit(lambda x: x + devices)(np.float32(1)))
  assert len(list(cache.glob("*-cache"))) == kept + 1


@pytest.mark.slow
def test_second_start_trains_as_the_first(tmp_path):
  """In processes of their own: one that mixes them up waits, and aborts."""
  tests = Path(__file__).parent.parent
  command = [sys.executable, "-m", "pytest", "-q", "-n", "0"]
  env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
  for start in ("first", "second"):
    done = subprocess.run(
      [*command, str(tests / TRAINING)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, start + done.stdout[-2000:]
  assert list(tmp_path.iterdir())


def test_less_effort_computes_the_same_bits(monkeypatch):
  """First networks are drawn so: digests of runs rest on it."""
  network = make_model("mlp(8)", classes=3)

  def draw(keys):
    return jax.vmap(lambda key: network.init(key, np.ones((1, 6))))(keys)

  keys = jax.random.split(jax.random.key(0), 2)
  most = jax.jit(draw, compiler_options={placement._EFFORT: 3})
  monkeypatch.setenv("XLA_FLAGS", "")
  less = placement.quickly_compiled(draw)
  chex.assert_trees_all_equal(less(keys), most(keys))
