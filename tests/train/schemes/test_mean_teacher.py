"""Mean teacher: the average in closed form, views, what is measured."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.task import Batch
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.loader import Loader, repeat_examples
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.mean_teacher import follow, mean_teacher
from kdjax.train.schemes.scheme import OFFLINE
from kdjax.train.state import variables


def together(settings):
  return make_objective("ce:1 + kd(temperature=1):1")


def setup(scheme, network="mlp(5)", count=4):
  images = jax.random.uniform(jax.random.key(1), (count, 4, 4, 3))
  create = partial(
    scheme.create,
    make_model(network, classes=3),
    together({}),
    make_optimizer("sgd", "constant", 10),
    task=classification(3),
    teacher=None,
  )
  state = jax.jit(create)(
    rng=jax.random.key(0), inputs=images, learning_rate=jnp.float32(0.5)
  )
  index = jnp.arange(count)
  labels = jnp.arange(count) % 3
  return state, Batch(images, labels, jnp.ones(count, bool), index, index)


def walk(scheme, state, batch, steps):
  """The student's variables after each step, and the last state."""
  seen = []
  move = jax.jit(
    lambda *given: scheme.step(
      given[0], together({}), given[1], None, rng=jax.random.key(2)
    )
  )
  for _ in range(steps):
    state, _ = move(state, batch)
    seen.append(variables(state.student))
  return seen, state


@pytest.mark.parametrize(
  "decay", [0.6, pytest.param(0.999, marks=pytest.mark.slow)]
)
def test_the_twin_is_the_average_in_closed_form(decay):
  """While a_t = 1 - 1/(t+1) the twin is the plain mean of the students; after
  that it is a geometric average."""
  scheme = mean_teacher(decay=decay)
  students, state = walk(scheme, *setup(scheme), 4)
  weights = np.zeros(4)
  for t in range(4):
    kept = min(1 - 1 / (t + 1), decay)
    weights = kept * weights
    weights[t] = 1 - kept
  want = jax.tree.map(
    lambda *x: sum(w * one for w, one in zip(weights, x, strict=True)),
    *students,
  )
  if decay == 0.999:
    np.testing.assert_allclose(weights, 0.25)
  chex.assert_trees_all_close(state.twin, want, rtol=1e-5, atol=1e-6)
  assert int(state.student.step) == 4


def test_whole_numbers_are_taken_over():
  average = follow(
    {"mean": jnp.zeros(2), "count": jnp.array(1)},
    {"mean": jnp.ones(2), "count": jnp.array(5)},
    0.25,
  )
  np.testing.assert_array_equal(average["mean"], [0.25, 0.25])
  assert int(average["count"]) == 5


@pytest.mark.parametrize(("measured", "twin"), [("twin", 1), ("student", 0)])
def test_what_is_measured_can_be_chosen(measured, twin):
  scheme = mean_teacher(decay=0.9, measured=measured)
  _, state = walk(scheme, *setup(scheme), 3)
  both = scheme.all_networks(state)
  chex.assert_trees_all_equal(
    scheme.network(state), jax.tree.map(lambda x: x[twin], both)
  )
  kernels = both["params"]["head"]["kernel"]
  assert not np.allclose(kernels[0], kernels[1])


def test_the_twin_sees_the_other_view():
  """Of each pair of views the student gets the first, the twin the second."""
  one, two = mean_teacher(views=1), mean_teacher(views=2)
  state, batch = setup(one)
  images = jnp.stack([batch.inputs, 1 - batch.inputs], axis=1)
  doubled = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), batch)
  doubled = doubled._replace(inputs=images.reshape(8, 4, 4, 3))
  rng = jax.random.key(0)
  (_, plain), (_, other) = (
    jax.jit(
      lambda state, batch, step=scheme.step: step(
        state, together({}), batch, None, rng=rng
      )
    )(state, shown)
    for scheme, shown in ((one, batch), (two, doubled))
  )
  assert float(plain["ce"][0]) == pytest.approx(float(other["ce"][0]))
  # Before the first step both networks are the same one.
  assert float(plain["kd"][0]) == pytest.approx(0, abs=1e-5)
  assert float(other["kd"][0]) > 1e-3


def test_both_views_of_an_example_lie_side_by_side():
  loader = Loader(
    lambda *_: (np.array([[4, 7]]), np.array([[1, 0]])), 1, None, None
  )
  indices, weights = repeat_examples(loader, times=2).batches(0, 0, 1)
  assert indices.tolist() == [[4, 4, 7, 7]]
  assert weights.tolist() == [[1, 1, 0, 0]]


@pytest.mark.slow
def test_without_a_mutual_term_the_student_is_alone(fit):
  labels = lambda settings: make_objective("ce:1")  # noqa: E731
  twins = fit(labels, scheme=mean_teacher(), epochs=1)[-1].states["student"]
  alone = fit(labels, scheme=OFFLINE, epochs=1)[-1].states["student"]
  chex.assert_trees_all_close(
    twins.student.params, alone.params, rtol=1e-5, atol=1e-7
  )


@pytest.mark.slow
def test_devices_do_not_matter(fit):
  runs = [
    fit(together, scheme=mean_teacher(views=2), epochs=1, devices=devices)[-1]
    for devices in (1, 2)
  ]
  states = [run.states["student"] for run in runs]
  for part in ("twin", "student"):
    one, two = (jax.tree.leaves(getattr(state, part)) for state in states)
    chex.assert_trees_all_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"decay": 1.0}, r"decay must be in \[0, 1\)"),
    ({"decay": -0.1}, r"decay must be in \[0, 1\)"),
    ({"decay": "high"}, r"decay must be in \[0, 1\)"),
    ({"views": 3}, "views must be 1 or 2"),
    ({"measured": "both"}, "measured must be twin or student"),
  ],
)
def test_refuses(options, said):
  with pytest.raises(ValueError, match=said):
    mean_teacher(**options)
