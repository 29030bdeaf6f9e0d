"""The distributions that the tables of hand-worked values share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# As rows of logits: Q is the student's, P the teacher's. KL(P || Q) = log(2) / 4.
Q = np.array([[0.5, 0.25, 0.25]])
P = np.array([[0.25, 0.5, 0.25]])
LN2 = np.log(2.0)


def logits(probabilities, temperature=1.0):
  """Returns logits whose softmax at the temperature has these probabilities."""
  return jnp.asarray(temperature * np.log(probabilities), jnp.float32)


def check_value(function, arguments, keywords, expected):
  """Compares what the jitted function returns with the value worked by hand."""
  with jax.numpy_dtype_promotion("strict"):
    got = jax.jit(functools.partial(function, **keywords))(*arguments)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
