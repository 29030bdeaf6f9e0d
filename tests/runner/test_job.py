"""One way for every command: found, timed, resumed, written once."""

import json
import sys

import numpy as np
import pytest
from documented_code import code_of, page, results_with

from kdjax.core.errors import StorageError, UserError
from kdjax.runner import cli, job, jobs
from kdjax.runner.config import Experiment, Run

TWO_STAGES = '''
"""A job of two stages."""

import numpy as np

from kdjax.runner.config import Experiment
from kdjax.runner.job import Job, Measured, Plan, Stage

RAN = []


def build(experiment, *words):
  return Plan(words, experiment, [], lambda: {"words": list(words)}, ["careful"])


def first(setup, context):
  def make():
    RAN.append("first")
    return {"values": np.arange(3.0), "rows": [{"rate": 0.1, "none": None}]}

  return context.stored("numbers", make)


def second(setup, context):
  RAN.append("second")
  context.log.write({"network": "student", "step": 1, "epoch": 1, "loss": [0.5]})
  return context.values["first"]["values"].sum()


def measure(setup, context):
  rows = context.values["first"]["rows"]
  return Measured({"sum": context.values["second"], "rows": rows}, {"more": 3})


def page(workdir, results, more):
  (workdir / "report.html").write_text(f"{results['sum']} {more}")
  return workdir / "report.html"


JOB = Job(
  name="count",
  config=Experiment,
  example="mnist_demo",
  build=build,
  stages=(Stage("first", first), Stage("second", second)),
  measure=measure,
  page=page,
  summary=lambda results: f"the sum is {results['sum']}",
  words="WORD ...",
)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
  """The job above, in one new file that is found."""
  folder = tmp_path / "jobs"
  folder.mkdir()
  (folder / "count_things.py").write_text(TWO_STAGES)
  monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(folder)])
  assert job.find_jobs()["count"].name == "count"
  yield sys.modules["kdjax.runner.jobs.count_things"]
  del sys.modules["kdjax.runner.jobs.count_things"]


@pytest.fixture
def start(module, tmp_path):
  def start(experiment=None, **changed):
    settings = experiment or Experiment(run=Run(workdir=str(tmp_path / "run")))
    one = module.JOB._replace(**changed)
    return job.run_job(
      one, settings, ["a"], name="x", command="launch.py count a"
    )

  return start


def test_a_job_is_timed_and_written_once(start, module, capsys):
  workdir = start()
  printed = capsys.readouterr()
  assert "the sum is 3.0" in printed.out and str(workdir) in printed.out
  assert printed.err.count("careful") == 1
  found = json.loads((workdir / "results.json").read_text())
  assert list(found["seconds"]) == [
    "data", "first", "second", "evaluation", "total",
  ]  # fmt: skip
  assert found["sum"] == 3.0 and found["rows"] == [{"rate": 0.1, "none": None}]
  assert found["name"] == "x" and found["command"] == "launch.py count a"
  assert {"experiment", "environment", "fingerprints"} <= set(found)
  assert (workdir / "report.html").read_text() == "3.0 3"
  assert not (workdir / "checkpoints").exists()
  with pytest.raises(UserError, match="a run that is over"):
    start()
  assert module.RAN == ["first", "second"]


def test_a_profile_says_where_the_time_went(start, tmp_path, capsys):
  settings = Run(workdir=str(tmp_path / "run"), profile=True)
  workdir = start(experiment=Experiment(run=settings))
  found = json.loads((workdir / "profile.json").read_text())
  assert list(found["seconds"]) == [
    "imports", "data", "tracing", "compiling", "steps", "evaluation", "report",
    "other",
  ]  # fmt: skip
  assert found["total"] >= sum(
    json.loads((workdir / "results.json").read_text())["seconds"][name]
    for name in ("data", "first", "second", "evaluation")
  )
  assert "where the time went" in capsys.readouterr().out


@pytest.mark.parametrize("ends", ["second", "measure", "page"])
def test_a_killed_job_reads_its_stored_stages_again(start, module, ends):
  def killed(*_, **__):
    raise KeyboardInterrupt

  stages = (module.JOB.stages[0], job.Stage("second", killed))
  changed = {"stages": stages} if ends == "second" else {ends: killed}
  with pytest.raises(KeyboardInterrupt):
    start(**changed)
  workdir = start()
  assert module.RAN.count("first") == 1
  found = json.loads((workdir / "results.json").read_text())
  assert found["sum"] == 3.0 and found["rows"] == [{"rate": 0.1, "none": None}]
  rows = (workdir / "metrics.jsonl").read_text().splitlines()
  assert {json.loads(row)["network"] for row in rows} == {"student"}


def test_results_are_written_before_anything_is_drawn(start, tmp_path):
  def full(*_, **__):
    raise StorageError("no room")

  with pytest.raises(StorageError, match="no room"):
    start(page=full)
  assert json.loads((tmp_path / "run" / "results.json").read_text())["sum"] == 3


def test_other_inputs_are_another_job(start, module):
  def killed(*_):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    start(measure=killed)
  other = module.JOB.build(Experiment(run=Run(workdir=None)), "b")
  with pytest.raises(UserError, match=r"words was \['a'\] and is \['b'\]"):
    start(build=lambda given, *_: other._replace(experiment=given))


def test_what_was_stored_is_checked(start, tmp_path):
  def killed(*_):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    start(measure=killed)
  (note,) = (tmp_path / "run").rglob("network.json")
  changed = json.loads(note.read_text()) | {"digest": "0"}
  note.write_text(json.dumps(changed))
  with pytest.raises(StorageError, match="damaged"):
    start()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_words_are_for_jobs_that_take_them(name):
  one = cli.COMMANDS[name]
  if isinstance(one, job.Command) or one.words:
    return
  call = cli.Call(name, ["now"], {}, "x", Experiment(), "")
  with pytest.raises(UserError, match=f"{name} takes no further words"):
    cli.start(one, call)


@pytest.mark.parametrize(
  "words", ["", "lm --text=x", "compare", "--dataset=x.csv --task=regression"]
)
def test_reading_a_command_does_not_wake_jax(words):
  """It reads once, when it wakes, its devices and where programs are kept."""
  import subprocess

  code = (
    "import sys\n"
    "from kdjax.runner import cli, main\n"
    "cli.run = lambda call: print('jax' in sys.modules)\n"
    "main.main(sys.argv)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, *words.split()],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_the_page_s_job_is_a_command_from_one_new_file(tmp_path):
  flags = ["calibrate", "--dataset=digits", "--teacher=mlp(8)",
           "--teacher_epochs=1"]  # fmt: skip
  code = code_of(page("add_a_job.md"))
  text = results_with(code, "runner/jobs/calibrate.py", flags, tmp_path)
  errors = json.loads(text)["calibration_error"]
  assert list(errors) == ["0.5", "1", "2", "4"]
  assert all(np.isfinite(value).all() for value in errors.values())
