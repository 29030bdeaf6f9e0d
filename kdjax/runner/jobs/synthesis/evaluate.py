"""Networks that learn from a course of images, and the search for its rate."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.runner.jobs.synthesis.unroll import Synthetic, take_step


class Course(NamedTuple):
  """Images in the order in which a network learns from them.

  Attributes:
    images: (N, H, W, C) float.
    labels: (N, K) float, a share of each class.
    plan: (T, B) int32, which images each step sees.
  """

  images: jax.Array
  labels: jax.Array
  plan: np.ndarray


class Choice(NamedTuple):
  """What a search found best.

  Attributes:
    tried: every rate and number of steps with its accuracy, JSON values.
  """

  rate: float
  steps: int
  tried: list[dict[str, float]]


def learned_course(synthetic: Synthetic) -> tuple[Course, np.ndarray]:
  """Returns learned images as a course, and their learned rates, (T,)."""
  images, labels, log_rates = synthetic
  steps, batch = images.shape[:2]
  plan = np.arange(steps * batch, dtype=np.int32).reshape(steps, batch)
  course = Course(
    images.reshape(-1, *images.shape[2:]),
    labels.reshape(-1, labels.shape[-1]),
    np.tile(plan, (log_rates.shape[0], 1)),
  )
  return course, np.exp(np.asarray(log_rates)).ravel()


def whole_course(
  images: np.ndarray, labels: np.ndarray, classes: int, steps: int
) -> Course:
  """Returns a course that shows all images in every step.

  Args:
    images: (N, H, W, C) float.
    labels: (N,) int.

  Example:
    >>> whole_course(np.ones((2, 1, 1, 1)), np.arange(2), 2, 3).plan.shape
    (3, 2)
  """
  plan = np.tile(np.arange(len(labels), dtype=np.int32), (steps, 1))
  return Course(jnp.asarray(images), jax.nn.one_hot(labels, classes), plan)


def shuffled_course(
  images: np.ndarray,
  labels: np.ndarray,
  classes: int,
  *,
  epochs: int,
  batch_size: int,
  seed: int,
) -> Course:
  """Returns a course of passes in random order; ragged batches are left out.

  Args:
    images: (N, H, W, C) float.
    labels: (N,) int.

  Example:
    >>> images, labels = np.ones((5, 1, 1, 1)), np.zeros(5, int)
    >>> made = shuffled_course(images, labels, 2, epochs=3, batch_size=2, seed=0)
    >>> made.plan.shape
    (6, 2)
  """
  generator = np.random.default_rng(seed)
  count = len(labels) // batch_size * batch_size
  orders = [generator.permutation(len(labels))[:count] for _ in range(epochs)]
  plan = np.concatenate(orders).reshape(-1, batch_size).astype(np.int32)
  return Course(jnp.asarray(images), jax.nn.one_hot(labels, classes), plan)


def follow(
  apply: Callable[[Any, jax.Array], jax.Array],
  starts: Any,
  course: Course,
  rates: np.ndarray,
  *,
  together: bool = True,
) -> Any:
  """Trains (M, ...) networks on a course by plain gradient descent.

  Args:
    apply: (params, images (B, H, W, C)) -> logits (B, K).
    rates: (T,), one a step.
    together: whether they train side by side, or one after the other: faster
      for convolutions on the CPU.
  """
  rates = np.asarray(rates, np.float32)
  if together:
    return _side_by_side(apply, starts, *course, rates)
  count = len(jax.tree.leaves(starts)[0])
  networks = []
  for m in range(count):
    params = jax.tree.map(lambda x, m=m: x[m], starts)
    for places, rate in zip(course.plan, rates, strict=True):
      params = _step(apply, params, course.images, course.labels, places, rate)
    networks.append(params)
  return jax.tree.map(lambda *x: jnp.stack(x), *networks)


def search(
  train: Callable[[float, Any, int, int], Any],
  score: Callable[[Any], float],
  rates: Sequence[float],
  lengths: Sequence[int],
) -> Choice:
  """Tries every rate with every number of steps.

  Args:
    train: (rate, state, first step, last step) -> state after them; the state is
      None before the first.
    score: state -> accuracy on held-out images.

  Example:
    >>> train = lambda rate, state, start, stop: rate * stop
    >>> search(train, lambda x: -abs(x - 4), [1.0, 2.0], [1, 2])[:2]
    (2.0, 2)
  """
  results = []
  for rate in rates:
    state, steps = None, 0
    for length in lengths:
      state = train(rate, state, steps, length)
      steps = length
      results.append({"rate": rate, "steps": length, "accuracy": score(state)})
  best = max(results, key=lambda one: one["accuracy"])
  return Choice(best["rate"], best["steps"], results)


@partial(jax.jit, static_argnums=0)
def _side_by_side(apply, starts, images, labels, plan, rates):
  def one(params):
    def step(params, turn):
      places, rate = turn
      batch = images[places], labels[places]
      return take_step(apply, params, *batch, rate), None

    return jax.lax.scan(step, params, (plan, rates))[0]

  return jax.vmap(one)(starts)


@partial(jax.jit, static_argnums=0)
def _step(apply, params, images, labels, places, rate):
  return take_step(apply, params, images[places], labels[places], rate)
