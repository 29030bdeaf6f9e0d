"""What commands start from, and that every documented command line is taken."""

import dataclasses
import pathlib
import re
import shlex

import pytest

import launch
from kdjax.core import plugins
from kdjax.runner import cli, main
from kdjax.runner.config import Experiment, Run
from kdjax.runner.config.experiments import load_experiment

ROOT = pathlib.Path(launch.__file__).parent
PAGES = [
  *sorted(ROOT.glob("*.md")),
  *sorted((ROOT / "docs").glob("*.md")),
  *sorted((ROOT / "experiments").glob("*.py")),
  ROOT / "experiments" / "README.md",
]


@pytest.fixture
def called(monkeypatch):
  """Runs the launcher up to where the command itself would begin."""
  calls = []
  monkeypatch.setattr(cli, "start", lambda job, call: calls.append(call))
  monkeypatch.setattr(main, "prepare_environment", lambda *_: None)
  monkeypatch.setattr(main, "order_for_memory", lambda *_: None)
  monkeypatch.setattr(main, "keep_programs", lambda *_: None)

  def call(*arguments):
    assert launch.main(["launch.py", *arguments]) == 0, arguments
    return calls[-1]

  return call


DEMO = load_experiment("mnist_demo")


@pytest.mark.parametrize(
  "arguments",
  [
    [],
    ["distill"],
    ["--seeds=2", "--epochs=3", "--workdir=x", "--accelerator=cpu"],
    ["--learning_rate=0.1", "--validation=0.1", "--temperature=4"],
    ["--teachers=2"],
    ["--experiment=mnist_demo", "--dataset=./photos", "--student=mlp(4)"],
    ["sweep", "--temperature=1,4"],
    ["compare", "kd"],
    ["cache"],
  ],
)
def test_flags_that_name_neither_data_nor_networks_keep_the_demo(
  arguments, called
):
  call = called(*arguments)
  assert call.name == "mnist_demo"
  assert call.experiment.teacher.augment == "shift(2)"
  assert call.experiment.controls.label_smoothing == 0.2


@pytest.mark.parametrize(
  ("arguments", "name"),
  [
    (["--dataset=./photos"], "photos"),
    (["--dataset=./a/photos (1)/"], "photos_1"),
    (["--dataset=image_folder(path='a/b')"], "b"),
    (["--dataset=/data/my-set"], "my-set"),
    (["--dataset=cifar10/small:3.0.2"], "cifar10"),
    (["--dataset=digits", "--epochs=3"], "digits"),
    (["--teacher=mlp(800, 800, dropout=0.5)", "--student=mlp(50)"], "mnist5k"),
    (["--teacher=mlp(4)"], "mnist5k"),
    (["--teacher_from=runs/a"], "mnist5k"),
    (["--teacher_cache=runs/a"], "mnist5k"),
    (["--chain=mlp(4)"], "mnist5k"),
    (["--regime=mutual"], "mnist5k"),
    (["--image_size=14"], "mnist5k"),
    (["--crop_size=14"], "mnist5k"),
    (["--train_split=train[:50%]"], "mnist5k"),
    (["--labels=100"], "mnist5k"),
    (["--transfer_dataset=photo_patches"], "mnist5k"),
    (["sweep", "--dataset=digits", "--temperature=1,4"], "digits"),
    (["compare", "kd", "--dataset=digits"], "digits"),
    (["cache", "--dataset=digits"], "digits"),
  ],
)
def test_ones_own_data_or_networks_start_from_the_plain_defaults(
  arguments, name, called
):
  call = called(*arguments)
  assert call.name == name
  plain = Experiment()
  assert call.experiment.controls == plain.controls
  assert call.experiment.distillation.distillation == "response"
  assert call.experiment.teacher.augment == plain.teacher.augment == "none"


def test_a_command_with_an_experiment_of_its_own_keeps_it(called):
  call = called("compress", "--dataset=digits")
  assert call.name == "digits"
  assert call.experiment.compression.sparsity == 0.8
  # Its views are of digits, and others' inputs may be no images.
  assert call.experiment.teacher.augment == "none"
  for typed in (), ("--dataset=digits", "--experiment=compression_table"):
    assert called("compress", *typed).experiment.teacher.augment == "shift(2)"
  call = called("quantify", "--train_split=train")
  assert call.name == "spurious_background"


def test_plugins_load_on_the_machine_of_the_experiment(called, monkeypatch):
  machines = []
  # What is imported here is no other test's plugin.
  monkeypatch.setattr(plugins, "_DIGESTS", {})
  monkeypatch.setattr(
    main, "prepare_environment", lambda *x: machines.append(x)
  )
  own = dataclasses.replace(DEMO, run=Run(accelerator="cpu", host_devices=2))
  monkeypatch.setattr(main.experiments, "load_experiment", lambda name: own)
  called("--plugins=json", "--experiment=own")
  called("--plugins=json", "--experiment=own", "--host_devices=3")
  assert machines == 2 * [("cpu", 2)] + 2 * [("cpu", 3)]


def documented():
  """Every command line of the pages, without what stands for something else."""
  for page in PAGES:
    text = page.read_text().replace("\\\\\n", " ").replace("\\\n", " ")
    for line in text.splitlines():
      match = re.match(r"\s+python launch\.py(.*)", line)
      if not match:
        continue
      words = re.split(r"\s{2,}|\s[#(]", match.group(1))[0].strip()
      if "..." not in words and "RESULTS" not in words:
        yield page.name, words


def test_every_documented_command_line_is_taken(called):
  lines = list(documented())
  assert len(lines) > 90
  for page, line in lines:
    words = shlex.split(line)
    if "--help" in words or "--version" in words:
      continue
    # What a file of the reader's own adds is not here.
    words = [word for word in words if not word.startswith("--plugins=")]
    if words[:1] == ["sweep"] and page.endswith(".py") and "," not in line:
      # What it tries stands in the docstring's next line, in words.
      words.append("--learning_rate=0.003,0.01")
    assert called(*words), (page, line)
