"""A vocabulary in shards on several devices gives what one device gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kdjax.losses import chunked

NAMES = {
  "kd": {},
  "topk_kd": {"k": 6},
  "soft_cross_entropy": {},
  "reverse_kl": {},
  "symmetric_kl": {},
  "tvd": {},
  "adaptive_kl": {},
  "generalized_jsd": {},
  "skew_kl": {},
  "skew_reverse_kl": {},
  "topk_kd bucket": {"k": 6, "tail": "bucket"},
}
# Arrays of `problem` that lie in shards, and the student's, by position.
SHARDED = P(), P(None, "v"), P("v"), P(), P(None, "v"), P(), P()


def table(fast):
  return [
    pytest.param(name, marks=() if name in fast else pytest.mark.slow)
    for name in NAMES
  ]


def problem():
  """Returns student's hidden, head, bias, teacher's two, mask and labels."""
  random = np.random.default_rng(0)
  shapes = ((12, 6), (6, 32), (32,), (12, 5), (5, 32))
  arrays = [jnp.asarray(random.normal(size=x), jnp.float32) for x in shapes]
  labels = jnp.asarray(random.integers(-1, 32, 12), jnp.int32)
  return [*arrays, jnp.asarray(random.random(12) > 0.2), labels]


def totals(name, axis_name, arrays):
  hidden, head, bias, *teacher, mask, labels = arrays
  return getattr(chunked, name.split()[0])(
    hidden,
    head,
    *teacher,
    student_bias=bias,
    mask=mask,
    labels=labels,
    chunk_size=5,
    axis_name=axis_name,
    **NAMES[name],
  )


def step(name, axis_name=None):
  """Returns a function of the problem: the totals and the student's gradient."""

  def run(*arrays):
    def loss(*student):
      found = totals(name, axis_name, (*student, *arrays[3:]))
      return found.loss, found

    grads, found = jax.grad(loss, (0, 1, 2), has_aux=True)(*arrays[:3])
    return found, grads

  return run


def mesh_of(**axes):
  kinds = (jax.sharding.AxisType.Auto,) * len(axes)
  return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=kinds)


def check_close(got, want):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(
      a, b, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(b)))
    )


@pytest.mark.parametrize("name", table(("topk_kd",)))
def test_pmap(name, devices=8):
  def split(x):
    return jnp.stack(jnp.split(x, devices, axis=-1))

  inputs = [
    split(x) if "v" in spec else x
    for x, spec in zip(problem(), SHARDED, strict=True)
  ]
  axes = tuple(0 if "v" in spec else None for spec in SHARDED)
  mapped = jax.pmap(step(name, "v"), "v", in_axes=axes)
  found, (hidden, head, bias) = mapped(*inputs)
  want = jax.jit(step(name))(*problem())
  # Each device has the whole loss and hidden gradient, and its own columns.
  for device in (0, devices - 1):
    one = jax.tree.map(lambda x, at=device: x[at], (found, hidden))
    check_close(one, (want[0], want[1][0]))
  columns = tuple(jnp.concatenate(list(x), axis=-1) for x in (head, bias))
  check_close(columns, want[1][1:])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_fewer_devices(devices):
  test_pmap("kd", devices)


@pytest.mark.parametrize("name", ["kd"])
def test_shard_map(name):
  sharded = jax.shard_map(
    step(name, "v"),
    mesh=mesh_of(v=8),
    in_specs=SHARDED,
    out_specs=(P(), SHARDED[:3]),
  )
  want = jax.jit(step(name))(*problem())
  check_close(jax.jit(sharded)(*problem()), want)


@pytest.mark.slow
def test_shard_map_without_tracking():
  sharded = jax.shard_map(
    step("kd", "v"),
    mesh=mesh_of(v=8),
    in_specs=SHARDED,
    out_specs=(P(), SHARDED[:3]),
    check_vma=False,
  )
  check_close(jax.jit(sharded)(*problem()), jax.jit(step("kd"))(*problem()))


@pytest.mark.slow
def test_gradient_through_shard_map():
  student, others = problem()[:3], problem()[3:]
  sharded = jax.shard_map(
    lambda *x: totals("kd", "v", x).loss,
    mesh=mesh_of(v=8),
    in_specs=SHARDED,
    out_specs=P(),
  )
  got = jax.jit(jax.grad(lambda x: sharded(*x, *others)))(student)
  check_close(tuple(got), jax.jit(step("kd"))(*problem())[1])


@pytest.mark.slow
def test_tokens_and_vocabulary_both_in_shards():
  tokens = P("b")
  specs = tokens, P(None, "v"), P("v"), tokens, P(None, "v"), tokens, tokens

  def both(*arrays):
    def loss(*student):
      found = totals("kd", "v", (*student, *arrays[3:]))
      return jax.lax.psum(found.loss, "b")

    return jax.grad(loss, (0, 1, 2))(*arrays[:3])

  sharded = jax.shard_map(
    both, mesh=mesh_of(b=2, v=4), in_specs=specs, out_specs=specs[:3]
  )
  got = jax.jit(sharded)(*problem())
  check_close(got, jax.jit(step("kd"))(*problem())[1])
