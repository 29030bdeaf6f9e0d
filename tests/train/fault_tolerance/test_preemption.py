"""SIGTERM outside of a training: one line, a status, within seconds."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from kdjax.runner.pipeline import build, dataset, fit, measure
from kdjax.runner.report import record
from kdjax.runner.system import workdir
from kdjax.train.fault_tolerance import preemption

ROOT = pathlib.Path(__file__).parents[3]

import launch  # noqa: E402  (the launcher stands beside the package)

FLAGS = (
  "--accelerator=cpu", "--dataset=digits", "--teacher=mlp(8)",
  "--student=mlp(6)", "--teacher_epochs=1", "--epochs=1", "--seeds=2",
  "--batch_size=256", "--teacher_batch_size=256", "--nocontrols",
)  # fmt: skip


def stopped(*_, **__):
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(60)


def check_line(error, said):
  lines = [x for x in error.splitlines() if x.startswith("launch.py: SIGTERM")]
  assert len(lines) == 1 and said in lines[0], error
  assert "Traceback" not in error


@pytest.mark.parametrize(
  ("words", "module", "name"),
  [
    ((), dataset, "open_stored"),
    ((), build, "assemble"),
    (("compare", "kd"), build, "assemble"),
    (("synthesise",), dataset, "open_stored"),
  ],
)
def test_stopped_while_data_are_loaded_or_networks_built(
  tmp_path, monkeypatch, capsys, words, module, name
):
  monkeypatch.setattr(module, name, stopped)
  before = signal.getsignal(signal.SIGTERM)
  folder = tmp_path / "run"
  given = [*words, "--dataset=digits", f"--workdir={folder}"]
  assert launch.main(["launch.py", *given]) == 75
  check_line(capsys.readouterr().err, "before anything was written; the same")
  assert not folder.exists()
  assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize(
  ("module", "name"), [(measure, "measure"), (record, "write_run")]
)
def test_stopped_while_it_is_measured_or_drawn_goes_on(
  tmp_path, monkeypatch, capsys, module, name
):
  given = ["launch.py", *FLAGS, f"--workdir={tmp_path / 'run'}"]
  with monkeypatch.context() as patch:
    patch.setattr(module, name, stopped)
    assert launch.main(given) == 75
  check_line(capsys.readouterr().err, f"--workdir={tmp_path / 'run'} goes on")
  with monkeypatch.context() as patch:
    # Both trainings are over: neither takes a step again.
    patch.setattr(fit, "_log_epoch", stopped)
    assert launch.main(given) == 0
  assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
  ("settings", "said"),
  [({}, "the same command with"), (None, "start again with a new --workdir")],
)
def test_the_line_says_whether_the_folder_goes_on(tmp_path, settings, said):
  with pytest.raises(preemption.Stopped, match=said), preemption.at_once():
    workdir.claim(str(tmp_path / "run"), "run", settings)
    stopped()


def test_a_signal_that_a_training_did_not_see_ends_what_comes_next():
  with pytest.raises(preemption.Stopped), preemption.at_once():
    with preemption.on_request() as asked:
      os.kill(os.getpid(), signal.SIGTERM)
      assert asked() == "SIGTERM" == preemption.came()
    time.sleep(60)


def test_a_call_that_does_not_come_back_is_not_waited_for():
  program = (
    "import ctypes\n"
    "from kdjax.train.fault_tolerance import preemption\n"
    "with preemption.at_once():\n"
    "  print('ready', flush=True)\n"
    # A lock that its own thread waits for, whatever the signal.
    "  lock = ctypes.create_string_buffer(64)\n"
    "  for _ in range(2):\n"
    "    ctypes.CDLL(None).pthread_mutex_lock(lock)\n"
  )
  run = subprocess.Popen(
    [sys.executable, "-c", program],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  try:
    assert run.stdout.readline() == "ready\n"
    time.sleep(0.2)  # into the call
    run.send_signal(signal.SIGTERM)
    _, error = run.communicate(timeout=60)
  finally:
    run.kill()
  assert run.returncode == 75
  check_line(error, "the same command starts again")
