"""The task of docs/tasks.md works as the page says, in the loop as it is."""

import doctest

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documented_code import code_of, loaded, page

from kdjax import tasks
from kdjax.core.method import Outputs
from kdjax.core.task import Task, final_score
from kdjax.core.teacher import Teacher
from kdjax.data import batches, steps_per_pass
from kdjax.evaluate import compare, measure_task, score
from kdjax.methods import make_objective
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.loader import Loader
from kdjax.train.optimizer import make_optimizer

PAGE = page("tasks.md")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
  file = tmp_path_factory.mktemp("tasks") / "number.py"
  with loaded(code_of(PAGE), file, tasks.MAKERS) as module:
    yield module


@pytest.fixture
def number(module):
  return module.number()


def test_page_names_every_field_of_a_task():
  assert "kdjax/tasks/number.py" in PAGE
  assert [name for name in Task._fields if f"`{name}`" not in PAGE] == ["name"]


def test_it_is_registered_and_documented(module):
  assert tasks.make_task("number(target='z')") is module.number(target="z")
  assert not doctest.testmod(module).failed


class Line(nn.Module):
  """One number of several."""

  @nn.compact
  def __call__(self, x, *, train=False):
    return nn.Dense(1, name="head")(x)


def numbers(count=40):
  x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
  return x, (x @ [1.0, -2.0, 0.5] + 3).astype(np.float32)


def trained(task, method, *, devices=1, epochs=30, teacher=None):
  """Epochs of one arm of two seeds; 40 = 2 * 16 + 8, a ragged batch."""
  x, y = numbers()
  loader = Loader(
    lambda seed, start, stop: batches(
      np.arange(40), 16, seed=seed, start=start, stop=stop
    ),
    steps_per_pass(40, 16, False),
    y,
    lambda key, stored, positions: stored,
  )
  settings = {"seed": np.arange(2), "learning_rate": np.full(2, 0.1)}
  return [
    jax.device_get(epoch)
    for epoch in loop.train(
      Line(),
      make_optimizer("sgd", "constant", 9),
      {"student": Arm("all", lambda _: method, settings, teacher="teacher")},
      {"all": loader},
      {"x": x},
      epochs=epochs,
      task=task,
      sample={"x": jnp.zeros((1, 3))},
      teachers=teacher and {"teacher": teacher},
      devices=jax.local_devices()[:devices],
    )
  ]


def outputs(epoch):
  x, _ = numbers()
  params = epoch.states["student"].params["network"]
  return np.stack(
    [
      Line().apply({"params": jax.tree.map(lambda p, m=m: p[m], params)}, x)
      for m in range(2)
    ]
  )


def test_a_number_is_learned_and_scored(number):
  first, *_, last = trained(number, make_objective("hard", task=number))
  errors = score(number, outputs(last), numbers()[1])
  assert max(errors) < 0.05
  shown = final_score(number, "rmse", first.metrics["student"]["rmse"])
  assert shown.shape == (2,) and shown.min() > 1
  # Of a squared error the loss and the score are sums of the same.
  np.testing.assert_allclose(
    last.metrics["student"]["rmse"], last.metrics["student"]["loss"], rtol=1e-5
  )


def test_a_number_is_distilled_on_one_device_as_on_two(number):
  def show(arrays, batch, step, taps):
    return Outputs(batch.inputs["x"] @ arrays, {})

  teacher = Teacher(jnp.array([[2.0], [0.0], [1.0]]), show, lambda arrays: None)
  method = make_objective("logit_mse:1 + ce:0", task=number)
  one, two = (
    trained(number, method, devices=count, epochs=20, teacher=teacher)[-1]
    for count in (1, 2)
  )
  np.testing.assert_allclose(outputs(one), outputs(two), rtol=1e-4, atol=1e-5)
  want = numbers()[0] @ np.array([[2.0], [0.0], [1.0]])
  np.testing.assert_allclose(outputs(one)[0], want, atol=0.05)


def test_a_run_says_every_metric_of_it_and_compares_it(number):
  x, y = numbers()
  outputs = np.stack([y[:, None] + 1, y[:, None] - 2])
  found = measure_task(number, outputs, y)
  assert found.keys() == {"test_rmse", "test_examples"}
  np.testing.assert_allclose(found["test_rmse"], [1, 2], rtol=1e-5)
  result = compare([1.0, 2.0], [2.0, 2.5], better=number.better, factor=1.0)
  assert (result.mean, result.wins) == (-0.75, 2)
