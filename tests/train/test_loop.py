"""The loop: the same networks whatever the devices, members or storage."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.method import stateless, weighted_sum
from kdjax.core.task import batch_of
from kdjax.core.teacher import observe, stored_teacher
from kdjax.data import Split, stream
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.train.epoch import Epoch


def response(settings):
  return make_objective("kd:0.7 + ce:0.3", temperature=2.0)


def relation(settings):
  """Couples the examples: distances between the networks' Gram matrices."""

  def loss(inputs):
    student, teacher = inputs.student.answers, inputs.teacher.answers
    gap = student @ student.T - teacher @ teacher.T
    return jnp.mean(jnp.square(gap))

  coupled = stateless(loss, couples_batch=True)
  return weighted_sum(
    {"relation": (coupled, 0.1), "ce": (make_objective("hard"), 1)}
  )


@pytest.fixture(scope="module")
def programs():
  """programs(together, portion) -> those of `response`, compiled once."""
  kept = {}
  return lambda *options: kept.setdefault(options, {})


@pytest.fixture(scope="module")
def plain(fit, programs):
  """What others are compared with."""
  return fit(response, programs=programs(True, None))


def assert_close(got, want, tolerance=2e-6):
  chex.assert_trees_all_close(got, want, atol=tolerance, rtol=tolerance)


def test_means_of_an_epoch_are_over_all_that_counts():
  """Weights may add up to less than one; a member may have seen nothing yet."""
  sums = np.array([3.0, 0.1, 0.0]), np.array([2.0, 0.25, 0.0])
  epoch = Epoch(1, 1, True, 1, {}, {"arm": {"loss": sums}})
  np.testing.assert_allclose(epoch.metrics["arm"]["loss"], [1.5, 0.4, 0])


@pytest.mark.parametrize(
  ("method", "options", "devices"),
  [
    pytest.param(response, {}, 2, marks=pytest.mark.slow),
    pytest.param(response, {}, 8, marks=pytest.mark.slow),
    pytest.param(
      response,
      {"optimizer": "adam", "learning_rate": 1e-3},
      2,
      marks=pytest.mark.slow,
    ),
    (relation, {"drop_remainder": True}, 8),
    pytest.param(
      response,
      {
        "view": "random_resized_crop + crop(1) + flip",
        "optimizer": "sgd(momentum=0.9, weight_decay=5e-4, clip=1.0)",
      },
      2,
      marks=pytest.mark.slow,
    ),
  ],
  ids=["response", "response on 8", "adam", "coupled", "recipe"],
)
def test_devices_do_not_matter(fit, method, options, devices):
  one = fit(method, devices=1, **options)
  many = fit(method, devices=devices, **options)
  for a, b in zip(one, many, strict=True):
    assert_close(b.states["student"].params, a.states["student"].params, 1e-5)
    assert_close(b.metrics, a.metrics, 1e-5)
    # Every example counts once an epoch and member, the padding never.
    counted = 48 if options.get("drop_remainder") else 50
    assert a.examples == b.examples == 2 * counted


def test_members_have_their_own_settings(fit):
  def method(settings):
    return make_objective(
      "kd",
      temperature=settings["temperature"],
      hard_weight=settings["hard_weight"],
    )

  swept = fit(
    method,
    seeds=(1, 1),
    temperature=[1.0, 8.0],
    hard_weight=[0.0, 0.5],
    epochs=1,
  )[-1]
  single = fit(
    lambda settings: make_objective("kd(temperature=8)", hard_weight=0.5),
    seeds=(1,),
    epochs=1,
  )[-1]
  params = swept.states["student"].params
  assert_close(
    jax.tree.map(lambda x: x[1], params),
    _first(single.states["student"].params),
  )
  kernels = params["network"]["head"]["kernel"]
  assert not np.allclose(kernels[0], kernels[1])


