"""The quantity that is measured: how large a cell's noise may be.

Noise sigma_g eps, eps ~ N(0, 1) for every pixel and channel, is added to cell g.
sigma is as large as the layer's feature f lets it be:

  min_sigma  E_eps mean_d (f_d(x') - f_d(x))^2 / s_f^2  -  weight * mean_g H_g
  H_g = log sigma_g + 0.5 log(2 pi e)

s_f^2 is the same expected change where every sigma is `reference`: it makes nets
and layers comparable. A layer that does not answer at all (s_f^2 = 0) gives no
entropies; its image is marked invalid.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

# A layer's features: images (B, H, W, C) -> (B, ...), each example on its own.
Feature = Callable[[jax.Array], jax.Array]

# Entropy of unit noise, nats: what a cell has that nobody looks at.
CEILING = 0.5 * math.log(2 * math.pi * math.e)


class Problem(NamedTuple):
  """What is asked of every image.

  Attributes:
    grid: (GH, GW) cells.
    weight: of the entropy against the change of the feature (the paper's
      lambda), > 0.
    reference: standard deviation of the noise that scales the change, s0, in
      units of the image.
    lowest: smallest sigma.
    highest: largest sigma; 1 puts the ceiling of the entropy at 1.4189 nats.
  """

  grid: tuple[int, int] = (16, 16)
  weight: float = 7.0
  reference: float = 0.01
  lowest: float = 1e-3
  highest: float = 1.0


class Estimate(NamedTuple):
  """Entropies of a batch of images, and how they were come by.

  Attributes:
    entropy: (B, GH, GW) float32, nats; the ceiling where `valid` is False.
    valid: (B,) bool, False where the feature does not answer to noise.
    ratio: (B,) E mean_d change^2 / s_f^2 at these sigmas; it tends to weight /
      2 where no bound binds and the feature is linear.
    at_bounds: (B,) share of cells at the lowest or highest sigma.
    steps: (B,) int32, optimiser steps until the stopping rule held; 0 for the
      closed form.
  """

  entropy: jax.Array
  valid: jax.Array
  ratio: jax.Array
  at_bounds: jax.Array
  steps: jax.Array


def entropy(sigma: jax.Array) -> jax.Array:
  """Differential entropy of normal noise.

  H = log sigma + 0.5 log(2 pi e)

  Args:
    sigma: float > 0, any shape, standard deviation.

  Returns:
    float32, nats, same shape.
  """
  return jnp.log(sigma.astype(jnp.float32)) + CEILING


def make_estimate(
  sigma: jax.Array,
  valid: jax.Array,
  ratio: jax.Array,
  steps: jax.Array,
  problem: Problem,
) -> Estimate:
  """Puts an estimate together.

  Args:
    sigma: (B, GH, GW) float.
    valid: (B,) bool.
    ratio: (B,) float.
    steps: (B,) int32.
  """
  low, high = problem.lowest, problem.highest
  at_bound = (sigma <= low * 1.0001) | (sigma >= high * 0.9999)
  sigma = jnp.where(valid[:, None, None], sigma, high)
  return Estimate(
    entropy(jnp.clip(sigma, low, high)),
    valid,
    jnp.where(valid, ratio, 0.0),
    at_bound.mean(axis=(1, 2)),
    steps,
  )


def flat(features: jax.Array) -> jax.Array:
  """Lays features out as (B, D) float32.

  Args:
    features: (B, ...).

  Returns:
    (B, D).

  Example:
    >>> flat(jnp.zeros((2, 3, 4))).shape
    (2, 12)
  """
  return features.reshape(features.shape[0], -1).astype(jnp.float32)
