"""Damages the newest checkpoint again and again; no damage may be silent.

  python -m benchmarks.damage_test --damages=200

Writes two checkpoints of a small training state. Each damage truncates or
deletes a file of the newer one, or flips one of its bits, the files in turn;
then the series is read. It must give back what was saved: the newer checkpoint
where the damage had no effect on what was read, else the older one, and the
damage named. Anything else counts as silent.
"""

import argparse
import datetime
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint

from kdjax.core.errors import KdjaxError
from kdjax.train.fault_tolerance import checkpoints

KINDS = ("flip", "truncate", "delete")


def state(step: int) -> dict:
  """A tree of what a training state is made of."""
  rng = np.random.default_rng(step)
  return {
    "params": {"kernel": rng.normal(size=(16, 8)).astype(np.float32)},
    "moments": (rng.normal(size=64).astype(np.float32), np.int32(step)),
    "key": jax.random.key(step),
  }


def write(folder: Path) -> None:
  """Writes checkpoints 1 and 2."""
  opened = checkpoints.open_series(folder)
  for step in (1, 2):
    checkpoints.save(opened, step, state(step), {"epoch": step})
  checkpoints.close(opened)


def harm(file: Path, kind: str, rng: random.Random) -> None:
  """Damages one file; an empty one can only be deleted."""
  data = file.read_bytes()
  if kind == "delete" or not data:
    file.unlink()
  elif kind == "truncate":
    file.write_bytes(data[: rng.randrange(len(data))])
  else:
    place = rng.randrange(8 * len(data))
    flipped = bytearray(data)
    flipped[place // 8] ^= 1 << (place % 8)
    file.write_bytes(bytes(flipped))


def verdict(folder: Path) -> str:
  """Reads the series: "named", "harmless" or, what must not be, "silent"."""
  opened = checkpoints.open_series(folder)
  try:
    restored = checkpoints.restore(opened, lambda note: state(0))
  except KdjaxError:
    return "named, but the one before is lost"
  finally:
    opened.manager.close()
  if restored is None or restored.note["epoch"] != restored.step:
    return "silent"
  pairs = zip(leaves(restored.tree), leaves(state(restored.step)), strict=True)
  if not all(np.array_equal(one, other) for one, other in pairs):
    return "silent"
  if restored.step == 2:
    return "harmless"
  return "named" if "checkpoint 2" in " ".join(restored.damaged) else "silent"


def leaves(tree: dict) -> list:
  """The numbers of a tree, keys as numbers too."""
  tree = tree | {"key": jax.random.key_data(tree["key"])}
  return jax.tree.leaves(tree)


def damage(folder: Path, damages: int, rng: random.Random) -> dict:
  """Damages and reads; returns the counts, by kind and by file."""
  write(folder / "whole")
  newest = folder / "whole" / f"{2:09d}"
  files = sorted(x for x in newest.rglob("*") if x.is_file())
  files = [file.relative_to(folder / "whole") for file in files]
  results = {kind: Counter() for kind in KINDS}
  for number in range(damages):
    copy = folder / "damaged"
    shutil.copytree(folder / "whole", copy)
    kind = KINDS[number // len(files) % len(KINDS)]
    harm(copy / files[number % len(files)], kind, rng)
    results[kind][verdict(copy)] += 1
    shutil.rmtree(copy)
  total = sum(results.values(), Counter())
  return {
    "damages": damages,
    "files": len(files),
    "silent": total["silent"],
    "lost": total["named, but the one before is lost"],
    "outcomes": {kind: dict(counts) for kind, counts in results.items()},
  }


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--damages", type=int, default=200)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    results = damage(Path(folder), options.damages, random.Random(options.seed))
  results |= {
    "date": datetime.date.today().isoformat(),
    "jax": jax.__version__,
    "orbax": orbax.checkpoint.__version__,
    "command": f"python -m benchmarks.damage_test --damages={options.damages}"
    f" --seed={options.seed}",
  }
  text = json.dumps(results, indent=2)
  print(text)
  if options.output:
    options.output.write_text(text + "\n")
  return int(results["silent"] + results["lost"] > 0)


if __name__ == "__main__":
  sys.exit(main())
