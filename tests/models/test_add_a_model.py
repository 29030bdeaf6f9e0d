"""The model of docs/add_a_model.md works as the page says."""

import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documented_code import code_of, loaded, page, results_with

from kdjax import taps
from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.registry import MAKERS

PAGE = page("add_a_model.md")
NAME = "mixer"


@pytest.fixture
def module(tmp_path):
  with loaded(code_of(PAGE), tmp_path / f"{NAME}.py", MAKERS) as module:
    yield module


def test_page_is_about_one_screen():
  assert len(PAGE.splitlines()) <= 100
  assert f"kdjax/models/{NAME}.py" in PAGE


def test_registered_and_documented(module):
  assert MAKERS[NAME] is module.mixer
  assert not doctest.testmod(module).failed
  for part in ("Args:", "Returns:", "Raises:", "Example:"):
    assert part in MAKERS[NAME].__doc__


def test_logits_of_every_class_and_the_named_places(module):
  network = make_model("mixer(2, 16, patch=3)", classes=5)
  images = jax.random.uniform(jax.random.key(0), (4, 9, 7, 3))
  variables = jax.jit(network.init)(jax.random.key(1), images)
  trained = functools.partial(network.apply, train=True)
  assert jax.eval_shape(trained, variables, images).shape == (4, 5)
  read = jax.jit(taps.tapped(network.apply, ["stage_*", "head:in"]))
  logits, features = read(variables, images)
  assert logits.dtype == jnp.float32
  # 3 x 2 patches fit into 9 x 7 pixels.
  assert {name: x.shape for name, x in features.items()} == {
    "stage_0": (4, 6, 16), "stage_1": (4, 6, 16), "head:in": (4, 16),
  }  # fmt: skip


def test_every_parameter_learns(module):
  network = make_model("mixer(1, 8, patch=4)", classes=3)
  images = jax.random.uniform(jax.random.key(0), (6, 8, 8, 1))
  variables = jax.jit(network.init)(jax.random.key(1), images)

  def loss(variables):
    return jnp.sum(network.apply(variables, images) ** 2)

  slopes = jax.jit(jax.grad(loss))(variables)
  assert all(np.any(slope != 0) for slope in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("mixer(0, 8)", "the depth must be a whole number >= 1"),
    ("mixer(2)", "width"),
    ("mixer(2, 8, patches=4)", "patch"),
  ],
)
def test_what_is_impossible_is_said_in_one_line(module, text, said):
  with pytest.raises(UserError, match=said):
    make_model(text, classes=3)


@pytest.mark.slow
def test_launcher_runs_it_from_one_new_file(tmp_path):
  arguments = [
    "--dataset=digits", "--teacher=mixer(2, 16)", "--student=mixer(1, 8)",
    "--teacher_epochs=1", "--epochs=1", "--seeds=1", "--batch_size=64",
    "--teacher_batch_size=64", "--distillation=fitnets", "--nocontrols",
    "--nolatency",
  ]  # fmt: skip
  place = f"models/{NAME}.py"
  assert NAME in results_with(code_of(PAGE), place, arguments, tmp_path)
