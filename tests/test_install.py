"""What `pip install` gives: losses that stand alone, and the runner from any folder."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import venv
from typing import NamedTuple

import pytest

from kdjax.core import errors
from kdjax.runner import main
from kdjax.runner.config import experiments

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHECK = """
import sys
import kdjax.losses
heavy = {"flax", "optax", "tensorflow_datasets", "orbax", "matplotlib", "absl"}
assert not heavy & {name.split(".")[0] for name in sys.modules}
print(kdjax.__file__)
"""
# What is installed must not read the clone that it was built from.
GUARD = """
import sys

def refuse(event, arguments):
  path = str(arguments[0]) if arguments else ""
  if event == "open" and path.startswith({clone!r}) and {site!r} not in path:
    raise PermissionError(path)

sys.addaudithook(refuse)
"""
TINY = ["--epochs=2", "--teacher_epochs=2", "--seeds=1", "--nocontrols"]
TINY += ["--accelerator=cpu", "--nolatency"]
FILES = ["runner/report/page.html.jinja", "runner/report/page.css"]
FILES += [
  f"runner/experiments/{file.name}"
  for file in (ROOT / "experiments").glob("*.py")
]


def requirements(*extras):
  project = PROJECT["project"]
  more = project["optional-dependencies"]
  return {*project["dependencies"], *(x for name in extras for x in more[name])}


def test_requirements_txt_has_what_the_extras_name():
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  named = {line for line in lines if line and not line.startswith("#")}
  assert requirements("run", "deploy", "lm", "onnx", "test") <= named
  apart = (ROOT / "requirements-no-deps.txt").read_text().splitlines()
  said = (ROOT / "kdjax/models/export/formats.py").read_text()
  assert f"pip install --no-deps {apart[-1]}" in said


def test_the_command_is_the_launchers_function():
  module, _, name = PROJECT["project"]["scripts"]["kdjax"].partition(":")
  assert callable(getattr(importlib.import_module(module), name))


def test_the_experiments_stand_where_they_are_packaged():
  packaged = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["sources"]
  assert packaged == {"experiments": "kdjax/runner/experiments"}
  assert experiments.folder() == ROOT / "experiments"
  for file in experiments.folder().glob("*.py"):
    # The folder has another name where it is installed.
    assert "experiments." not in file.read_text(), file.name


@pytest.mark.parametrize(
  ("path", "name", "words"),
  [
    ("/usr/bin/kdjax", "kdjax", ["kdjax"]),
    ("/x/kdjax/__main__.py", "kdjax", ["python", "-m", "kdjax"]),
    ("launch.py", "launch.py", ["python", "launch.py"]),
    ("../clone/launch.py", "launch.py", ["python", "../clone/launch.py"]),
  ],
)
def test_a_report_repeats_what_was_typed(path, name, words, monkeypatch):
  monkeypatch.setattr(sys, "argv", [path])
  assert errors.program() == name
  assert main.as_typed([path, "list"]) == [*words, "list"]


class Installed(NamedTuple):
  """Runs commands in an environment that has the wheel, outside of the clone."""

  folder: pathlib.Path
  site: pathlib.Path
  environment: dict

  def __call__(self, *words):
    return subprocess.run(
      words,
      cwd=self.folder,
      env=self.environment,
      capture_output=True,
      text=True,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """The wheel in an environment of its own, with the packages of this one."""
  folder = tmp_path_factory.mktemp("installed")
  pip = [sys.executable, "-m", "pip"]
  build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
  subprocess.run(build, check=True)
  home = folder / "env"
  venv.create(home, with_pip=False)
  install = ["install", "--quiet", "--no-deps", *folder.glob("*.whl")]
  python = home / "bin" / "python"
  subprocess.run([*pip, "--python", python, *install], check=True)
  (site,) = home.glob("lib/python*/site-packages")
  here = [path for path in sys.path if path.endswith("site-packages")]
  (site / "packages.pth").write_text("\n".join(here))
  guard = GUARD.format(clone=f"{ROOT}{os.sep}", site="site-packages")
  (site / "sitecustomize.py").write_text(guard)
  environment = {
    name: value
    for name, value in os.environ.items()
    if name not in ("PYTHONPATH", "TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR")
  } | {"HOME": str(folder), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}

  return Installed(folder, site, environment)


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_alone(installed):
  done = installed("kdjax", *TINY, "--workdir=run")
  assert done.returncode == 0, done.stderr[-2000:]
  results = json.loads((installed.folder / "run" / "results.json").read_text())
  assert results["name"] == "mnist_demo"
  assert results["command"] == f"kdjax {' '.join(TINY)} --workdir=run"
  assert results["environment"]["git"] is None
  assert (installed.folder / "run" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("program", [["kdjax"], ["python", "-m", "kdjax"]])
def test_both_names_know_the_experiments_and_themselves(installed, program):
  done = installed(*program, "list", "experiments")
  assert done.returncode == 0, done.stderr[-2000:]
  for name in experiments.all_experiments():
    assert f"\n  {name} " in done.stdout or f"\n  {name}\n" in done.stdout
  done = installed(*program, "distil")
  assert done.returncode == 2 and done.stderr.startswith("kdjax: unknown")
  usage = installed(*program, "list", "--help").stdout
  assert usage.startswith(f"{' '.join(program)} list ")


@pytest.mark.slow
def test_the_losses_need_no_more_than_jax(installed):
  done = installed("python", "-c", CHECK)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(str(installed.site))
  assert all((installed.site / "kdjax" / name).is_file() for name in FILES)
  assert not (installed.site / "tests").exists()


def test_without_the_runners_packages_it_says_what_to_install(
  monkeypatch, capsys
):
  # As where a package that it imports is not there.
  monkeypatch.setitem(sys.modules, "kdjax.runner.main", None)
  assert importlib.import_module("kdjax.__main__").main() == 2
  error = capsys.readouterr().err
  assert error.startswith("kdjax: ") and error.count("\n") == 1
  assert "pip install 'kdjax[run]'" in error
