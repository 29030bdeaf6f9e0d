"""FSP matrices and singular vectors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from jax.test_util import check_grads

from kdjax.losses import _features, flow

ONE = jnp.ones((1, 2, 2, 1))
STEP = jnp.array([0.0, 4.0, 4.0, 4.0]).reshape(1, 2, 2, 1)

# name: (student, teacher, keywords, expected)
FSP = {
  # 1/4 * (4 * 1 * 3) = 3 against 1/4 * 4 = 1
  "same sizes": ((ONE, 3 * ONE), (ONE, ONE), {}, 4.0),
  # max = 4, mean = 3; times 2, against 1 * 1
  "maximum": ((STEP, 2 * ONE[:, :1, :1]), (ONE, ONE), {}, 49.0),
  "average": ((STEP, 2 * ONE[:, :1, :1]), (ONE, ONE), {"pool": "avg"}, 25.0),
  # G = (1, 2) against (1, 1): one entry of two differs by 1
  "mean over entries": (
    (ONE, jnp.concatenate([ONE, 2 * ONE], -1)),
    (ONE, jnp.concatenate([ONE, ONE], -1)),
    {},
    0.5,
  ),
  "sum over entries": (
    (ONE, jnp.concatenate([ONE, 2 * ONE], -1)),
    (ONE, jnp.concatenate([ONE, ONE], -1)),
    {"reduce": "sum"},
    1.0,
  ),
}


@pytest.mark.parametrize(
  ("student", "teacher", "keywords", "expected"), FSP.values(), ids=FSP
)
def test_fsp_by_hand(student, teacher, keywords, expected):
  np.testing.assert_allclose(
    losses.fsp(student, teacher, **keywords), [expected], rtol=1e-6
  )


def random_maps(seed, *shapes):
  random = np.random.default_rng(seed)
  # Post-ReLU like: not centred, so that the first direction stands out.
  return tuple(np.float32(random.normal(size=(2, *s)) + 0.5) for s in shapes)


def kdsvd_by_definition(student, teacher, k):
  """One example, in float64, one loop a step of the definition."""

  def directions(x, count):
    _, values, right = np.linalg.svd(
      x.reshape(-1, x.shape[-1]).astype(np.float64), full_matrices=False
    )
    right = right[:count].T
    largest = np.abs(right).argmax(axis=0)
    sign = np.sign(right[largest, np.arange(right.shape[1])])
    return right * sign, values[:count]

  layers = []
  for s, t in zip(student, teacher, strict=True):
    of_teacher, values = directions(t, k)
    of_student, _ = directions(s, k + 3)
    values = values / np.linalg.norm(values)
    chosen = []
    for column in of_teacher.T:
      cosine = of_student.T @ column
      best = np.abs(cosine).argmax()
      chosen.append(of_student[:, best] * np.sign(cosine[best]))
    layers.append((np.stack(chosen, 1) * values, of_teacher * values))
  total = 0.0
  for (s0, t0), (s1, t1) in itertools.pairwise(layers):
    from_student, from_teacher = (
      np.exp(-((after[:, None] - before[None]) ** 2) / 8)
      for before, after in ((s0, s1), (t0, t1))
    )
    total += ((from_student - from_teacher) ** 2).sum()
  return total


SVD_CASES = {
  "one direction": (((4, 4, 5), (3, 3, 6)), 1),
  "three layers, two directions": (((4, 4, 5), (3, 3, 6), (2, 2, 3)), 2),
  "fewer positions than channels": (((2, 2, 6), (2, 2, 7)), 2),
}


@pytest.mark.slow
@pytest.mark.parametrize(("shapes", "k"), SVD_CASES.values(), ids=SVD_CASES)
@pytest.mark.parametrize("block", [1 << 22, 1], ids=["at once", "in blocks"])
def test_kdsvd_is_its_definition(monkeypatch, block, shapes, k):
  monkeypatch.setattr(_features, "BLOCK", block)
  student, teacher = random_maps(0, *shapes), random_maps(1, *shapes)
  # Compiled anew, so that patched settings are seen.
  loss = jax.jit(functools.partial(flow.kdsvd, k=k))(student, teacher)
  for i in range(2):
    expected = kdsvd_by_definition(
      [s[i] for s in student], [t[i] for t in teacher], k
    )
    assert loss[i] == pytest.approx(expected, rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("shapes", "k"), SVD_CASES.values(), ids=SVD_CASES)
def test_kdsvd_gradient_is_that_of_finite_differences(shapes, k):
  with jax.enable_x64(True):
    student, teacher = (
      tuple(jnp.array(f, jnp.float64) for f in random_maps(seed, *shapes))
      for seed in (0, 1)
    )
    check_grads(
      lambda *student: losses.kdsvd(student, teacher, k=k).sum(),
      student,
      order=1,
      modes=("fwd", "rev"),
      rtol=1e-4,
    )


def test_largest_component_of_a_singular_vector_is_positive():
  x = random_maps(0, (4, 4, 5))[0].reshape(2, 16, 5)
  directions = jax.jit(flow._main_directions, static_argnums=1)
  right, values = map(np.asarray, directions(x, 3))
  largest = np.argmax(np.abs(right), axis=1)[:, None, :]
  assert (np.take_along_axis(right, largest, axis=1) > 0).all()
  np.testing.assert_allclose(
    values, np.linalg.svd(x, compute_uv=False)[:, :3], rtol=1e-5
  )
  mirrored, _ = directions(-x, 3)
  np.testing.assert_allclose(mirrored, right, rtol=1e-5)


@jax.jit
@jax.value_and_grad
def with_gradient(student, teacher):
  return losses.kdsvd(student, teacher, k=2).sum()


def zero(x):
  return 0 * x


def dead_channel(x):
  return x * np.float32([0] + [1] * (x.shape[-1] - 1))


def rank_one(x):
  return np.ones_like(x)


def equal_values(x):
  return np.broadcast_to(np.eye(x.shape[1], dtype=np.float32)[:, None], x.shape)


@pytest.mark.parametrize("size", [1e-10, 1.0, 1e20])
@pytest.mark.parametrize(
  "degenerate", [zero, dead_channel, rank_one, equal_values]
)
def test_kdsvd_is_finite_for_degenerate_maps(degenerate, size):
  maps, others = (random_maps(seed, (4, 1, 4), (4, 1, 4)) for seed in (0, 1))
  maps = tuple(np.float32(size) * degenerate(x) for x in maps)
  for student, teacher in ((maps, others), (others, maps), (maps, maps)):
    value, gradient = with_gradient(student, teacher)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradient)
  assert value == pytest.approx(0, abs=1e-10)


MAPS = jnp.zeros((1, 2, 2, 3))
REFUSED = {
  "fsp": lambda: losses.fsp((MAPS, MAPS), (MAPS, MAPS[..., :2])),
  "fsp: maps": lambda: losses.fsp((MAPS, MAPS), (MAPS, MAPS[0])),
  "kdsvd": lambda: losses.kdsvd((MAPS, MAPS), (MAPS, MAPS[..., :2])),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message.split(":")[0]) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"


@pytest.mark.parametrize(
  "call",
  [
    lambda: losses.fsp((MAPS,), (MAPS, MAPS)),
    lambda: losses.fsp((MAPS, MAPS), (MAPS, MAPS), pool="min"),
    lambda: losses.kdsvd((MAPS,), (MAPS,)),
    lambda: losses.kdsvd((MAPS, MAPS), (MAPS, MAPS), k=0),
  ],
)
def test_refused_settings(call):
  with pytest.raises(ValueError, match="got"):
    call()
