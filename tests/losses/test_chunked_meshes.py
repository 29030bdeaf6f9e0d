"""On a mesh under jit, losses of large vocabularies are those of one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdjax.losses import chunked
from kdjax.losses.chunked._mesh import Division, division
from kdjax.losses.chunked._passes import Side
from kdjax.losses.chunked.stored import TopClasses, pack_top

TOKENS, WIDTH, CLASSES = 24, 6, 32
STUDENT = ("student_hidden", "student_head", "student_bias")


def mesh_of(**axes):
  count = int(np.prod([*axes.values()]))
  devices = np.asarray(jax.devices()[:count]).reshape(*axes.values())
  return Mesh(devices, tuple(axes))


def problem(classes=CLASSES):
  random = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(random.normal(size=shape), jnp.float32)

  return {
    "student_hidden": draw(TOKENS, WIDTH),
    "student_head": chunked.ByClass(draw(classes, WIDTH)),
    "teacher_hidden": draw(TOKENS, 5),
    "teacher_head": draw(5, classes),
    "student_bias": draw(classes),
    "mask": jnp.asarray(random.random(TOKENS) > 0.2),
    "labels": jnp.asarray(random.integers(-1, classes, TOKENS), jnp.int32),
    "label_weight": jnp.float32(0.3),
  }


def stored():
  values = problem()
  teacher = values["teacher_hidden"]
  top = jax.lax.top_k(jax.nn.log_softmax(teacher @ values["teacher_head"]), 4)
  tail = jnp.log1p(-jnp.sum(jnp.exp(top[0]), axis=-1))
  rows = pack_top(top[1], top[0], tail)
  return values | {
    "teacher_hidden": rows, "teacher_head": TopClasses(4, CLASSES)
  }  # fmt: skip


def found(loss, values, mesh=None):
  """Returns the totals and the student's gradient."""
  student = {name: values[name] for name in STUDENT if name in values}

  def run(student, others):
    def total(student):
      totals = loss(**others, **student, chunk_size=5)
      return totals.loss, totals

    if mesh is None:
      return jax.grad(total, has_aux=True)(student)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return jax.grad(total, has_aux=True)(student)

  others = {name: x for name, x in values.items() if name not in student}
  if mesh is not None:
    everywhere = NamedSharding(mesh, PartitionSpec())
    student, others = jax.device_put((student, others), everywhere)
  return jax.jit(run)(student, others)


def of_labels(student_hidden, student_head, labels, mask, chunk_size, **others):
  return chunked.cross_entropy(
    student_hidden, student_head, labels, mask=mask, chunk_size=chunk_size
  )


BOTH, ALONE = mesh_of(data=2, model=4), mesh_of(data=4)
slow = pytest.mark.slow


@pytest.mark.parametrize(
  ("loss", "values", "mesh"),
  [
    (chunked.kd, problem(), BOTH),
    pytest.param(chunked.kd, problem(), ALONE, marks=slow),
    pytest.param(of_labels, problem(), BOTH, marks=slow),
    pytest.param(chunked.forward_kl, stored(), BOTH, marks=slow),
    pytest.param(chunked.reverse_kl, problem(classes=30), BOTH, marks=slow),
    pytest.param(
      chunked.kd,
      problem() | {"temperature": jnp.linspace(1.0, 2.0, TOKENS)},
      BOTH,
      marks=slow,
    ),
  ],
)
def test_a_mesh_finds_what_one_device_finds(loss, values, mesh):
  got, want = found(loss, values, mesh), found(loss, values)
  for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
    limit = 1e-5 * float(jnp.max(jnp.abs(b)))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=limit)


@pytest.mark.parametrize(
  ("axes", "tokens", "classes", "expected"),
  [
    ({}, 24, 32, None),
    ({"data": 4}, 24, 32, Division(("data",), None)),
    ({"data": 4, "model": 1}, 24, 32, Division(("data",), None)),
    ({"data": 2, "model": 4}, 24, 32, Division(("data",), "model")),
    ({"model": 4, "data": 2}, 24, 32, Division(("data",), "model")),
    ({"data": 2, "model": 4}, 24, 30, Division(("data", "model"), None)),
    ({"data": 2, "model": 4}, 6, 30, Division(("data",), None)),
    ({"model": 4}, 24, 32, Division(("model",), None)),
    ({"data": 2, "a": 2, "b": 2}, 24, 32, Division(("data", "a", "b"), None)),
    ({"data": 8}, 3, 32, None),
  ],
)
def test_who_makes_which_logits(axes, tokens, classes, expected):
  side = Side(jnp.ones((tokens, 2)), jnp.ones((2, classes)), None)
  mesh = mesh_of(**axes) if axes else mesh_of(one=1)
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    assert division(side, side) == expected
