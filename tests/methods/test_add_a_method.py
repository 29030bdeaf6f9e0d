"""The method of docs/add_a_method.md works as the page says."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documented_code import code_of, loaded, page, results_with

from kdjax import taps
from kdjax.core import method as method_module
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import make_objective, terms_of
from kdjax.methods.registry import MAKERS, OBJECTIVES
from kdjax.models import make_model

PAGE = page("add_a_method.md")
NAME = "cosine_features"


@pytest.fixture
def module(tmp_path):
  with loaded(
    code_of(PAGE), tmp_path / f"{NAME}.py", MAKERS, OBJECTIVES
  ) as module:
    yield module


def test_page_is_one_screen():
  assert len(PAGE.splitlines()) <= 80
  assert f"kdjax/methods/{NAME}.py" in PAGE


def test_registered_and_documented(module):
  assert MAKERS[NAME] is module.cosine_features
  assert list(map(str, terms_of(NAME))) == ["ce:1.0", f"{NAME}:2.0"]
  assert list(map(str, terms_of(f"kd:1 + {NAME}"))) == ["kd:1.0", f"{NAME}:2.0"]
  for part in ("loss =", "Matched:", "Learned:", "Default taps:", "Cost:"):
    assert part in MAKERS[NAME].__doc__
  names = {"jax": jax, "jnp": jnp} | vars(method_module)
  assert not doctest.testmod(module, extraglobs=names).failed


def test_one_gradient_step_lowers_the_loss(module):
  method = make_objective(NAME)
  images = np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
  networks = {
    "student": make_model("mlp(8)", classes=3),
    "teacher": make_model("mlp(12, 10)", classes=3),
  }
  variables = {
    side: jax.jit(network.init)(jax.random.key(i), images)
    for i, (side, network) in enumerate(networks.items())
  }

  def outputs(side, parameters, names):
    apply = taps.tapped(networks[side].apply, names)
    return Outputs(*apply(parameters, images))

  teacher = jax.jit(
    lambda parameters: outputs("teacher", parameters, method.teacher_taps)
  )(variables["teacher"])

  def inputs_of(parameters):
    student = outputs("student", parameters, method.student_taps)
    return Inputs(student, teacher, np.arange(6) % 3, np.int32(0))

  params, state = jax.jit(
    lambda parameters: method.init(jax.random.key(2), inputs_of(parameters))
  )(variables["student"])

  @jax.jit
  def step(trained):
    def loss(trained):
      network, params = trained
      return method.apply(params, state, inputs_of(network))[0]

    value, slope = jax.value_and_grad(loss)(trained)
    return value, jax.tree.map(lambda x, g: x - 0.1 * g, trained, slope)

  first, trained = step((variables["student"], params))
  moved = jax.tree.map(
    lambda x, y: not np.array_equal(x, y),
    trained,
    (variables["student"], params),
  )
  assert all(jax.tree.leaves(moved))
  assert float(step(trained)[0]) < float(first)


@pytest.mark.slow
def test_launcher_runs_it_from_one_new_file(tmp_path):
  arguments = [
    "--dataset=digits", "--teacher=mlp(16)", "--student=mlp(8)",
    "--teacher_epochs=1", "--epochs=1", "--seeds=1", "--batch_size=64",
    "--teacher_batch_size=64",
    f"--distillation={NAME}",
  ]  # fmt: skip
  place = f"methods/{NAME}.py"
  assert NAME in results_with(code_of(PAGE), place, arguments, tmp_path)
