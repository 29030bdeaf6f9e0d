"""What every job leaves in its folder, and how it goes on after a kill."""

import json

import pytest

import launch
from kdjax.runner import cli, job


def check_results(workdir, name):
  """The keys that every results.json has; returns the results."""
  results = json.loads((workdir / "results.json").read_text())
  stages = [stage.name for stage in cli.COMMANDS[name].stages]
  assert {"data", *stages, "evaluation", "total"} <= set(results["seconds"])
  assert {"name", "command", "task", "experiment", "performance"} <= set(
    results
  )
  assert {"jax", "devices", "git"} <= set(results["environment"])
  assert set(results["fingerprints"]) == {"shown", "scored"}
  assert not (workdir / "checkpoints").exists()
  return results


def run_killed_at_the_end(capsys, name, *arguments, workdir):
  """Runs a job, kills it before results.json, and lets it go on.

  Returns:
    What both runs said on the terminal: nothing is trained again.
  """
  call = ["launch.py", name, *arguments, f"--workdir={workdir}"]

  def killed(*_):
    raise KeyboardInterrupt

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(job, "_about", killed)
    assert launch.main(call) == 130
  first = capsys.readouterr()
  assert not (workdir / "results.json").exists()
  assert launch.main(call) == 0
  again = capsys.readouterr()
  assert ": compiling" in first.err and ": compiling" not in again.err
  return first.out + first.err + again.out + again.err
