"""Adaptive average pooling against a loop over its cells."""

import math

import numpy as np
import pytest

from kdjax.models.pooling import adaptive_average_pool


@pytest.mark.parametrize(
  ("size", "cells"),
  [
    ((7, 7), (7, 7)),
    ((14, 21), (7, 7)),
    ((13, 9), (6, 6)),
    ((1, 1), (7, 7)),
    ((2, 3), (6, 7)),
  ],
)
def test_mean_of_each_cell(size, cells):
  images = np.random.default_rng(0).normal(size=(2, *size, 3))
  images = images.astype(np.float32)
  want = np.zeros((2, *cells, 3))
  for i in range(cells[0]):
    for j in range(cells[1]):
      top, left = i * size[0] // cells[0], j * size[1] // cells[1]
      bottom = math.ceil((i + 1) * size[0] / cells[0])
      right = math.ceil((j + 1) * size[1] / cells[1])
      want[:, i, j] = images[:, top:bottom, left:right].mean((1, 2))
  np.testing.assert_allclose(
    adaptive_average_pool(images, *cells), want, rtol=1e-5, atol=1e-6
  )
