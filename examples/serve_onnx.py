"""Classifies images with an exported network: onnxruntime and numpy, no jax.

python examples/serve_onnx.py FOLDER images.npy digit.png ...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def read(file, shape):
  if file.endswith(".npy"):
    return np.load(file, allow_pickle=False)
  from PIL import Image

  height, width, channels = shape
  image = Image.open(file).convert("L" if channels == 1 else "RGB")
  return np.asarray(image.resize((width, height))).reshape(1, *shape)


folder, *files = sys.argv[1:]
network = json.loads((Path(folder) / "card.json").read_text())["network"]
session = onnxruntime.InferenceSession(str(Path(folder) / "network.onnx"))
for file in files:
  images = read(file, network["image_shape"]).astype(network["dtype"])
  (logits,) = session.run(["logits"], {"images": images})
  print(file, *(network["class_names"][best] for best in logits.argmax(-1)))
