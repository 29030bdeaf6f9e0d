"""What networks take of time, in jax and in onnxruntime, all of them in turn."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdjax.data import Split
from kdjax.data.dataset import stacked
from kdjax.models.export import onnx
from kdjax.models.export.formats import Answer
from kdjax.runner.pipeline import measure

BATCHES = (1, 64)
CALIBRATION = 256


def graphs(
  name: str, network, about, images: Split, folder: Path
) -> dict[str, Answer]:
  """Writes a network for onnxruntime, in float32 and in int8, and reads it.

  Args:
    network: traceable, stored images -> logits.
    images: training images; the first of them calibrate the activations.
  """
  folder.mkdir(exist_ok=True)
  path, small = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
  onnx.write(path, network, about.signature)
  few = stacked(images, np.arange(min(CALIBRATION, len(images.labels))))
  logging.disable(logging.WARNING)
  try:
    onnx.quantize(path, small, few)
  finally:
    logging.disable(logging.NOTSET)
  return {
    "onnxruntime": onnx.load(path, path.read_bytes()),
    "onnxruntime_int8": onnx.load(small, small.read_bytes()),
  }


def latencies(
  answers: Mapping[str, Mapping[str, Answer]], images: Split
) -> dict[str, dict[str, Any]]:
  """Times every network in every runtime, in turn; see `results.clock`.

  Args:
    answers: by network and runtime, stored images -> logits.
  """
  calls = {}
  for batch in BATCHES:
    block = stacked(images, np.arange(batch) % len(images.labels))
    calls[batch] = {
      (name, runtime): lambda answer=answer, x=block: answer(x)
      for name, runtimes in answers.items()
      for runtime, answer in runtimes.items()
    }
  times = {name: {} for name in answers}
  for (name, runtime), one in measure.clock(calls).items():
    for key, values in one.items():
      times[name].setdefault(key, {})[runtime] = values
  return times
