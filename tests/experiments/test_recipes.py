"""The literature's recipes: their networks fit, their settings are read, they run."""

import pathlib
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import launch  # noqa: E402  (the launcher stands beside the package)
from experiments import cifar100, imagenet  # noqa: E402
from kdjax import options  # noqa: E402
from kdjax.data import make_view  # noqa: E402
from kdjax.methods import make_objective  # noqa: E402
from kdjax.models import make_model  # noqa: E402
from kdjax.train.optimizer import make_optimizer  # noqa: E402
from kdjax.train.trial import try_step  # noqa: E402

PAGE = (ROOT / "docs" / "recipes.md").read_text()
SMALL = {f"cifar100/{name}": one for name, one in cifar100.EXPERIMENTS.items()}
LARGE = {f"imagenet/{name}": one for name, one in imagenet.EXPERIMENTS.items()}
RECIPES = SMALL | LARGE
METHODS = re.findall(
  r"""--distillation=(?:"([^"]+)"|'([^']+)'|([a-z_]+))""", PAGE
)
QUICK = "cifar100/vgg13_vgg8"


def check_step(recipe, distillation):
  """Traces a step of the full networks at the full resolution."""
  classes, side = (100, 32) if recipe in SMALL.values() else (1000, 224)
  teacher, student = (
    make_model(group.model, classes=classes)
    for group in (recipe.teacher, recipe.student)
  )
  method = make_objective(distillation, steps=100, examples=50, classes=classes)
  try_step(student, teacher, method, jnp.zeros((1, side, side, 3)))


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
    name if name == QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in RECIPES
  ],
)
def test_networks_fit(name):
  recipe = RECIPES[name]
  check_step(recipe, recipe.distillation.distillation)


@pytest.mark.slow
@pytest.mark.parametrize(
  "distillation",
  sorted({"".join(found) for found in METHODS}),
)
def test_methods_of_the_page_fit(distillation):
  check_step(SMALL["cifar100/resnet32x4_resnet8x4"], distillation)


def test_the_page_names_every_recipe_and_no_other():
  assert set(re.findall(r"--experiment=([a-z_0-9/]+)", PAGE)) <= set(RECIPES)
  assert all(f"`{name.split('/')[1]}`" in PAGE for name in RECIPES)


def images(prepare, side, classes, count=16):
  """A prepared data set of random images; every class has a name."""
  rng = np.random.default_rng(0)
  rows = [
    {
      "image": rng.integers(0, 256, (side, side, 3), np.uint8),
      "label": i % classes,
    }
    for i in range(count)
  ]
  features = {
    "image": tfds.features.Image(shape=(side, side, 3)),
    "label": tfds.features.ClassLabel(num_classes=classes),
  }
  keys = ("image", "label")
  return prepare(
    features, {"train": rows, "validation": rows, "test": rows}, keys=keys
  )


def check_run(recipe, dataset, workdir, *arguments):
  """Two steps of the teacher and two of the student, from data to report."""
  status = launch.main(
    [
      "launch.py",
      f"--experiment={recipe}",
      f"--dataset={dataset}",
      "--epochs=1",
      "--teacher_epochs=1",
      "--batch_size=8",
      "--teacher_batch_size=8",
      f"--workdir={workdir}",
      *arguments,
    ]  # fmt: skip
  )
  assert status == 0
  assert (workdir / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [QUICK, "cifar100/resnet56_resnet20"])
def test_two_steps_of_a_small_pair(prepare, tmp_path, name):
  check_run(name, images(prepare, 32, 100), tmp_path / "run")


@pytest.mark.slow
def test_two_steps_of_the_large_pair(prepare, tmp_path):
  """ResNet-34 and ResNet-18 on images of 64 pixels, stored at 72."""
  check_run(
    "imagenet/resnet34_resnet18",
    images(prepare, 80, 10),
    tmp_path / "run",
    "--image_size=72",
    "--crop_size=64",
    "--resident_megabytes=0",
  )
