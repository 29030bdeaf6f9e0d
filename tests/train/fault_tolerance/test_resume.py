"""A run that was stopped goes on, and ends as if it never had been."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

import launch
from kdjax.train.fault_tolerance import preemption, resume

FLAGS = (
  "--accelerator=cpu", "--dataset=digits", "--teacher=mlp(8, dropout=0.5)",
  "--student=mlp(6)", "--teacher_epochs=2", "--epochs=2", "--seeds=2",
  "--augment=shift(1)", "--batch_size=256", "--teacher_batch_size=256",
  "--checkpoint_steps=2", "--checkpoint_minutes=0", "--evaluate_every=2",
  "--nolatency",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("undrawn", "untried")
# What is trained beside them takes no other way.
QUICK = ("--nocontrols", "--augment=none")
# Portions of the two trainings: 2 epochs of 6 steps, two steps each.
PORTIONS = 6


def run(workdir, *more):
  return launch.main(["launch.py", *FLAGS, *more, f"--workdir={workdir}"])


def outcome(workdir):
  found = json.loads((workdir / "results.json").read_text())
  rows = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(row) for row in rows]
  for row in rows:
    for name in ("step_seconds", "images_per_second", "input_share", "mfu"):
      row.pop(name, None)
  return found["student"]["digest"], found["baseline"]["digest"], rows


@pytest.fixture(scope="module")
def wholes():
  return {}


@pytest.fixture
def whole(wholes, undrawn, tmp_path):
  """whole(flags) -> the outcome of a run that nobody stopped."""

  def whole(more):
    if more not in wholes:
      assert run(tmp_path / "whole", *more) == 0
      assert not (tmp_path / "whole" / resume.FOLDER).exists()
      wholes[more] = outcome(tmp_path / "whole")
    return wholes[more]

  return whole


@pytest.mark.parametrize(
  ("place", "more"),
  [
    pytest.param(place, QUICK, marks=pytest.mark.slow)
    for place in (1, PORTIONS - 1, PORTIONS, 2 * PORTIONS - 1)
  ]
  + [pytest.param(PORTIONS + 2, (), marks=pytest.mark.slow)],
)
def test_a_stopped_run_goes_on(
  request, whole, tmp_path, monkeypatch, capsys, place, more
):
  """SIGTERM after some portions: saved, status 75; the next one ends the same."""
  if more == QUICK:
    request.getfixturevalue("quick_runs")
  looks = []

  @contextmanager
  def on_request():
    def asked():
      looks.append(None)
      return "SIGTERM" if len(looks) >= place else None

    yield asked

  with monkeypatch.context() as patch:
    patch.setattr(preemption, "on_request", on_request)
    assert run(tmp_path / "run", *more) == 75
  assert "goes on from there" in capsys.readouterr().err
  assert run(tmp_path / "run", *more) == 0
  assert outcome(tmp_path / "run") == whole(more)


CONVOLUTIONS = (
  "--teacher=lenet(2, hidden=(4,), kernel=3, pool=False)",
  "--student=lenet(2, hidden=(3,), kernel=3, pool=False)",
  "--nocontrols", "--augment=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed():
  return {}


@pytest.fixture
def whole_one_by_one(undisturbed, quick_runs, tmp_path):
  if not undisturbed:
    assert run(tmp_path / "whole", *CONVOLUTIONS) == 0
    undisturbed["outcome"] = outcome(tmp_path / "whole")
  return undisturbed["outcome"]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("call", "said"),
  [
    # The teacher takes 12 steps, then the members of a portion two each.
    (4, "stopped after step 2, and saved"),
    (12 + 3, "stopped at the start of this training"),
    (12 + 8 * 4 + 7, "stopped after step 8, and saved"),
  ],
)
def test_a_portion_of_many_calls_is_cut_short(
  whole_one_by_one, tmp_path, monkeypatch, capsys, call, said
):
  """SIGTERM before the next call of one network; it goes on bit for bit."""
  calls, cut = [], resume.cut

  def signalled():
    calls.append(None)
    if len(calls) == call:
      os.kill(os.getpid(), signal.SIGTERM)
    cut()

  with monkeypatch.context() as patch:
    patch.setattr(resume, "cut", signalled)
    assert run(tmp_path / "run", *CONVOLUTIONS) == 75
  assert len(calls) == call
  assert said in capsys.readouterr().err
  assert run(tmp_path / "run", *CONVOLUTIONS) == 0
  assert outcome(tmp_path / "run") == whole_one_by_one


def test_other_settings_are_refused(quick_runs, tmp_path, monkeypatch, capsys):
  @contextmanager
  def on_request():
    yield lambda: "SIGINT"

  with monkeypatch.context() as patch:
    patch.setattr(preemption, "on_request", on_request)
    assert run(tmp_path / "run", *QUICK) == 75
  assert run(tmp_path / "run", *QUICK, "--epochs=3") == 2
  assert "epochs was 2 and is 3" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_the_second_ends(number, capfd):
  before = signal.getsignal(number)
  with preemption.on_request() as asked:
    assert asked() is None
    os.kill(os.getpid(), number)
    assert asked() == signal.Signals(number).name
    assert signal.getsignal(number) == before
    # At once, and not when the portion is over.
    name = signal.Signals(number).name
    said = f"launch.py: {name}: stopping after this portion, to save it; once"
    assert capfd.readouterr().err.startswith(said)
  assert signal.getsignal(number) == before
