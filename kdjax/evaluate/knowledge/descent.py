"""The objective minimised by gradient descent: the reference, and the authors'.

A step works on a whole batch of images and is one compiled program; the loop
around it is Python's, because convolutions inside `lax.scan` are ten times
slower on the CPU, and because it can stop when every image has converged.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.evaluate.knowledge.cells import spread
from kdjax.evaluate.knowledge.problem import (
  Estimate,
  Feature,
  Problem,
  entropy,
  flat,
  make_estimate,
)


class Descent(NamedTuple):
  """How to minimise.

  Attributes:
    rule: "adam", on log sigma, or "published": plain SGD on sigma, stopped
      where the mean entropy is nearest `target`.
    steps: at most.
    draws: of noise, per step and image.
    learning_rate: Adam's peak, falling to a twentieth along a cosine; or SGD's.
    tolerance: an image has converged when its mean entropy changes by less than
      this share from one quarter of the steps to the next; 0 never stops.
    target: mean entropy, nats, at which the published rule stops.
    scale_draws: draws for s_f^2.
  """

  rule: str = "adam"
  steps: int = 200
  draws: int = 16
  learning_rate: float = 0.1
  tolerance: float = 1e-3
  target: float = -2.8
  scale_draws: int = 96


PUBLISHED = Descent("published", 80, 96, 1e-4, 0.0)


class State(NamedTuple):
  """Where the descent stands; arrays (B, GH, GW) or (B,).

  Attributes:
    theta: log sigma, or sigma for the published rule.
    moments: Adam's two.
    total: sum of theta over this quarter; the best theta for the published rule.
    before: theta averaged over the quarter before.
    scale: (B,) s_f^2.
    ratio: (B,) running mean of change / s_f^2.
    gap: (B,) distance of the best mean entropy from the target.
    steps: (B,) steps until convergence; 0 while not converged.
  """

  theta: jax.Array
  moments: tuple[jax.Array, jax.Array]
  total: jax.Array
  before: jax.Array
  scale: jax.Array
  ratio: jax.Array
  gap: jax.Array
  steps: jax.Array


def optimise(
  feature: Feature,
  images: jax.Array,
  keys: jax.Array,
  problem: Problem,
  descent: Descent | None = None,
  *,
  sigma: jax.Array | None = None,
) -> Estimate:
  """Entropies by Adam on log sigma: the reference.

  Args:
    feature: images -> (B, ...), each example on its own.
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys, one an image.
    descent: how; 200 steps of 16 draws by default.
    sigma: (B, GH, GW) to start from, such as the closed form's; by default the
      reference noise everywhere.

  Source:
    Objective: Cheng et al. 2020, arXiv:2003.03622. Optimiser: ours.
  """
  descent = descent or Descent()
  return minimise(
    jax.jit(partial(start, feature, problem=problem, descent=descent)),
    jax.jit(partial(step, feature, problem=problem, descent=descent)),
    images,
    keys,
    problem,
    descent,
    sigma=sigma,
  )


def published(
  feature: Feature, images: jax.Array, keys: jax.Array, problem: Problem
) -> Estimate:
  """Entropies by the authors' schedule: an early stop, not the optimum.

  SGD on sigma with rate 1e-4, 96 draws, 80 steps; in the last 20 the weight is
  half as much again where the target was not passed; then the step whose mean
  entropy is nearest -2.8.

  Args:
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys.
    problem: what is asked; the authors' weight is 7, for ResNets 6.

  Source:
    Cheng et al. 2020, arXiv:2003.03622, and its code's defaults.
  """
  return optimise(feature, images, keys, problem, PUBLISHED)


def minimise(
  begin: Callable,
  advance: Callable,
  images: jax.Array,
  keys: jax.Array,
  problem: Problem,
  descent: Descent,
  *,
  sigma: jax.Array | None = None,
) -> Estimate:
  """Runs compiled steps until every image has converged.

  Args:
    begin: (images, keys, sigma) -> State, `start` compiled.
    advance: (images, keys, state, number) -> State, `step` compiled.
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys.
    sigma: (B, GH, GW) to start from.
  """
  if sigma is None:
    shape = (len(images), *problem.grid)
    sigma = jnp.full(shape, problem.reference, jnp.float32)
  state = begin(images, keys, sigma)
  quarter = max(1, descent.steps // 4)
  for number in range(descent.steps):
    state = advance(images, keys, state, jnp.int32(number))
    # Looked at once a quarter: each look waits for the device.
    if (number + 1) % quarter == 0 and bool(jnp.all(state.steps > 0)):
      break
  steps = jnp.where(state.steps > 0, state.steps, descent.steps)
  theta = state.total if descent.rule == "published" else state.before
  sigma = theta if descent.rule == "published" else jnp.exp(theta)
  return make_estimate(sigma, state.scale > 0, state.ratio, steps, problem)


def start(
  feature: Feature,
  images: jax.Array,
  keys: jax.Array,
  sigma: jax.Array,
  *,
  problem: Problem,
  descent: Descent,
) -> State:
  """Measures s_f^2 and makes the first state.

  Args:
    feature: images -> (B, ...).
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys.
    sigma: (B, GH, GW) to start from.
  """
  noise = jnp.full(sigma.shape, problem.reference, jnp.float32)
  keys = jax.vmap(lambda key: jax.random.fold_in(key, 2**31 - 1))(keys)
  scale = _change(feature, images, keys, noise, descent.scale_draws)
  theta = sigma if descent.rule == "published" else jnp.log(sigma)
  zeros, one = jnp.zeros_like(sigma), jnp.zeros_like(scale)
  gap, steps = one + jnp.inf, one.astype(jnp.int32)
  return State(
    theta, (zeros, zeros), zeros, zeros, scale, one, gap, steps
  )  # fmt: skip


def step(
  feature: Feature,
  images: jax.Array,
  keys: jax.Array,
  state: State,
  number: jax.Array,
  *,
  problem: Problem,
  descent: Descent,
) -> State:
  """Takes one step for every image that has not converged.

  Args:
    feature: images -> (B, ...).
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys.
    number: () int32, of this step, from 0.
  """
  keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
  free = descent.rule == "published"
  weight = _weight(state, number, problem, descent)

  def objective(theta):
    sigma = theta if free else jnp.exp(theta)
    change = _change(feature, images, keys, sigma, descent.draws)
    ratio = change / jnp.where(state.scale > 0, state.scale, 1.0)
    value = ratio - weight * entropy(sigma).mean(axis=(1, 2))
    return jnp.sum(value), ratio

  grads, ratio = jax.grad(objective, has_aux=True)(state.theta)
  make = _published if free else _adam
  new = make(state, grads, ratio, number, problem, descent)
  over = state.steps > 0

  def select(old, new):
    return jnp.where(over.reshape(-1, *[1] * (old.ndim - 1)), old, new)

  return jax.tree.map(select, state, new)


def _change(feature, images, keys, sigma, draws) -> jax.Array:
  """E_eps mean_d (f(x') - f(x))^2, (B,)."""
  shape = images.shape[1:]
  noise = jax.vmap(lambda key: jax.random.normal(key, (draws, *shape)))(keys)
  scale = spread(sigma, shape[:2])[:, None, :, :, None]
  noisy = (images[:, None] + scale * noise).reshape(-1, *shape)
  clean = flat(feature(images))[:, None]
  noisy_features = flat(feature(noisy)).reshape(clean.shape[0], draws, -1)
  return jnp.mean((noisy_features - clean) ** 2, axis=(1, 2))


def _weight(state, number, problem, descent):
  if descent.rule != "published":
    return problem.weight
  low = entropy(state.theta).mean(axis=(1, 2)) < descent.target
  late = number >= descent.steps - 20
  return jnp.where(low & late, 1.5, 1.0) * problem.weight


def _adam(state, grads, ratio, number, problem, descent) -> State:
  first, second = state.moments
  first = 0.9 * first + 0.1 * grads
  second = 0.99 * second + 0.01 * grads**2
  count = (number + 1).astype(jnp.float32)
  turn = jnp.pi * number.astype(jnp.float32) / descent.steps
  rate = descent.learning_rate * (0.525 + 0.475 * jnp.cos(turn))
  direction = first / (1 - 0.9**count)
  direction /= jnp.sqrt(second / (1 - 0.99**count)) + 1e-8
  theta = jnp.clip(
    state.theta - rate * direction,
    jnp.log(problem.lowest),
    jnp.log(problem.highest),
  )
  quarter = max(1, descent.steps // 4)
  ends = (number + 1) % quarter == 0
  total = state.total + theta
  mean = total / quarter
  value = entropy(jnp.exp(mean)).mean(axis=(1, 2))
  last = entropy(jnp.exp(state.before)).mean(axis=(1, 2))
  calm = jnp.abs(value - last) < descent.tolerance * jnp.abs(last)
  # The first quarter has none before it to be compared with.
  calm &= ends & (number >= quarter)
  return state._replace(
    theta=theta,
    moments=(first, second),
    total=jnp.where(ends, 0.0, total),
    before=jnp.where(ends, mean, state.before),
    ratio=jnp.where(number == 0, ratio, 0.9 * state.ratio + 0.1 * ratio),
    steps=jnp.where(calm, number + 1, 0),
  )


def _published(state, grads, ratio, number, problem, descent) -> State:
  theta = state.theta - descent.learning_rate * grads
  theta = jnp.clip(theta, problem.lowest, problem.highest)
  gap = jnp.abs(entropy(theta).mean(axis=(1, 2)) - descent.target)
  nearer = gap < state.gap
  return state._replace(
    theta=theta,
    total=jnp.where(nearer[:, None, None], theta, state.total),
    ratio=jnp.where(nearer, ratio, state.ratio),
    gap=jnp.where(nearer, gap, state.gap),
  )
