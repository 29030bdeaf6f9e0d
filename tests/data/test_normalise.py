import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.data import to_float


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
