"""Counting operations and memory, and refusing what cannot fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.train.devices import memory as preflight
from kdjax.train.devices import placement

X = jnp.ones((2, 8, 8, 3))
KERNEL = jnp.ones((3, 3, 3, 4))


def convolve(x, stride=1):
  return jax.lax.conv_general_dilated(
    x,
    KERNEL,
    (stride, stride),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def product(x):
  return x @ jnp.ones((4, 5))


def looped(x):
  return jax.lax.scan(lambda c, _: (c @ jnp.ones((4, 4)), None), x, length=7)[0]


def branched(x):
  return jax.lax.cond(x[0, 0] > 0, looped, lambda x: x, x)


COUNTS = [
  (product, jnp.ones((3, 4)), 2 * 3 * 4 * 5),
  (jax.vmap(product), jnp.ones((6, 3, 4)), 6 * 2 * 3 * 4 * 5),
  (looped, jnp.ones((3, 4)), 7 * 2 * 3 * 4 * 4),
  (branched, jnp.ones((3, 4)), 7 * 2 * 3 * 4 * 4),
  (jax.jit(jax.checkpoint(product)), jnp.ones((3, 4)), 2 * 3 * 4 * 5),
  (convolve, X, 2 * 2 * 64 * 4 * 27),
  (lambda x: convolve(x, 2), X, 2 * 2 * 16 * 4 * 27),
  # The input's gradient multiplies as often, the zeros in between left out.
  (
    jax.grad(lambda x: convolve(x, 2).sum()), X, 2 * 2 * 2 * 16 * 4 * 27
  ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "argument", "expected"), COUNTS)
def test_operations(function, argument, expected):
  closed = jax.make_jaxpr(function)(argument)
  assert preflight.operations(closed.jaxpr) == pytest.approx(expected)


def test_operations_that_devices_share():
  """What is mapped already is one device's; all else is divided."""
  mesh = jax.sharding.Mesh(jax.devices()[:2], ("data",))
  spec = jax.sharding.PartitionSpec("data")

  def both(x):
    mapped = jax.shard_map(product, mesh=mesh, in_specs=spec, out_specs=spec)
    return product(x), mapped(x)

  closed = jax.make_jaxpr(both)(jnp.ones((6, 4)))
  share = 2 * 3 * 4 * 5
  assert preflight.operations(closed.jaxpr, sharers=2) == 2 * share


def needs(**memory):
  empty = dict.fromkeys(preflight.REMEDIES, 0)
  return preflight.Needs(empty | memory, 0, 1e9)


@pytest.mark.parametrize(
  ("memory", "free", "words"),
  [
    ({"temporary": 10**7}, 10**6, ["10.0 MB", "1.0 MB", "--accumulate_steps"]),
    ({"temporary": 2000, "data": 10**9}, 1000, ["data 1.0 GB", "--resident"]),
    ({"temporary": 2000, "teachers": 9000}, 1000, ["--teacher_dtype"]),
  ],
)
def test_what_does_not_fit_is_refused(memory, free, words):
  found = needs(**memory)
  with pytest.raises(UserError) as error:
    preflight.check(found, "student", jax.local_devices()[:1], free)
  assert all(word in str(error.value) for word in [*words, "--nopreflight"])
  line = preflight.check(found, "student", [None] * 2, None)
  assert line.startswith("student: ") and "2 devices; 2 GFLOP" in line


def test_images_that_do_not_fit_are_refused():
  with pytest.raises(UserError, match="--resident_megabytes"):
    preflight.check_data(2000, 1000)
  preflight.check_data(2000, None)


class Device:
  platform = "gpu"
  process_index = 0

  def __init__(self, stats):
    self.stats = stats

  def memory_stats(self):
    return self.stats


@pytest.mark.parametrize(
  ("stats", "free"),
  [
    ([{"bytes_limit": 100, "bytes_in_use": 30}, {"bytes_limit": 90}], 70),
    ([None], None),
  ],
)
def test_free_memory_is_the_fullest_devices(stats, free):
  assert preflight.free_memory([Device(one) for one in stats]) == free


@pytest.mark.parametrize(("devices", "kept"), [(1, True), (2, False)])
def test_a_training_compiles_as_it_will_run(devices, kept):
  """What several devices run is not read from the persistent cache."""
  found = []

  class Lowered:
    def compile(self):
      found.append(jax.config.jax_enable_compilation_cache)
      return self

    def memory_analysis(self):
      return None

  states = placement.replicate(X, jax.local_devices()[:devices])
  run = lambda *arguments: arguments[0]  # noqa: E731
  run.lower = lambda *arguments: Lowered()
  preflight.needs(run, (states, {}, np.zeros(1), None, None, {}))
  assert found == [kept]
