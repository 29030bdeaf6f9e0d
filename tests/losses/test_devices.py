"""Losses on several devices: the same values, and the global batch's gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from loss_cases import CASES, couples_batch

from kdjax import losses

COUPLED = sorted(name for name in CASES if couples_batch(name))
# A scalar of the batch, though no relation between its examples.
SCALARS = {"masked_mean", "dino_center_update"}
UPDATES = {"crd_update"}  # a bank, not one value an example
PER_EXAMPLE = sorted(set(CASES) - set(COUPLED) - SCALARS - UPDATES)


def caller(name, **kwargs):
  case, function = CASES[name], getattr(losses, name)
  return lambda *inputs: case.call(function, *inputs, **case.kwargs, **kwargs)


def typed(inputs):
  kinds = {"f": jnp.float32, "i": jnp.int32, "b": bool}
  return [jnp.asarray(x, kinds[x.dtype.kind]) for x in inputs]


def mesh_of(devices):
  kinds = (jax.sharding.AxisType.Auto,)
  return jax.make_mesh((devices,), ("devices",), axis_types=kinds)


def split(x, devices):
  return x.reshape(devices, -1, *x.shape[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_mapped_steps_see_their_own_examples(name):
  call, inputs = caller(name), typed(CASES[name].inputs())
  mesh = mesh_of(2)
  sharded = jax.shard_map(
    call, mesh=mesh, in_specs=P("devices"), out_specs=P("devices")
  )
  want, in_shard_map = jax.jit(lambda *x: (call(*x), sharded(*x)))(*inputs)
  in_pmap = jax.pmap(call)(*(split(x, 2) for x in inputs))
  if name == "crd":  # whose indices start at the local rows
    want = want.at[2:].set(in_pmap[1])
  for got in (in_shard_map, in_pmap.reshape(want.shape)):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


def all_but(*fast):
  return [x if x in fast else slow(x) for x in COUPLED]


def problem():
  random = np.random.default_rng(5)
  shapes = ((5, 6), (8, 5), (8, 6))
  return [jnp.asarray(random.normal(size=x), jnp.float32) for x in shapes]


def step(call, weights, inputs, teacher):
  """Returns value and gradient of a linear student."""

  def objective(weights):
    student = jnp.matmul(inputs, weights, precision="highest")
    return call(student, teacher)

  return jax.value_and_grad(objective)(weights)


@functools.cache
def in_one_batch(name):
  return jax.jit(functools.partial(step, caller(name)))(*problem())


def mapped_step(name):
  call = caller(name, axis_name="devices")

  def mapped(weights, inputs, teacher):
    value, grads = step(call, weights, inputs, teacher)
    return value, jax.lax.pmean(grads, "devices")

  return mapped


def check_value(name, values, grads, whole=None):
  value, want = whole or in_one_batch(name)
  scale = float(jnp.max(jnp.abs(want)))
  for got, grad in zip(values, grads, strict=True):
    np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(grad, want, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(
  ("name", "devices"),
  [
    *(("rkd", 8), ("dist", 8), slow("rkd", 1)),
    *(slow(name, 2) for name in COUPLED),
  ],
)
def test_pmap_gives_the_global_batch(name, devices):
  weights, inputs, teacher = problem()
  mapped = jax.pmap(mapped_step(name), "devices", in_axes=(None, 0, 0))
  check_value(
    name, *mapped(weights, split(inputs, devices), split(teacher, devices))
  )


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLED)
def test_shard_map_gives_the_global_batch(name):
  mesh = mesh_of(2)
  weights, inputs, teacher = problem()

  def mapped(weights, inputs, teacher):
    found = mapped_step(name)(weights[0], inputs, teacher)
    return jax.tree.map(lambda x: x[None], found)

  sharded = jax.shard_map(
    mapped, mesh=mesh, in_specs=P("devices"), out_specs=P("devices")
  )
  everywhere = jnp.broadcast_to(weights[None], (2, *weights.shape))
  check_value(name, *jax.jit(sharded)(everywhere, inputs, teacher))


@pytest.mark.parametrize("name", COUPLED)
def test_a_mapped_axis_gives_the_global_batch(name):
  """As under pmap, which is compiled for eight devices."""
  weights, inputs, teacher = problem()

  @jax.jit
  def both(weights, inputs, teacher):
    parts = (x.reshape(4, 2, -1) for x in (inputs, teacher))
    mapped = jax.vmap(mapped_step(name), (None, 0, 0), axis_name="devices")
    whole = step(caller(name), weights, inputs, teacher)
    return mapped(weights, *parts), whole

  found, whole = both(weights, inputs, teacher)
  check_value(name, *found, whole)


@pytest.mark.parametrize("name", all_but("rkd", "dist"))
def test_local_batches_are_not_the_global_one(name):
  """What `axis_name` is for: without it the mean over devices is another."""
  weights, inputs, teacher = problem()
  call = jax.vmap(functools.partial(step, caller(name)), in_axes=(None, 0, 0))
  values, _ = jax.jit(call)(weights, split(inputs, 4), split(teacher, 4))
  value, _ = in_one_batch(name)
  assert abs(float(values.mean() - value)) > 1e-3 * abs(float(value))
