"""Kills a run again and again at random moments; it must end as if never killed.

  python -m benchmarks.kill_test --kills=100

Starts one small run (a teacher, then students, a checkpoint after every
portion) undisturbed, then again and again in another folder: killed at a random
moment, started anew with the same command, until as many kills as asked for
have hit it. Whenever a run reaches its end in spite of them, its digests and
its log are compared with the undisturbed run's, and the next one begins.
"""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
FLAGS = (
  "--accelerator=cpu",
  "--dataset=digits",
  "--teacher=mlp(64)",
  "--student=mlp(16)",
  "--teacher_epochs=20",
  "--epochs=30",
  "--seeds=2",
  "--batch_size=64",
  "--evaluate_every=10",
  "--checkpoint_minutes=0",
  "--checkpoint_steps=5",
)


def start(workdir: Path) -> subprocess.Popen:
  """Starts the run in a group of processes of its own."""
  return subprocess.Popen(
    [sys.executable, "launch.py", *FLAGS, f"--workdir={workdir}"],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def outcome(workdir: Path) -> dict:
  """What two runs that are the same run have in common."""
  found = json.loads((workdir / "results.json").read_text())
  rows = [
    json.loads(line)
    for line in (workdir / "metrics.jsonl").read_text().splitlines()
  ]
  timing = ("images_per_second", "step_seconds", "input_share", "mfu")
  return {
    "digests": [found[name]["digest"] for name in ("student", "baseline")],
    "accuracy": [
      found[name]["test_accuracy"] for name in ("teacher", "student")
    ],
    "log": [
      {name: value for name, value in row.items() if name not in timing}
      for row in rows
    ],
  }


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--signal", default="SIGKILL")
  parser.add_argument("--output", type=Path)
  asked = parser.parse_args()
  rng = random.Random(asked.seed)
  with tempfile.TemporaryDirectory() as folder:
    found = kill(Path(folder), asked.kills, signal.Signals[asked.signal], rng)
  found |= {
    "date": datetime.date.today().isoformat(),
    "jax": jax.__version__,
    "processors": os.cpu_count(),
    "signal": asked.signal,
    "command": f"python -m benchmarks.kill_test --kills={asked.kills}"
    f" --seed={asked.seed} --signal={asked.signal}",
  }
  text = json.dumps(found, indent=2)
  print(text)
  if asked.output:
    asked.output.write_text(text + "\n")
  return int(found["different"] + found["failed_restarts"] > 0)


def kill(folder: Path, kills: int, number: signal.Signals, rng) -> dict:
  """Runs, kills and compares."""
  begun = time.monotonic()
  process = start(folder / "whole")
  assert process.wait() == 0, process.stdout.read()
  # What is drawn must reach from the first import to the last file.
  whole, length = outcome(folder / "whole"), time.monotonic() - begun
  found = {"kills": 0, "runs": 0, "different": 0, "failed_restarts": 0}
  workdir = folder / "killed"
  while found["kills"] < kills or (workdir / "run.json").exists():
    process = start(workdir)
    try:
      left = found["kills"] < kills
      process.wait(rng.uniform(0, length) if left else None)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, number)
      process.wait()
      found["kills"] += 1
      continue
    if process.returncode:
      found["failed_restarts"] += 1
      print(process.stdout.read(), file=sys.stderr)
    else:
      found["runs"] += 1
      found["different"] += outcome(workdir) != whole
    shutil.rmtree(workdir)
  return found


if __name__ == "__main__":
  sys.exit(main())
