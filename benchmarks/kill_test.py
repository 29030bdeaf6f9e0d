"""Kills a run again and again at random moments; it must end as if never killed.

  python -m benchmarks.kill_test --kills=100
  python -m benchmarks.kill_test --run=on_policy --kills=20

Starts one small run (a teacher, then students; or a language model that learns
from texts of its own; a checkpoint after every portion) undisturbed, then again and again in another folder: killed at a random
moment, started anew with the same command, until as many kills as asked for
have hit it. Whenever a run reaches its end in spite of them, its digests and
its log are compared with the undisturbed run's, and the next one begins.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from experiments.text import small_gpt

# A process starts from one that has imported all this: kills then hit the
# training, not the imports.
PRELOAD = [
  "kdjax.runner.main",
  "kdjax.runner.pipeline.fit",
  "kdjax.runner.pipeline.plan",
  "kdjax.runner.pipeline.stages",
  "kdjax.runner.report.record",
  "tensorboardX",
]
DISTILL = (
  "--accelerator=cpu",
  "--dataset=digits",
  "--teacher=mlp(16)",
  "--student=mlp(8, dropout=0.2)",
  "--teacher_epochs=3",
  "--epochs=4",
  "--seeds=2",
  "--batch_size=256",
  "--teacher_batch_size=256",
  "--augment=shift(1)",
  "--nocontrols",
  "--evaluate_every=2",
  "--checkpoint_minutes=0",
  "--checkpoint_steps=3",
)
# Texts of the student's own, each for two steps, of which a portion begins with
# the second; and the file's.
ON_POLICY = (
  "lm",
  "--accelerator=cpu",
  "--policy=mixed(student=0.7)",
  "--updates_per_rollout=2",
  "--max_new_tokens=40",
  "--sequence_length=56",
  "--student=layers(1)",
  "--steps=30",
  "--evaluations=3",
  "--batch_size=8",
  "--seeds=1",
  "--completions=1",
  "--checkpoint_minutes=0",
  "--checkpoint_steps=3",
)
NETWORK = "decoder(family='gpt2', width=16, depth=2, heads=2, positions=64)"
RUNS = ("distill", "on_policy")


def prepare(run: str, folder: Path) -> list[str]:
  """The flags of a run, and what it reads."""
  if run == "distill":
    return [*DISTILL]
  words = ["a", "cat", "sat", "on", "the", "mat", "and", "dog", "ran", "until"]
  draw = random.Random(0)
  splits = ["train"] * 24 + ["validation", "test"] * 2
  texts = folder / "texts.jsonl"
  with texts.open("w") as file:
    for split in splits:
      text = " ".join(draw.choices(words, k=draw.randint(20, 40)))
      file.write(json.dumps({"text": text, "split": split}) + "\n")
  small_gpt.write(folder / "lm_teacher", str(texts), NETWORK)
  named = [f"--text={texts}", f"--teacher_from={folder / 'lm_teacher'}"]
  return [*ON_POLICY, *named]


def child(flags: list, workdir: str, output: str, compiled: str) -> None:
  """The run, in a process of its own that may die at any moment."""
  import jax

  from kdjax.runner.main import main

  jax.config.update("jax_compilation_cache_dir", compiled)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  with (
    open(output, "w") as file,
    contextlib.redirect_stdout(file),
    contextlib.redirect_stderr(file),
  ):
    status = main(["launch.py", *flags, f"--workdir={workdir}"])
  sys.exit(status)


def start(flags: list, workdir: Path) -> multiprocessing.Process:
  """Starts the run; what it says is beside its folder."""
  process = multiprocessing.get_context("forkserver").Process(
    target=child,
    args=(flags, str(workdir), f"{workdir}.txt", f"{workdir.parent}/compiled"),
  )
  process.start()
  return process


def outcome(workdir: Path) -> dict:
  """What two runs that are the same run have in common."""
  results = json.loads((workdir / "results.json").read_text())
  rows = [
    json.loads(line)
    for line in (workdir / "metrics.jsonl").read_text().splitlines()
  ]
  timing = (
    "images_per_second", "step_seconds", "input_share", "mfu", "latency_ms",
  )  # fmt: skip
  alike = ("teacher", "student", "baseline", "completions", "exposure")
  networks = sorted(workdir.glob("*/*.safetensors"))

  def untimed(row):
    return {name: value for name, value in row.items() if name not in timing}

  return {
    "results": {name: untimed(results.get(name, {})) for name in alike},
    "networks": {
      str(file.relative_to(workdir)): hashlib.sha256(
        file.read_bytes()
      ).hexdigest()
      for file in networks
    },
    "log": [*map(untimed, rows)],
  }


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--run", choices=RUNS, default=RUNS[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--signal", default="SIGKILL")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    results = kill(
      Path(folder),
      options.kills,
      signal.Signals[options.signal],
      random.Random(options.seed),
      run=options.run,
    )
  import jax

  results |= {
    "date": datetime.date.today().isoformat(),
    "jax": jax.__version__,
    "processors": os.cpu_count(),
    "signal": options.signal,
    "command": f"python -m benchmarks.kill_test --run={options.run}"
    f" --kills={options.kills}"
    f" --seed={options.seed} --signal={options.signal}",
  }
  text = json.dumps(results, indent=2)
  print(text)
  if options.output:
    options.output.write_text(text + "\n")
  return int(results["different"] + results["failed_restarts"] > 0)


def kill(
  folder: Path, kills: int, number: signal.Signals, rng, run: str = "distill"
) -> dict:
  """Runs, kills and compares."""
  flags = prepare(run, folder)
  multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
  for name in ("first", "whole"):  # the first one compiles
    begun = time.monotonic()
    process = start(flags, folder / name)
    process.join()
    assert process.exitcode == 0, (folder / f"{name}.txt").read_text()
  # What is drawn must reach from the first step to the last file.
  whole, length = outcome(folder / "whole"), time.monotonic() - begun
  seconds = json.loads((folder / "whole" / "results.json").read_text())[
    "seconds"
  ]
  results = {
    "kills": 0,
    "kills_within_a_save": 0,
    "runs": 0,
    "different": int(outcome(folder / "first") != whole),
    "failed_restarts": 0,
    "seconds_of_a_run": round(length, 2),
    "seconds_of_training": round(seconds["students"], 2),
  }
  workdir = folder / "killed"
  while results["kills"] < kills or (workdir / "run.json").exists():
    process = start(flags, workdir)
    process.join(rng.uniform(0, length) if results["kills"] < kills else None)
    if process.is_alive():
      os.kill(process.pid, number)
      process.join()
      results["kills"] += 1
      torn = workdir.glob("checkpoints/*/*orbax-checkpoint-tmp*")
      results["kills_within_a_save"] += any(torn)
      # Results are written last: a run that has them is over.
      if not (workdir / "results.json").exists():
        continue
    elif process.exitcode:
      results["failed_restarts"] += 1
      print((folder / "killed.txt").read_text(), file=sys.stderr)
      shutil.rmtree(workdir)
      continue
    results["runs"] += 1
    results["different"] += outcome(workdir) != whole
    shutil.rmtree(workdir)
  return results


if __name__ == "__main__":
  sys.exit(main())
