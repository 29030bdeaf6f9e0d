"""Trains, exports, and classifies real images where there is no jax: `make serve`.

  python examples/check_serving.py PYTHON

PYTHON is another environment's, with examples/requirements-serve.txt alone.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
WORK = ROOT / "runs" / "serve"
RUN = (
  "--dataset=mnist5k", "--teacher=mlp(200)", "--student=mlp(30)", "--seeds=1",
  "--teacher_epochs=3", "--epochs=3", "--nocontrols",
)  # fmt: skip
PICTURES = 5


def launch(*words):
  subprocess.run([sys.executable, "launch.py", *words], cwd=ROOT, check=True)


def test_images():
  """Writes the test images of mnist5k, and a few as PNG; returns the labels."""
  sys.path.insert(0, str(ROOT))
  from kdjax import data

  test = data.load("mnist5k").test
  np.save(WORK / "images.npy", test.images)
  for i in range(PICTURES):
    Image.fromarray(test.images[i, ..., 0]).save(WORK / f"{i}.png")
  return test.labels


def main(python):
  shutil.rmtree(WORK, ignore_errors=True)
  launch(*RUN, f"--workdir={WORK}/run")
  launch("export", f"--from={WORK}/run", f"--workdir={WORK}/out")
  folder = WORK / "out" / "student"
  labels = test_images()
  without = subprocess.run([python, "-c", "import jax"], capture_output=True)
  assert without.returncode and b"ModuleNotFoundError" in without.stderr, (
    f"{python} has jax: this would prove nothing"
  )
  files = [WORK / "images.npy", *(WORK / f"{i}.png" for i in range(PICTURES))]
  served = subprocess.run(
    [python, ROOT / "examples" / "serve_onnx.py", folder, *files],
    check=True,
    capture_output=True,
    text=True,
  )
  # FILE, then "NAME PROBABILITY" for the likeliest classes, the best one first.
  lines = [line.split("\t") for line in served.stdout.splitlines()]
  best = [line[1].rpartition(" ") for line in lines]
  named = [name for name, _, _ in best]
  assert all(0 < float(share) <= 1 for _, _, share in best)
  names, pictures = named[: len(labels)], named[len(labels) :]
  card = json.loads((folder / "card.json").read_text())
  class_names = card["network"]["class_names"]
  assert set(names) <= set(class_names) and len(names) == len(labels)
  accuracy = np.mean(
    [class_names[label] for label in labels] == np.array(names)
  )
  assert accuracy == card["formats"]["onnx"]["accuracy"] > 0.5, accuracy
  assert pictures == names[:PICTURES]
  print(f"Served without jax: {accuracy:.1%} of {len(labels)}, as on the card.")


if __name__ == "__main__":
  main(sys.argv[1])
