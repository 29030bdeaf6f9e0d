"""What the README claims is what the results and the code in the repository say."""

import json
import pathlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_architecture import PACKAGES

import launch
from kdjax.core import spec
from kdjax.runner.report import reading, verdicts

ROOT = pathlib.Path(launch.__file__).parent
README = (ROOT / "README.md").read_text()
RUNNING = (ROOT / "docs" / "running.md").read_text()
RESULTS = json.loads((ROOT / "experiments/results/mnist_demo.json").read_text())


def flat(text):
  return " ".join(text.split())


def blocks():
  """The Python code of the README by the heading that it stands under."""
  sections = re.split(r"^## (.+)$", README, flags=re.MULTILINE)[1:]
  pairs = zip(sections[::2], sections[1::2], strict=True)
  return {
    title: re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for title, text in pairs
  }


def test_it_is_read_in_one_go():
  assert len(README.splitlines()) <= 120


def test_headline_is_the_measured_one():
  assert flat(verdicts.headline(RESULTS)) in flat(README)


@pytest.mark.parametrize("control", ["label_smoothing", "augmented"])
def test_the_controls_are_the_measured_ones(control):
  errors = reading.ACCURACY.of(reading.networks(RESULTS)[control])
  assert f"{np.mean(errors):.2f} %" in flat(README)


def test_pictures_exist():
  pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
  assert len(pictures) == 1 and (ROOT / pictures[0]).exists()


class Network(nn.Module):
  width: int

  @nn.compact
  def __call__(self, images):
    x = images.reshape(len(images), -1)
    return nn.Dense(3)(nn.relu(nn.Dense(self.width)(x)))


def test_a_network_of_ones_own_is_distilled(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  images = jax.random.normal(jax.random.key(0), (64, 4, 4, 1))
  teacher = Network(512)
  known = teacher.init(jax.random.key(1), images)
  labels = jnp.argmax(teacher.apply(known, images), axis=-1)
  examples = {"image": images, "label": labels}
  names = {
    "Network": Network,
    "teacher_variables": known,
    "batches": [examples] * 30,
    "held_out": examples,
  }
  exec(blocks()["Distil your own network"][0], names)
  result = names["result"]
  assert result.history[-1]["kd"] < result.history[0]["kd"] / 2
  assert result.metrics["accuracy"] > 0.8


def test_a_network_of_ones_own_is_registered():
  from kdjax.models.registry import MAKERS

  exec(blocks()["Distil your own network"][1], {"MyNetwork": lambda *x: x})
  maker = MAKERS.pop("mine")
  assert maker(16, classes=3) == (16, 3)


def test_the_losses_alone_run():
  names = {}
  exec(blocks()["The losses alone"][0], names)
  assert names["loss"].shape == () and np.isfinite(names["loss"])


def test_every_distillation_can_be_built():
  from kdjax.methods import make_objective

  texts = re.findall(r"--distillation='([^']+)'", RUNNING)
  assert texts
  for text in texts:
    assert spec.parse_sum(text)
    make_objective(text, steps=100)


def test_the_map_names_every_package():
  text = README[README.index("## The map") :]
  assert set(PACKAGES) == set(re.findall(r"(?<=\s)([a-z]+)/ ", text))


def test_from_here_to_the_line_that_computes_kd_in_four_hops():
  page = ROOT / "docs" / "architecture.md"
  table = page.read_text().partition("| hop |")[2].partition("\n\n")[0]
  files = [
    (page.parent / link).resolve() for link in re.findall(r"\]\((.+?)\)", table)
  ]
  assert files[0] == ROOT / "README.md" and len(files) <= 4
  assert str(files[1].relative_to(ROOT)) in README
  for file, after in zip(files[1:], files[2:], strict=False):
    names = {after.stem, after.parent.name}
    assert any(
      re.search(rf"import .*\b{name}\b", file.read_text()) for name in names
    ), after
  assert "def kl_of_softmaxes" in files[-1].read_text()
