"""What kept programs save: the same short demo without, with an empty and with a
filled folder of them.

  python -m benchmarks.start [--output=FILE] [--quick] [--rounds=3]

Runs `launch.py distill --epochs=4 --teacher_epochs=4` in processes of their own,
in turns, and checks that all end with the same networks, bit for bit.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import timing

ROOT = Path(__file__).parents[1]
FLAGS = ("--epochs=4", "--teacher_epochs=4")
SMALL = ("--epochs=1", "--teacher_epochs=1", "--seeds=1", "--nocontrols")
NAMES = ("none", "first", "second")


def main() -> int:
  """Prints what was found, and writes it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  flags = SMALL if options.quick else FLAGS
  seconds = {name: [] for name in NAMES}
  worked = {name: [] for name in NAMES}
  digests = set()
  for _ in range(1 if options.quick else options.rounds):
    with tempfile.TemporaryDirectory() as folder:
      for name in NAMES:
        programs = "none" if name == "none" else f"{folder}/programs"
        wall, processor, digest = once(Path(folder) / "run", programs, flags)
        seconds[name].append(wall)
        worked[name].append(processor)
        digests.add(digest)
  if len(digests) > 1:
    raise RuntimeError("kept programs gave other networks")
  saved = {
    clock: {
      name: timing.ratio(times, name, "none") for name in ("first", "second")
    }
    for clock, times in (("wall", seconds), ("processor", worked))
  }
  summary = [
    timing.line(
      f"the {name} start that keeps programs over one that does not, CPU time",
      "< 1",
      saved["processor"][name]["median"],
      saved["processor"][name]["median"] < 1,
    )
    for name in saved["processor"]
  ]
  results: dict[str, Any] = {
    "flags": flags,
    "wall_seconds": seconds,
    "processor_seconds": worked,
    "over_none": saved,
    "summary": summary,
  }
  timing.write(timing.machine() | results, options.output)
  return 0


def once(workdir: Path, cache: str, flags: tuple[str, ...]):
  """Runs the demo; returns (wall seconds, CPU seconds, digest of its networks)."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  start = time.perf_counter()
  subprocess.run(
    [sys.executable, "launch.py", "distill", *flags]
    + [f"--workdir={workdir}", f"--compilation_cache={cache}"],
    cwd=ROOT,
    env={x: y for x, y in os.environ.items() if not x.startswith("JAX_")},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    check=True,
  )
  wall = time.perf_counter() - start
  now = resource.getrusage(resource.RUSAGE_CHILDREN)
  processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
  results = json.loads((workdir / "results.json").read_text())
  shutil.rmtree(workdir)
  return wall, processor, json.dumps(results["student"]["digest"])


if __name__ == "__main__":
  sys.exit(main())
