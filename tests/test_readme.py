"""What the README claims is what the results in the repository say."""

import json
import pathlib
import re

import launch
from kdjax.core import spec
from kdjax.runner.report import verdicts

ROOT = pathlib.Path(launch.__file__).parent
README = (ROOT / "README.md").read_text()


def test_headline_is_the_measured_one():
  results = json.loads(
    (ROOT / "experiments/results/mnist_demo.json").read_text()
  )
  flat = " ".join(README.split())
  assert " ".join(verdicts.headline(results).split()) in flat


def test_links_and_pictures_exist():
  for target in re.findall(r"\]\(([^)#]+)\)", README):
    assert (ROOT / target).exists(), target


def test_every_flag_in_the_readme_exists():
  from kdjax.runner.config import options

  known = {one.flag for one in options.options()} | {"experiment", "help"}
  used = set(re.findall(r"--([a-z_]+)", README))
  assert used <= known, used - known


def test_every_distillation_in_the_readme_can_be_built():
  from kdjax.methods import make_objective

  texts = re.findall(r"--distillation='([^']+)'", README)
  assert texts
  for text in texts:
    assert spec.parse_sum(text)
    make_objective(text, steps=100)


def test_map_names_every_module():
  modules = {
    file.name for file in (ROOT / "kdjax").iterdir()
    if file.suffix == ".py" and file.stem != "__init__"
  }  # fmt: skip
  rooms = {
    f"{path.parent.name}/" for path in (ROOT / "kdjax").glob("*/__init__.py")
  }
  assert modules <= set(re.findall(r"[a-z_]+\.py", README))
  assert rooms <= set(re.findall(r"[a-z_]+/", README))
