"""Where the time of whole runs goes, each with an empty folder of programs.

  python -m benchmarks.profile [--output=FILE] [--quick] [--only=demo,cnn,text,lm]

The demo; convolutional networks on its digits; an encoder that is fine-tuned to tell
pages of docs/ apart (needs `make .venv/minilm`); and a GPT of four blocks, untrained,
that teaches one of two. Each is a process of its own, with `--profile`.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import timing

ROOT = Path(__file__).parents[1]
SMALL = ("--epochs=1", "--seeds=1", "--nocontrols")
CNN = ("--teacher=lenet(20, 50)", "--student=lenet(6, 16)", "--epochs=4")
CNN += ("--teacher_epochs=4", "--teacher_augment=shift(2)", "--seeds=2")
GPT = "decoder(family='gpt2', width=64, depth=2, heads=4, positions=64)"
PAGES = ("library", "methods", "losses", "data")


def main() -> int:
  """Prints what was found, and writes it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--only", default="demo,cnn,text,lm")
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  names = options.only.split(",")
  runs = timing.written(options.output, "runs")
  runs = {row["run"]: row for row in runs}
  for name in names:
    with tempfile.TemporaryDirectory() as folder:
      flags = FLAGS[name](Path(folder), options.quick)
      profile = once(Path(folder), flags)
      flags = [flag.replace(f"{folder}/", "") for flag in flags]
      runs[name] = {"run": name, "flags": flags} | profile
    # Each run takes minutes: what is done is kept.
    timing.write(timing.machine() | {"runs": [*runs.values()]}, options.output)
  return 0


def once(folder: Path, flags: list[str]) -> dict[str, Any]:
  """Runs a command; returns its profile."""
  workdir = folder / "run"
  call("launch.py", *flags, "--profile", f"--workdir={workdir}",
       f"--compilation_cache={folder / 'programs'}")  # fmt: skip
  return json.loads((workdir / "profile.json").read_text())


def call(*words: object) -> None:
  """Calls python."""
  subprocess.run(
    [sys.executable, *map(str, words)],
    cwd=ROOT,
    env={x: y for x, y in os.environ.items() if not x.startswith("JAX_")},
    stdout=subprocess.DEVNULL,
    check=True,
  )


def demo(_: Path, quick: bool) -> list[str]:
  """The run without any flag."""
  return ["distill", *(("--teacher_epochs=1", *SMALL) if quick else ())]


def cnn(_: Path, quick: bool) -> list[str]:
  """Convolutions, whose members train one after the other."""
  return ["distill", *CNN, *((*SMALL, "--teacher_epochs=1") if quick else ())]


def text(folder: Path, quick: bool) -> list[str]:
  """Lines of four pages, told apart."""
  file = folder / "lines.csv"
  with file.open("w", newline="") as opened:
    rows = csv.writer(opened)
    rows.writerow(("text", "label"))
    for page in PAGES:
      lines = (ROOT / "docs" / f"{page}.md").read_text().splitlines()
      rows.writerows((x, page) for x in lines if len(x) > 40)
  return ["text", f"--dataset={file}", "--teacher_from=package:minilm-l6",
          "--teacher_head=tuned", "--teacher_epochs=1", "--sequence_length=32",
          "--student=bert(width=128, depth=2, heads=4)", "--seeds=2",
          "--epochs=2", *(SMALL if quick else ())]  # fmt: skip


def lm(folder: Path, quick: bool) -> list[str]:
  """Pieces of the pages, and networks of 1,024 tokens."""
  texts = folder / "pages.jsonl"
  call("-m", "experiments.text.documents", texts, "docs/*.md", "--train=64",
       "--validation=8", "--test=8")  # fmt: skip
  call("-m", "experiments.text.small_gpt", folder / "gpt", texts)
  return ["lm", f"--text={texts}", f"--teacher_from={folder / 'gpt'}",
          f"--student={GPT}", "--sequence_length=64", "--batch_size=8",
          f"--steps={4 if quick else 100}", "--evaluations=2",
          f"--seeds={1 if quick else 3}"]  # fmt: skip


FLAGS = {"demo": demo, "cnn": cnn, "text": text, "lm": lm}


if __name__ == "__main__":
  sys.exit(main())
