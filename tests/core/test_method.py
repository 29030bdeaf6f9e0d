"""Methods as values: averages, sums, weights, schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.method import Inputs, Method, Outputs, stateless, weighted_sum
from kdjax.core.schedule import at, make_schedule
from kdjax.core.spec import parse


def inputs(mask=None, step=3):
  logits = jnp.array([[1.0, 0.0], [5.0, 0.0], [9.0, 0.0]])
  outputs = Outputs(logits, {})
  labels = jnp.zeros(3, jnp.int32)
  mask = None if mask is None else jnp.array(mask)
  return Inputs(outputs, outputs, labels, jnp.int32(step), mask)


first = stateless(lambda x: x.student.answers[:, 0])
scalar = stateless(lambda x: x.student.answers.sum())


@pytest.mark.parametrize(
  ("method", "mask", "expected"),
  [
    (first, None, 5.0),
    (first, [True, True, False], 3.0),
    (first, [False, False, False], 0.0),
    (scalar, [True, False, False], 15.0),
  ],
)
def test_stateless(method, mask, expected):
  loss, state, metrics = method.apply((), (), inputs(mask))
  assert float(loss) == expected and loss.dtype == jnp.float32
  assert (state, metrics) == ((), {})


@pytest.mark.parametrize(
  ("weights", "expected"),
  [
    ((1.0, 0.0), 5.0),
    ((0.5, 2.0), 32.5),
    ((lambda step: step, 1.0), 30.0),
    ((jnp.float32(2.0), 0.0), 10.0),
  ],
)
def test_weighted_sum(weights, expected):
  both = weighted_sum({"a": (first, weights[0]), "b": (scalar, weights[1])})
  params, state = jax.jit(both.init)(jax.random.key(0), inputs())
  loss, _, metrics = both.apply(params, state, inputs())
  assert float(loss) == pytest.approx(expected)
  assert {name: float(x / n) for name, (x, n) in metrics.items()} == {
    "a": 5.0, "b": 15.0,
  }  # fmt: skip


def test_weighted_sum_keeps_what_its_parts_need():
  tapped = stateless(
    lambda x: 0.0, student_taps=("a", "b"), teacher_taps=("t",)
  )
  coupled = stateless(lambda x: 0.0, student_taps=("b",), couples_batch=True)
  both = weighted_sum({"one": (tapped, 1), "two": (coupled, 1)})
  assert both.student_taps == ("a", "b") and both.teacher_taps == ("t",)
  assert (
    both.couples_batch and not weighted_sum({"one": (tapped, 1)}).couples_batch
  )


def test_sums_of_sums_keep_parameters_and_state_apart():
  learned = Method(
    lambda rng, x: ({"w": jax.random.normal(rng, (2,))}, {"n": jnp.zeros(())}),
    lambda params, state, x: (params["w"].sum(), {"n": state["n"] + 1}, {}),
  )
  inner = weighted_sum({"x": (learned, 1.0), "y": (learned, 1.0)})
  outer = weighted_sum({"in": (inner, 2.0), "z": (learned, 1.0)})
  params, state = jax.jit(outer.init)(jax.random.key(0), inputs())
  assert not np.array_equal(params["in"]["x"]["w"], params["in"]["y"]["w"])
  loss, state, metrics = outer.apply(params, state, inputs())
  total = (
    sum(params["in"][name]["w"].sum() * 2 for name in "xy")
    + params["z"]["w"].sum()
  )
  assert float(loss) == pytest.approx(float(total), rel=1e-6)
  assert float(state["in"]["x"]["n"]) == 1 and set(metrics) == {
    "in",
    "in/x",
    "in/y",
    "z",
  }


@pytest.mark.parametrize(
  ("text", "steps", "expected"),
  [
    ("linear(8, 4, 100)", (0, 50, 100, 999), (8, 6, 4, 4)),
    ("cosine(2, 1, 100)", (0, 50, 100, 999), (2, 1.5, 1, 1)),
    ("exponential(1, 0.5, 10)", (0, 10, 20), (1, 0.5, 0.25)),
    ("step(1, (10, 20), 0.1)", (9, 11, 21), (1, 0.1, 0.01)),
    ("complement(linear(0, 1, 10))", (0, 5, 10), (1, 0.5, 0)),
    ("complement(0.25)", (0, 5), (0.75, 0.75)),
  ],
)
def test_schedules(text, steps, expected):
  schedule = make_schedule(parse(text))
  found = [float(at(schedule, jnp.int32(step))) for step in steps]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
