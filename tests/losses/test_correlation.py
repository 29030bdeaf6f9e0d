import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

# |p|^2 = |q|^2 = 3/8 and <p, q> = 5/16; centred, <p, q> / (|p| |q|) = -1/2.
SQUARE, PRODUCT = 3 / 8, 5 / 16
CLASSES = (2 * SQUARE**2 - 2 * PRODUCT**2) / 3

TABLE = [
  # One row: a column of one entry has no correlation, so it scores 1.
  ("dist", {"gamma": 0.0}, 1.5),
  ("dist", {"beta": 0.0}, 1.0),
  ("dist", {"beta": 2.0, "gamma": 3.0}, 6.0),
  ("class_correlation", {}, CLASSES),
  ("batch_correlation", {}, 0.0),
  ("mlkd", {"temperatures": (1.0,)}, 0.25 * LN2 + CLASSES),
]


@pytest.mark.parametrize(("name", "keywords", "expected"), TABLE)
def test_values_of_one_row(name, keywords, expected):
  inputs = (logits(Q), logits(P))
  check_value(getattr(losses, name), inputs, keywords, expected)


def test_batch_correlation_of_two_rows():
  student = jnp.concatenate([logits(Q), logits(P)])
  teacher = jnp.concatenate([logits(P), logits(P)])
  expected = 2 * (SQUARE - PRODUCT) ** 2 / 2
  check_value(losses.batch_correlation, (student, teacher), {}, expected)


def test_dist_of_swapped_rows_is_anticorrelated_in_columns():
  student = jnp.concatenate([logits(Q), logits(P)])
  # Columns 0 and 1 fall where the teacher's rise; column 2 is constant.
  expected = (2 + 2 + 1) / 3
  inputs = (student, student[::-1])
  check_value(losses.dist, inputs, {"beta": 0.0}, expected)


def test_dist_temperature_is_squared():
  inputs = (logits(Q, 2.0), logits(P, 2.0))
  check_value(losses.dist, inputs, {"temperature": 2.0}, 4 * 2.5)
  check_value(
    losses.dist, inputs, {"temperature": 2.0, "t_squared": False}, 2.5
  )


def test_dist_flattens_leading_dimensions():
  random = np.random.default_rng(0)
  student, teacher = jnp.asarray(random.normal(size=(2, 6, 4)), jnp.float32)
  want = losses.dist(student, teacher)
  folded = (student.reshape(2, 3, 4), teacher.reshape(2, 3, 4))
  check_value(losses.dist, folded, {}, want)


def test_mlkd_adds_up_its_temperatures():
  inputs = (logits(Q, 2.0), logits(P, 2.0))
  one = [losses.mlkd(*inputs, temperatures=(t,)) for t in (2.0, 3.0)]
  check_value(losses.mlkd, inputs, {"temperatures": (2.0, 3.0)}, sum(one))


@pytest.mark.parametrize(
  "name", ["class_correlation", "batch_correlation", "mlkd"]
)
def test_maps_are_refused(name):
  maps = jnp.zeros((2, 3, 4))
  with pytest.raises(ValueError, match=f"{name}: .* \\(n, C\\), got"):
    getattr(losses, name)(maps, maps)


def test_dist_takes_one_temperature():
  with pytest.raises(ValueError, match=r"dist: temperature must be a scalar"):
    losses.dist(logits(Q), logits(P), temperature=jnp.ones((1,)))


@pytest.mark.parametrize("name", ["class_correlation", "mlkd", "dist"])
def test_the_mean_is_over_the_classes_that_are_there(name):
  sides = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
  want = getattr(losses, name)(*sides)
  padded = np.pad(sides, ((0, 0), (0, 0), (0, 6)), constant_values=-np.inf)
  check_value(getattr(losses, name), tuple(padded), {}, want)
