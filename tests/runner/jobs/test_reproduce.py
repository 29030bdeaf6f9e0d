"""Running again: what is read, what agrees, and a whole run."""

import dataclasses
import json
import pathlib
import re
import sys

import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment, options
from kdjax.runner.jobs import reproduce
from kdjax.runner.pipeline.validate import check_names
from kdjax.runner.system import environment
from kdjax.train.devices import placement

ROOT = pathlib.Path(__file__).parents[3]
MACHINE = dict.fromkeys(reproduce.VERSIONS + reproduce.MACHINE, "1")


def run(digest="a", accuracy=(0.9, 0.92), **machine):
  return {
    "environment": MACHINE | machine,
    "fingerprints": {"shown": "f" * 64},
    "student": {
      "digest": [digest, "b"],
      "test_accuracy": list(accuracy),
      "test_examples": 1000,
    },
  }


@pytest.mark.parametrize(
  ("again", "agrees", "verdict"),
  [
    (run(), True, "2 of 2 digests equal"),
    (run("x"), False, "1 of 2 digests equal"),
    (run("x", jax="2"), True, "points apart"),
    (run("x", (0.8, 0.85), jax="2"), False, "8.50 points apart"),
    (run(processor="other"), True, "2 of 2 digests equal"),
  ],
)
def test_networks_agree(again, agrees, verdict):
  *others, student = reproduce.compared(run(), again)
  assert student.what == "student" and student.agrees is agrees
  assert verdict in student.verdict
  named = [row.what for row in others if row.agrees is None]
  assert named == [
    name for name in MACHINE if again["environment"][name] != "1"
  ]


@pytest.mark.parametrize(
  ("teacher", "compared"),
  [
    ({"model": "x", "test_accuracy": None, "test_examples": None}, False),
    ({"model": "x", "test_accuracy": [0.9], "test_examples": None}, True),
    ({"model": "x", "test_accuracy": 0.9}, True),
    (None, False),
  ],
)
def test_a_run_that_learned_from_a_foreign_cache_is_compared(teacher, compared):
  """What its teacher's accuracy was, such a cache may not say."""
  one, other = ({**run(jax=x), "teacher": teacher} for x in "12")
  rows = {row.what: row for row in reproduce.compared(one, other)}
  assert rows["student"].agrees and ("teacher" in rows) is compared
  assert not compared or rows["teacher"].agrees


def test_other_data_or_networks_do_not_agree():
  other = run() | {"fingerprints": {"shown": "e" * 64}}
  rows = reproduce.compared(run(), other)
  assert [row.what for row in rows if row.agrees is False] == ["shown data"]
  more = run() | {"controls": {"uniform": run()["student"]}}
  rows = reproduce.compared(run(), more)
  assert [row.what for row in rows if row.agrees is False] == ["uniform"]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "cannot read"),
    ("{", "is no JSON"),
    ('{"methods": {}, "command": "compare all"}', "compare all"),
  ],
)
def test_what_cannot_be_run_again(content, message, tmp_path):
  path = tmp_path / "results.json"
  if content is not None:
    path.write_text(content)
  with pytest.raises(UserError, match=re.escape(message)):
    reproduce.read([str(path)])
  with pytest.raises(UserError, match="one results.json"):
    reproduce.read([])


def test_settings_survive_json():
  flags = {
    "temperature": "linear(8, 1, 1000)",
    "hard_weight": "0,0.5",
    "omit_classes": "3",
    "profile_steps": "3:5",
    "chain": "mlp(4), mlp(3)",
  }
  experiment = options.with_flags(Experiment(), flags)
  stored = json.loads(json.dumps(options.as_dict(experiment)))
  assert options.from_dict(stored) == experiment
  assert options.has_grid(experiment)
  with pytest.raises(UserError, match=r"run\.speed"):
    options.from_dict({"run": {"speed": 3}})


def test_all_required_packages_are_noted():
  lines = (ROOT / "requirements.txt").read_text().split("# tests")[0]
  names = re.findall(r"^([\w-]+)>=", lines, re.MULTILINE)
  assert set(environment.PACKAGES) == set(names)
  assert all(
    environment.describe(placement.choose("cpu")[:1])[x] for x in names
  )


@pytest.mark.parametrize(
  ("group", "settings", "message"),
  [
    ("computing", {"accumulate_steps": 3}, "multiple of 3 pieces"),
    ("computing", {"profile_steps": "9"}, "START:STOP"),
    ("distillation", {"gradient_metrics": True}, "--gradient_metrics"),
    ("distillation", {"regime": "mutual(peers=2)"}, "--scheme=mutual"),
  ],
)
def test_settings_that_do_not_go_together(group, settings, message):
  experiment = options.with_flags(Experiment(), {"accumulate_steps": "2"})
  changed = dataclasses.replace(getattr(experiment, group), **settings)
  experiment = dataclasses.replace(experiment, **{group: changed})
  with pytest.raises(UserError, match=re.escape(message)):
    check_names(experiment, placement.choose("cpu")[:1], 1)


@pytest.mark.slow
def test_a_run_again(tmp_path, capsys, quick_runs):
  """Every way to compute at once; equal digests, and a difference is seen."""
  sys.path.insert(0, str(ROOT))
  import launch

  first, again = tmp_path / "first", tmp_path / "again"
  tiny = (
    "--dataset=digits", "--teacher=mlp(8)", "--student=mlp(4)", "--seeds=1",
    "--teacher_epochs=1", "--epochs=2", "--nocontrols", "--batch_size=64",
    "--compute_dtype=bfloat16", "--teacher_dtype=bfloat16", "--remat",
    "--accumulate_steps=2", "--profile_steps=0:1", f"--workdir={first}",
  )  # fmt: skip
  assert launch.main(["launch.py", *tiny]) == 0
  assert list((first / "profile").rglob("*.xplane.pb"))
  results = json.loads((first / "results.json").read_text())
  (student,) = [x for x in results["performance"] if "student" in x]
  assert results["performance"][student]["programs"][0]["operations"] > 0
  command = ["launch.py", "reproduce", str(first), f"--workdir={again}"]
  assert launch.main(command) == 0
  assert "1 of 1 digests equal" in capsys.readouterr().out
  results["student"]["digest"] = ["0"]
  other = tmp_path / "results.json"
  other.write_text(json.dumps(results))
  with pytest.raises(Exception, match="not reproduced: student"):
    reproduce.check(reproduce.read([str(other)]), again)
