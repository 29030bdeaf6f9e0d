import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.data import middle, plain_view, to_float


@pytest.mark.parametrize("run", [to_float, jax.jit(to_float)])
def test_bytes(run):
  floats = run(jnp.arange(256, dtype=jnp.uint8))
  assert floats.dtype == jnp.float32
  expected = np.arange(256) / 255
  np.testing.assert_allclose(floats, expected, rtol=2e-7, atol=0)
  assert floats[0] == 0 and floats[255] == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_floats_keep_their_values(dtype):
  images = jnp.array([-1.5, 0.0, 3.0], dtype)
  assert to_float(images).dtype == jnp.float32
  assert to_float(images).tolist() == [-1.5, 0.0, 3.0]


def test_refuses_other_integers():
  with pytest.raises(TypeError, match="int32"):
    to_float(jnp.zeros(3, jnp.int32))


@pytest.mark.parametrize(
  ("side", "size", "first"), [(4, 2, 1), (5, 2, 1), (3, 3, 0)]
)
def test_middle(side, size, first):
  images = jnp.arange(side * side).reshape(1, side, side, 1)
  window = slice(first, first + size)
  np.testing.assert_array_equal(middle(images, size), images[:, window, window])


def test_what_is_measured_is_the_middle_in_floats():
  images = jnp.full((2, 6, 8, 1), 255, jnp.uint8)
  assert plain_view(None)(images).shape == (2, 6, 8, 1)
  np.testing.assert_array_equal(plain_view(4)(images), jnp.ones((2, 4, 4, 1)))


def test_there_is_no_middle_larger_than_the_image():
  with pytest.raises(ValueError, match="4 x 8 have no middle of 6"):
    middle(jnp.zeros((1, 4, 8, 1)), 6)
