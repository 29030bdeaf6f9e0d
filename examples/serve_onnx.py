"""Classifies images with an exported network: onnxruntime, numpy and Pillow.

python examples/serve_onnx.py FOLDER photo.jpg digit.png images.npy ...

A line an image: the file, then the likeliest classes with their probabilities,
with tabs between. Photos become pixels as in training: card.json says how.
"""

import json
import sys
from pathlib import Path

import numpy as np

MOST = 3  # classes that are printed


def pixels(file, expected):
  """What training would have made of an image file: (1, H, W, C) uint8."""
  from PIL import Image, ImageOps

  height, width = expected["size"]
  with Image.open(file) as image:
    if image.mode.startswith(("I", "F")):
      raise SystemExit(f"{file} has more than 8 bits a channel")
    # JPEGs are decoded at a fraction of their size, as in training.
    image.draft(None, (width, height))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
      below = Image.new("RGBA", image.size, (*expected["background"], 255))
      image = Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
    image = image.convert(expected["mode"])
    if image.size != (width, height):
      if height != width:
        raise SystemExit(f"{file} is not of {height} x {width} pixels")
      side = min(image.size)
      left, top = (image.width - side) // 2, (image.height - side) // 2
      image = image.crop((left, top, left + side, top + side))
      image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(1, height, width, -1)


def probabilities(logits):
  """The softmax of each row."""
  powers = np.exp(logits - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def main(folder, *files):
  import onnxruntime

  card = json.loads((Path(folder) / "card.json").read_text(encoding="utf-8"))
  names = card["network"]["class_names"]
  session = onnxruntime.InferenceSession(str(Path(folder) / "network.onnx"))
  for file in files:
    if file.endswith(".npy"):
      images = np.load(file, allow_pickle=False)
    else:
      images = pixels(file, card["input"])
    images = images.astype(card["network"]["dtype"])
    (logits,) = session.run(["logits"], {"images": images})
    for row in probabilities(logits):
      best = np.argsort(-row, kind="stable")[:MOST]
      print(file, *(f"{names[i]} {row[i]:.4f}" for i in best), sep="\t")


if __name__ == "__main__":
  main(*sys.argv[1:])