def test_reading_from_disk_equals_memory(fit, toy, plain):
  images, labels = toy

  class Lazy:
    def __len__(self):
      return len(images)

    def __getitem__(self, i):
      return images[i]

  read = lambda indices: stream(Split(Lazy(), labels), indices)  # noqa: E731
  streamed = fit(response, read=read)
  assert_close(
    streamed[-1].states["student"].params, plain[-1].states["student"].params
  )


@pytest.mark.slow
def test_stored_answers_equal_the_live_teacher(fit, toy, teacher):
  images, _ = toy
  shown = observe(teacher, batch_of(images.astype(np.float32) / 255))
  live = fit(response, view="none")[-1].states["student"].params
  table = fit(response, view="none", teacher=stored_teacher(shown.answers))[-1]
  assert_close(table.states["student"].params, live)


def test_one_compilation_an_arm(fit):
  traces = []

  def counted(settings):
    traces.append(isinstance(settings["seed"], jax.core.Tracer))
    return response(settings)

  fit(counted, epochs=3)
  # once to initialise, once for the step inside the scan
  assert sum(traces) == 2


def _first(tree):
  return jax.tree.map(lambda x: x[0], tree)


def test_programs_are_shared_by_trainings(fit):
  """What differs in settings alone is compiled once, and gives the same."""
  programs = {}
  options = {"together": False, "epochs": 1, "programs": programs}
  fit(response, seeds=(5,), learning_rate=0.2, **options)
  compiled = dict(programs)
  shared = fit(response, seeds=(0, 1), **options)[-1]
  assert programs == compiled
  apart = fit(response, seeds=(0, 1), together=False, epochs=1)[-1]
  chex.assert_trees_all_equal(
    shared.states["student"].params, apart.states["student"].params
  )


@pytest.mark.parametrize(
  ("portion", "stop", "together"),
  [
    (None, 0, True),
    (3, 2, True),
    (3, 2, False),
    pytest.param(None, 0, False, marks=pytest.mark.slow),
    pytest.param(3, 0, True, marks=pytest.mark.slow),
    pytest.param(3, 0, False, marks=pytest.mark.slow),
  ],
)
def test_training_goes_on_bit_for_bit(fit, programs, together, portion, stop):
  options = {"together": together, "portion": portion}
  options["programs"] = programs(together, portion)
  whole = fit(response, **options)
  resumed = fit(response, **options, start=whole[stop])
  assert len(whole) == stop + 1 + len(resumed)
  for one, other in zip(whole[stop + 1 :], resumed, strict=True):
    assert (one.number, one.step, one.ended) == (
      other.number, other.step, other.ended,
    )  # fmt: skip
    chex.assert_trees_all_equal(
      (one.states["student"].params, one.states["student"].opt_state, one.sums),
      (
        other.states["student"].params,
        other.states["student"].opt_state,
        other.sums,
      ),
    )


def test_arms_begin_with_variables(fit):
  network = make_model("mlp(10)", classes=4)
  first = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 6, 6, 1)))
  still = {"network": network, "learning_rate": 0.0, "epochs": 1}
  still["programs"] = {}
  *_, epoch = fit(response, variables={"student": first}, **still)
  trained = epoch.states["student"].params["network"]
  for place in (0, 1):  # both seeds
    member = jax.tree.map(lambda x, i=place: x[i], trained)
    chex.assert_trees_all_equal(member, first["params"])
  # Those of another arm are drawn, each seed its own.
  *_, epoch = fit(response, variables={"other": first}, **still)
  *_, kernels = jax.tree.leaves(epoch.states["student"].params["network"])
  assert not np.array_equal(kernels[0], kernels[1])


def test_portions_change_nothing(fit, programs, plain):
  whole = plain[-1]
  cut = fit(response, portion=3, programs=programs(True, 3))
  assert [one.ended for one in cut] == [False, True, False, True]
  assert_close(cut[-1].states["student"].params, whole.states["student"].params)
  assert_close(cut[-1].metrics, whole.metrics)
