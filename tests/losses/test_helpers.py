import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import check_value

from kdjax import losses
from kdjax.losses.helpers import class_ids

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
  ("row", "keywords", "expected"),
  [
    ([1.0, 2.0, 3.0], {}, [-1, 0, 1]),
    ([1.0, 3.0], {"ddof": 0}, [-1, 1]),
    ([7.0, 7.0, 7.0], {}, [0, 0, 0]),
    ([30001.0, 30002.0, 30003.0], {}, [-1, 0, 1]),
    ([1.0, -INF, 2.0, 3.0], {}, [-1, -INF, 0, 1]),
    ([-INF, -INF], {}, [-INF, -INF]),
  ],
)
def test_standardize_logits(row, keywords, expected):
  check_value(
    losses.standardize_logits, (jnp.array([row]),), keywords, [expected]
  )


def test_standardize_logits_over_another_axis():
  columns = jnp.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
  expected = [[-1, 0], [0, 0], [1, 0]]
  check_value(losses.standardize_logits, (columns,), {"axis": 0}, expected)


@pytest.mark.parametrize(
  "row", [[7.0, 7.0, 7.0], [1e4, 1e4, 1e4], [-INF, -INF, -INF]]
)
def test_constant_rows_send_nothing_back(row):
  weights = jnp.array([1.0, 2.0, 3.0])

  def objective(row):
    result = losses.standardize_logits(row)
    return jnp.sum(jnp.where(result > -INF, result, 0.0) * weights)

  assert not jax.jit(jax.grad(objective))(jnp.array(row)).any()


@pytest.mark.parametrize(
  ("values", "mask", "axis", "expected"),
  [
    ([[1.0, 3.0], [5.0, 9.0]], [[1, 1], [1, 0]], None, 3.0),
    ([[1.0, 3.0], [5.0, 9.0]], [[1, 1], [1, 0]], 1, [2.0, 5.0]),
    ([[1.0, 3.0], [NAN, INF]], [[1, 1], [0, 0]], (0, 1), 2.0),
    ([[1.0, 3.0], [NAN, INF]], [[0, 0], [0, 0]], None, 0.0),
  ],
)
def test_masked_mean(values, mask, axis, expected):
  inputs = (jnp.array(values), jnp.array(mask) > 0)
  check_value(losses.masked_mean, inputs, {"axis": axis}, expected)


@pytest.mark.parametrize(
  ("mask", "expected"), [([1, 1, 0], [0.5, 0.5, 0]), ([0, 0, 0], [0, 0, 0])]
)
def test_masked_mean_gradient(mask, expected):
  values, mask = np.float32([1.0, 2.0, NAN]), np.array(mask) > 0
  got = jax.jit(jax.grad(losses.masked_mean))(values, mask)
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
  ("values", "weights", "axis", "expected"),
  [
    ([1.0, 5.0, NAN], [0.3, 0.1, 0.0], None, 2.0),
    ([1.0, 5.0, NAN], [3, 1, 0], None, 2.0),
    ([[1.0, 5.0], [NAN, 7.0]], [[0.5, 0.5], [0.0, 0.0]], 1, [3.0, 0.0]),
    ([1.0, 3.0], [1e-6, 1e-6], None, 2.0),
    ([NAN, INF], [0.0, 0.0], None, 0.0),
  ],
)
def test_float_weights_in_a_mean_are_weights(values, weights, axis, expected):
  inputs = (jnp.array(values), jnp.array(weights))
  check_value(losses.masked_mean, inputs, {"axis": axis}, expected)


def test_gradient_of_a_weighted_mean():
  values, weights = jnp.array([1.0, 5.0, NAN]), jnp.array([0.3, 0.1, 0.0])
  grads = jax.jit(jax.grad(losses.masked_mean, (0, 1)))(values, weights)
  # (v - mean) / sum for the weights; one that is 0 has no value to weigh.
  np.testing.assert_allclose(grads[0], [0.75, 0.25, 0], rtol=1e-6)
  np.testing.assert_allclose(grads[1][:2], [-2.5, 7.5], rtol=1e-6)
  assert np.isfinite(grads[1][2])


@pytest.mark.parametrize("weight", [-1.0, NAN, INF])
def test_a_weight_that_is_none_is_refused(weight):
  with pytest.raises(ValueError, match="^masked_mean: mask must be >= 0"):
    losses.masked_mean(jnp.ones(2), jnp.array([1.0, weight]))


def test_masked_mean_shapes():
  with pytest.raises(ValueError, match=r"masked_mean: .*\(3,\) and \(2,\)"):
    losses.masked_mean(jnp.ones(3), jnp.ones(2) > 0)


@pytest.mark.parametrize(
  ("dtype", "ids", "expected"),
  [
    (np.int32, [0, 299, 300, -1, -100], [0, 299, -1, -1, -1]),
    (np.int8, [0, 127, -1, -128], [0, 127, -1, -1]),
    (np.uint8, [0, 255], [0, 255]),
    (np.uint16, [299, 300, 65535], [299, -1, -1]),
    (np.uint32, [299, 2**31, 2**32 - 1], [299, -1, -1]),
    (np.int64, [299, 2**32, -(2**32)], [299, -1, -1]),
  ],
)
def test_class_ids_name_a_class_or_none(dtype, ids, expected):
  got = class_ids(np.array(ids, dtype), 300)
  np.testing.assert_array_equal(got, expected)
  if dtype != np.int64:  # JAX has none by default
    got = jax.jit(lambda x: class_ids(x, 300))(jnp.array(ids, dtype))
    np.testing.assert_array_equal(got, expected)
