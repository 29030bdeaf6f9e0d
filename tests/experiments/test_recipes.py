"""The literature's recipes: their networks fit, their settings are read, they run."""

import dataclasses
import io
import json
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]

import launch  # noqa: E402  (the launcher stands beside the package)
from experiments import (  # noqa: E402
  cifar100,
  imagenet,
  large_language_models,
)
from kdjax.data import make_view  # noqa: E402
from kdjax.methods import make_objective  # noqa: E402
from kdjax.models import make_model  # noqa: E402
from kdjax.runner.config import options  # noqa: E402
from kdjax.runner.pipeline.values import (  # noqa: E402
  objective_text,
  read_values,
)
from kdjax.tasks import classification  # noqa: E402
from kdjax.train.dry_run import check_step  # noqa: E402
from kdjax.train.optimizer import make_optimizer  # noqa: E402

PAGE = (ROOT / "docs" / "recipes.md").read_text()
SMALL = cifar100.EXPERIMENTS
RECIPES = SMALL | imagenet.EXPERIMENTS
METHODS = re.findall(
  r"""--distillation=(?:"([^"]+)"|'([^']+)'|([a-z_]+))""", PAGE
)
# By hand from mdistiller's configs/cifar100/dkd/*.yaml (8 where a file has no
# BETA), ReviewKD's CIFAR-100/script/reviewKD.sh and DIST's dist_cifar.yaml.
PUBLISHED = {
  ("wrn40_2_wrn16_2", "dkd"): 6,
  ("wrn40_2_wrn40_1", "dkd"): 6,
  ("resnet56_resnet20", "dkd"): 2,
  ("resnet110_resnet32", "dkd"): 2,
  ("resnet32x4_resnet8x4", "dkd"): 8,
  ("vgg13_vgg8", "dkd"): 6,
  ("vgg13_mobilenet_v2", "dkd"): 6,
  ("resnet32x4_shufflenet_v1", "dkd"): 8,
  ("resnet32x4_shufflenet_v2", "dkd"): 8,
  ("wrn40_2_shufflenet_v1", "dkd"): 8,
  ("wrn40_2_wrn16_2", "review_kd"): 5,
  ("wrn40_2_wrn40_1", "review_kd"): 5,
  ("wrn40_2_shufflenet_v1", "review_kd"): 5,
  ("resnet32x4_resnet8x4", "review_kd"): 5,
  ("resnet32x4_shufflenet_v1", "review_kd"): 5,
  ("resnet32x4_shufflenet_v2", "review_kd"): 8,
  ("resnet56_resnet20", "review_kd"): 0.6,
  ("resnet110_resnet32", "review_kd"): 1,
  ("wrn40_2_wrn40_1", "dist"): 2,
  ("resnet56_resnet20", "dist"): 2,
  ("resnet32x4_resnet8x4", "dist"): 2,
  ("resnet32x4_shufflenet_v1", "dist"): 2,
  ("resnet32x4_shufflenet_v2", "dist"): 2,
}
# What reads answers alone fits a pair as plain distillation does.
PAIRS = [name for name in RECIPES if not name.endswith(("_dkd", "_dist"))]
QUICK = (
  "cifar100/vgg13_vgg8",
  "cifar100/wrn40_2_wrn16_2",
  "imagenet/resnet34_resnet18",
)


def check_recipe(recipe, distillation):
  """Traces a step of the full networks at the full resolution."""
  classes, side = (100, 32) if recipe in SMALL.values() else (1000, 224)
  teacher, student = (
    make_model(group.model, classes=classes)
    for group in (recipe.teacher, recipe.student)
  )
  method = make_objective(distillation, steps=100, examples=50, classes=classes)
  sample, task = jnp.zeros((1, side, side, 3)), classification(classes)
  check_step(student, teacher, method, sample, task)


@pytest.mark.parametrize("name", RECIPES)
def test_settings_can_be_read(name):
  recipe = RECIPES[name]
  options.check(recipe)
  for group in (recipe.teacher, recipe.student):
    make_optimizer(group.optimizer, group.schedule, 1000)
    make_view(group.augment)
    make_model(group.model, classes=100)


