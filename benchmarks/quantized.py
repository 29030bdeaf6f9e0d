"""What rounding trained students costs: error, bytes, agreement, by scheme.

  python launch.py --nocontrols --workdir=runs/plain
  python -m benchmarks.quantized --run=runs/plain
    [--output=benchmarks/results/quantized.json]
  python launch.py --nocontrols --student='lenet(8,16,hidden=32)' --epochs=6
    --seeds=3 --workdir=runs/convolutional   (for quantized_convolution.json)

Every student of a finished run of `distill` is stored in few bits after its
training, without another look at the training set, and classifies the run's test
images from what is stored.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from benchmarks import timing
from kdjax import data, evaluate, models
from kdjax.core import storage
from kdjax.models import packed, quantized
from kdjax.runner.config import options


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--run", required=True)
  parser.add_argument("--output")
  arguments = parser.parse_args()
  folder = Path(arguments.run)
  results = json.loads((folder / "results.json").read_text())
  chosen = options.from_dict(results["experiment"]).data
  dataset = data.load(
    chosen.dataset, data_dir=chosen.data_dir, image_size=chosen.image_size
  )
  note = storage.read_note(folder / "student")
  students = storage.load_variables(folder / "student", note)
  network = models.make_model(note["model"], classes=note["classes"])
  sample = np.zeros((1, *note["image_shape"]), np.float32)

  def measured(apply, variables):
    logits = evaluate.predict(
      apply, variables, dataset.test.images, data.plain_view(chosen.crop_size)
    )
    sizes = [
      packed.file_bytes(jax.tree.map(lambda x, m=m: x[m], variables))
      for m in range(len(logits))
    ]
    return logits, {
      "accuracy": evaluate.accuracy(logits, dataset.test.labels).tolist(),
      "bytes": sizes,
    }

  wide, scores = measured(network.apply, students)
  assert scores["accuracy"] == results["student"]["test_accuracy"]
  scores_by_scheme = {"float32": scores}
  for scheme in quantized.possible(network, sample):
    into = jax.vmap(
      lambda one, s=scheme: quantized.quantize_variables(
        network, one, s, sample
      )
    )
    few = jax.jit(into)(students)
    logits, scores = measured(quantized.stores_in(network, scheme).apply, few)
    same = logits.argmax(axis=-1) == wide.argmax(axis=-1)
    scores_by_scheme[scheme] = scores | {
      "agreement": same.mean(axis=-1).tolist()
    }
  about = {
    "model": note["model"],
    "schemes": scores_by_scheme,
    "summary": [
      line
      for name in list(scores_by_scheme)[1:]
      for line in _lines(name, scores_by_scheme)
    ],
  }
  timing.write(timing.machine() | about, arguments.output)


def _lines(name: str, results: dict) -> list[dict]:
  """What was asked of 8 bits is asked of no other scheme."""
  before, after = results["float32"], results[name]
  points = 100 * (np.array(before["accuracy"]) - np.array(after["accuracy"]))
  share = float(np.mean(after["bytes"]) / np.mean(before["bytes"]))
  bound = name == "w8a8"
  return [
    timing.line(
      f"{name}: points of error more than float32, mean over students",
      "at most 0.3" if bound else "",
      round(float(points.mean()), 3),
      bool(points.mean() <= 0.3) if bound else None,
    ),
    timing.line(
      f"{name}: the same of the worst student",
      "at most 0.3" if bound else "",
      round(float(points.max()), 3),
      bool(points.max() <= 0.3) if bound else None,
    ),
    timing.line(
      f"{name}: share of the bytes of float32",
      "at most 0.3" if bound else "",
      round(share, 4),
      share <= 0.3 if bound else None,
    ),
  ]


if __name__ == "__main__":
  main()
