"""docs/plugins.md's file, from the command line to results, and again."""

import json
import subprocess
import sys

import pytest
from documented_code import ROOT, code_of, page

import launch
from kdjax.core import plugins
from kdjax.data.registry import MAKERS as DATA_SETS
from kdjax.methods.registry import MAKERS, OBJECTIVES
from kdjax.models.registry import MAKERS as MODELS
from kdjax.runner import cli
from kdjax.runner.config import Experiment

RUN = [
  "--dataset=stripes(64)", "--teacher=two_layers(8)", "--student=two_layers(4)",
  "--distillation=logit_cosine", "--epochs=1", "--teacher_epochs=1", "--seeds=1",
  "--batch_size=32", "--teacher_batch_size=32", "--accelerator=cpu",
]  # fmt: skip


@pytest.fixture
def file(tmp_path, monkeypatch):
  """The page's file; what it leaves in this process is removed."""
  monkeypatch.setattr(plugins, "_DIGESTS", {})
  monkeypatch.setattr(sys, "path", [*sys.path])
  tables = [(table, dict(table)) for table in (DATA_SETS, MAKERS, MODELS)]
  tables.append((OBJECTIVES, dict(OBJECTIVES)))
  path = tmp_path / "own_page.py"
  path.write_text(code_of(page("plugins.md")))
  yield path
  for name in ("own_page", "own_cache"):
    sys.modules.pop(name, None)
  for table, before in tables:
    table.clear()
    table.update(before)


def test_what_a_plugin_registers_is_listed_and_taken(file, capsys):
  words = ["list", "datasets", "models", "methods", f"--plugins={file}"]
  assert launch.main(["launch.py", *words]) == 0
  shown = " ".join(capsys.readouterr().out.split())
  for row in (
    "stripes(count=400, noise=1.0) Noisy stripes", "two_layers(width)",
    "logit_cosine", "Matching of the direction of the logits.",
  ):  # fmt: skip
    assert row in shown
  # A second time it is there already, with the same digest.
  assert launch.main(["launch.py", *words]) == 0


def test_a_plugin_can_have_commands(file, capsys, monkeypatch):
  for table in ("COMMANDS", "CONFIGS"):
    monkeypatch.setattr(cli, table, dict(getattr(cli, table)))
  job = page("add_a_job.md")
  file.write_text(code_of(job))
  flag = f"--plugins={file}"
  assert launch.main(["launch.py", "calibrate", "--help", flag]) == 0
  assert "--teacher_epochs" in capsys.readouterr().out
  assert launch.main(["launch.py", "calibrate", "--rounds=3", flag]) == 2
  assert "calibrate has no such flag" in capsys.readouterr().err
  other = file.with_name("own_cache.py")
  other.write_text(code_of(job).replace('"calibrate"', '"cache"'))
  assert launch.main(["launch.py", "list", f"--plugins={other}"]) == 2
  assert "job 'cache' of own_cache is there already" in capsys.readouterr().err


def test_processes_must_have_the_same_plugins(monkeypatch):
  call = cli.Call("list", [], {}, "list", Experiment(), "launch.py list")
  before = cli._identity(call)
  monkeypatch.setattr(plugins, "_DIGESTS", {"own.py": "a" * 64})
  assert cli._identity(call) != before


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (
      ["list", "--plugins=nowhere.py"],
      "--plugins=nowhere.py: there is no such",
    ),
    (["--plugins="], "--plugins=: give FILE.py"),
    (["list", "--plugins"], "Missing value for flag --plugins"),
    (["--plugins=json.py", "--host_devices=x"], "--host_devices=x: expected"),
  ],
)
def test_mistakes_end_before_anything_is_done(words, said, capsys):
  assert launch.main(["launch.py", *words]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"launch.py: {said}") and error.count("\n") == 1


@pytest.mark.slow
def test_a_run_notes_its_plugins_and_wants_them_again(file, tmp_path):
  def run(*words):
    return subprocess.run(
      [sys.executable, ROOT / "launch.py", *words],
      cwd=tmp_path,
      capture_output=True,
      text=True,
    )

  flag = f"--plugins={file.name}"
  done = run(*RUN, flag, "--workdir=run")
  assert done.returncode == 0, done.stderr[-2000:]
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["student"]["model"] == "two_layers(4)"
  assert flag in results["command"]
  assert [*results["plugins"]] == [file.name]

  done = run("reproduce", "run", "--workdir=again")
  assert done.returncode == 2
  assert f"--plugins with {file.name}: give them again" in done.stderr
  file.write_text(file.read_text() + "\n# Another file of the same meaning.\n")
  done = run("reproduce", "run", "--workdir=again", flag)
  assert done.returncode == 0, done.stderr[-2000:]
  assert f"{file.name} is not the file that the run had" in done.stderr
  assert "another plugin" in done.stdout and "Reproduced." in done.stdout

  # As a run that was stopped before its end leaves it.
  (tmp_path / "run" / "results.json").unlink()
  done = run(*RUN, flag, "--workdir=run")
  assert done.returncode == 2 and done.stderr.count("\n") == 1
  assert f"other --plugins: {file.name} was" in done.stderr
