"""Weights and images out of names, so that no weights need to be stored."""

import zlib

import numpy as np


def draw(name, shape):
  """A tensor that depends on its name and shape alone, at a sane scale."""
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  unit = (rng.random(shape, np.float32) - 0.5) * np.float32(12**0.5)
  if name.endswith("running_var"):
    return 1 + unit / 4
  if len(shape) == 1:
    return np.float32(name.endswith("weight")) + unit / 10
  if name.endswith(("weight", "in_proj_weight")):
    return unit * np.float32((2 / np.prod(shape[1:])) ** 0.5)
  return unit / 10  # tokens and positions


def draw_all(shapes):
  return {name: draw(name, tuple(shape)) for name, shape in shapes.items()}


def draw_images(side, channels=3):
  """(2, side, side, channels) float32 in [0, 1]."""
  rng = np.random.default_rng(side)
  return rng.random((2, side, side, channels), np.float32)
