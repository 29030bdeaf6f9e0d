"""Adaptive pooling against a plain loop over the bins."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax.losses import pooling

SIZES = {
  "same": ((4, 4), (4, 4)),
  "divides": ((8, 6), (4, 2)),
  "overlapping bins": ((7, 5), (3, 2)),
  "one axis only": ((7, 4), (7, 3)),
  "to one": ((5, 3), (1, 1)),
  "finer than the map": ((2, 3), (4, 7)),
}


def pooled_by_loop(x, size, reduce):
  batch, height, width, channels = x.shape
  result = np.zeros((batch, *size, channels))
  for i in range(size[0]):
    for j in range(size[1]):
      rows = slice(
        math.floor(i * height / size[0]), math.ceil((i + 1) * height / size[0])
      )
      columns = slice(
        math.floor(j * width / size[1]), math.ceil((j + 1) * width / size[1])
      )
      result[:, i, j] = reduce(x[:, rows, columns], axis=(1, 2))
  return result


@pytest.mark.parametrize(("shape", "size"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
  ("pool", "reduce"),
  [(losses.adaptive_avg_pool, np.mean), (losses.adaptive_max_pool, np.max)],
  ids=["avg", "max"],
)
def test_equals_a_loop_over_bins(shape, size, pool, reduce):
  x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
  pooled = jax.jit(lambda x: pool(x, size=size))(x)
  np.testing.assert_allclose(pooled, pooled_by_loop(x, size, reduce), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "size"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
  "pool", [losses.adaptive_avg_pool, losses.adaptive_max_pool]
)
def test_each_bin_hands_down_all_of_its_gradient(shape, size, pool):
  x = jax.random.normal(jax.random.key(0), (1, *shape, 1))
  gradient = jax.grad(lambda x: jnp.sum(pool(x, size=size)))(x)
  assert jnp.sum(gradient) == pytest.approx(size[0] * size[1], rel=1e-5)


def test_tied_maxima_share_the_gradient():
  gradient = jax.grad(
    lambda x: jnp.sum(losses.adaptive_max_pool(x, size=(1, 1)))
  )(jnp.ones((1, 2, 2, 1)))
  np.testing.assert_allclose(gradient.ravel(), np.full(4, 0.25))


def test_bfloat16_is_averaged_in_float32():
  x = jnp.full((1, 16, 16, 1), 1.0, jnp.bfloat16).at[0, 0, 0, 0].set(2.0)
  pooled = losses.adaptive_avg_pool(x, size=(1, 1))
  assert pooled.dtype == jnp.float32
  assert pooled[0, 0, 0, 0] == 1 + 1 / 256


@pytest.mark.parametrize(
  ("shape", "size"), [((2, 4, 4), (2, 2)), ((1, 4, 4, 1), (2, 0))]
)
@pytest.mark.parametrize(
  "pool", [losses.adaptive_avg_pool, losses.adaptive_max_pool]
)
def test_refuses_what_cannot_be_pooled(shape, size, pool):
  with pytest.raises(ValueError, match=pool.__name__) as error:
    pool(jnp.zeros(shape), size=size)
  assert str(shape) in str(error.value)


def test_larger_map_is_pooled_axis_by_axis():
  wide, high = jnp.ones((1, 2, 8, 3)), jnp.ones((1, 6, 4, 3))
  student, teacher = pooling.pool_to_smaller("f", wide, high)
  assert student.shape == teacher.shape == (1, 2, 4, 3)