@pytest.mark.parametrize(
  "name",
  [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in PAIRS
  ],
)
def test_networks_fit(name):
  recipe = RECIPES[name]
  check_recipe(recipe, recipe.distillation.distillation)


@pytest.mark.slow
@pytest.mark.parametrize(
  "distillation",
  sorted({"".join(found) for found in METHODS}),
)
def test_methods_of_the_page_fit(distillation):
  check_recipe(SMALL["cifar100/resnet32x4_resnet8x4"], distillation)


def test_the_page_names_every_recipe_and_no_other():
  every = RECIPES | large_language_models.EXPERIMENTS
  assert set(re.findall(r"--experiment=([a-z_0-9/]+)", PAGE)) <= set(every)
  weighted = {f"cifar100/{pair}_{method}" for pair, method in PUBLISHED}
  assert weighted <= set(RECIPES)
  plain = set(RECIPES) - weighted
  assert all(f"`{name.split('/')[1]}`" in PAGE for name in plain)


@pytest.mark.parametrize(("pair", "method"), sorted(PUBLISHED))
def test_recipes_carry_each_pairs_own_weight(pair, method):
  """In the experiment, in what it trains on, and on the page."""
  figure = PUBLISHED[pair, method]
  chosen = SMALL[f"cifar100/{pair}_{method}"]
  assert (
    objective_text(chosen, read_values(chosen).objective)
    == {
      "dkd": f"ce:1.0 + dkd(beta={figure}):warmup(0.0833)",
      "review_kd": f"ce:1.0 + review_kd:warmup(0.083, {figure})",
      "dist": "ce:1.0 + dist(temperature=4):2.0",
    }[method]
  )
  plain = SMALL[f"cifar100/{pair}"]
  assert dataclasses.replace(chosen, distillation=plain.distillation) == plain
  cells = re.search(rf"^\| `{pair}` \|(.+)\|$", PAGE, re.MULTILINE)[1].split(
    "|"
  )
  column = ["dkd", "review_kd", "dist"].index(method)
  assert cells[column].strip() == str(figure)


def prepare_images(prepare, side, classes, count=16):
  """A prepared data set of random images; returns its directory."""
  rng = np.random.default_rng(0)

  def png():
    # TFDS would need TensorFlow to encode it.
    file = io.BytesIO()
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file

  def rows():
    return [{"image": png(), "label": i % classes} for i in range(count)]

  features = {
    "image": tfds.features.Image(shape=(side, side, 3), encoding_format="png"),
    "label": tfds.features.ClassLabel(num_classes=classes),
  }
  splits = {name: rows() for name in ("train", "validation", "test")}
  return prepare(features, splits, keys=("image", "label"))


@pytest.fixture
def run_twice(prepare, tmp_path, quick_runs):
  """Returns a function: two steps of teacher and student, from data to report."""

  def run(recipe, side, classes, *arguments):
    workdir = tmp_path / "run"
    dataset = prepare_images(prepare, side, classes)
    given = [
      f"--experiment={recipe}", f"--dataset={dataset}", "--epochs=1",
      "--teacher_epochs=1", "--batch_size=8", "--teacher_batch_size=8",
      f"--workdir={workdir}", *arguments,
    ]  # fmt: skip
    assert launch.main(["launch.py", *given]) == 0
    return json.loads((workdir / "results.json").read_text())

  return run


@pytest.mark.slow
def test_two_steps_of_a_small_pair(run_twice):
  found = run_twice("cifar100/vgg13_vgg8", 32, 100)
  assert found["objective"] == "ce:0.1 + kd:0.9"
  assert np.isfinite(found["student"]["negative_log_likelihood"]).all()


@pytest.mark.slow
def test_two_steps_of_a_large_recipe(run_twice):
  """64 x 64 of 72 x 72 pixels, read from disk; its networks compile for minutes."""
  found = run_twice(
    "imagenet/resnet34_resnet18", 80, 10,
    "--image_size=72", "--crop_size=64", "--resident_megabytes=0",
    "--teacher=resnet14(normalise='imagenet')", "--student=resnet8",
  )  # fmt: skip
  assert found["teacher"]["model"].endswith("normalise='imagenet')")
  assert np.isfinite(found["student"]["negative_log_likelihood"]).all()
