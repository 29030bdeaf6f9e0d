"""Losses of maps: by hand, by loops in NumPy, and positions that do not count."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(2, 2, 4, 6, 3))
WHERE = RNG.random((2, 4, 6)) < 0.6


def softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def cwd_by_loops(student, teacher, where, temperature):
  """Shu et al. 2021 image by image and channel by channel."""
  values = []
  for s, t, mask in zip(student, teacher, where, strict=True):
    terms = []
    for c in range(s.shape[-1]):
      q, p = (softmax(x[mask][:, c] / temperature) for x in (s, t))
      terms.append(temperature**2 * (p * np.log(p / q)).sum())
    values.append(np.mean(terms))
  return values


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_cwd_of_the_positions_that_count(temperature):
  got = losses.cwd(
    jnp.asarray(STUDENT, jnp.float32),
    jnp.asarray(TEACHER, jnp.float32),
    temperature=temperature,
    where=jnp.asarray(WHERE),
  )
  want = cwd_by_loops(STUDENT, TEACHER, WHERE, temperature)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  everywhere = jnp.ones(WHERE.shape, bool)
  both = (jnp.asarray(x, jnp.float32) for x in (STUDENT, TEACHER))
  student, teacher = both
  np.testing.assert_allclose(
    losses.cwd(student, teacher, where=everywhere),
    losses.cwd(student, teacher),
    rtol=1e-5,
  )


def test_cwd_by_hand():
  """Two of three pixels: KL((e, 1) / (e + 1) || (1, 1) / 2)."""
  student = jnp.array([0.0, 0.0, 9.0]).reshape(1, 3, 1, 1)
  teacher = jnp.array([1.0, 0.0, -9.0]).reshape(1, 3, 1, 1)
  where = jnp.array([True, True, False]).reshape(1, 3, 1)
  got = losses.cwd(student, teacher, temperature=1.0, where=where)
  want = math.e / (math.e + 1) - math.log((math.e + 1) / 2)
  assert float(got[0]) == pytest.approx(want, rel=1e-5)


def test_what_does_not_count_has_no_value_and_no_gradient():
  where = jnp.asarray(WHERE).at[1].set(False)
  dirty = jnp.where(
    where[..., None], jnp.asarray(STUDENT, jnp.float32), jnp.nan
  )
  teacher = jnp.where(
    where[..., None], jnp.asarray(TEACHER, jnp.float32), jnp.inf
  )

  def loss(student):
    return losses.cwd(student, teacher, where=where).sum()

  value, slope = jax.jit(jax.value_and_grad(loss))(dirty)
  assert np.isfinite(value) and np.isfinite(slope).all()
  assert (np.asarray(slope)[~np.asarray(where)] == 0).all()
  assert np.abs(slope[0]).max() > 0
  assert losses.cwd(dirty, teacher, where=where)[1] == 0
  with pytest.raises(ValueError, match=r"where must be \(2, 4, 6\)"):
    losses.cwd(dirty, teacher, where=where[0])


def pairwise_by_loops(student, teacher, size):
  """Liu et al. 2019, equation 2, pair by pair of the cells' means."""
  values = []
  for sides in zip(student, teacher, strict=True):
    similarities = []
    for x in sides:
      height, width, _ = x.shape
      nodes = [
        x[
          i * height // size[0] : -(-(i + 1) * height // size[0]),
          j * width // size[1] : -(-(j + 1) * width // size[1]),
        ].mean((0, 1))
        for i in range(size[0])
        for j in range(size[1])
      ]
      similarities.append(
        [
          [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in nodes]
          for a in nodes
        ]
      )
    values.append(np.mean((np.array(similarities[0]) - similarities[1]) ** 2))
  return values


@pytest.mark.parametrize("size", [(2, 3), (3, 2), (4, 6), (1, 1)])
def test_pairwise_pair_by_pair(size):
  teacher = RNG.normal(size=(2, 8, 7, 5))
  got = losses.pairwise(
    jnp.asarray(STUDENT, jnp.float32), jnp.asarray(teacher, jnp.float32),
    size=size,
  )  # fmt: skip
  np.testing.assert_allclose(
    got, pairwise_by_loops(STUDENT, teacher, size), rtol=1e-4, atol=1e-7
  )


def test_pairwise_keeps_the_places_of_the_smaller_map():
  student = jnp.asarray(STUDENT[:, :2], jnp.float32)
  teacher = jnp.asarray(TEACHER, jnp.float32)
  np.testing.assert_allclose(
    losses.pairwise(student, teacher, size=(8, 8)),
    losses.pairwise(student, teacher, size=(2, 6)),
  )
  assert losses.pairwise(3 * teacher, teacher).max() < 1e-10
  slope = jax.grad(lambda x: losses.pairwise(x, teacher).sum())(0 * student)
  assert (slope == 0).all()


@pytest.mark.parametrize("size", [(0, 2), (2,), 2, (1.5, 1)])
def test_pairwise_refuses_a_grid_that_is_none(size):
  with pytest.raises(ValueError, match="pairwise: size must be two positive"):
    losses.pairwise(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1)), size=size)
