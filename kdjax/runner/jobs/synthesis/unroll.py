"""Learning from synthetic images, as a function that can be differentiated.

A network starts at theta_0 and takes T = E * S steps of plain gradient descent,
E passes over S batches of synthetic images (x_s, y_s), each step with a rate of
its own:

  theta_{t+1} = theta_t - exp(r_t) * grad_theta CE(x_s, y_s; theta_t)

The outer loss is what the network at the end costs on real images; its gradient
reaches images, rates and labels through all T steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Synthetic(NamedTuple):
  """All that a synthesis learns.

  Attributes:
    images: (S, B, H, W, C) float, as networks see them; a batch a step.
    labels: (S, B, K) float, a share of each class; one-hot where not learned.
    log_rates: (E, S) float, natural logarithms: rates stay positive.
  """

  images: jax.Array
  labels: jax.Array
  log_rates: jax.Array


def begin(
  images: jax.Array,
  labels: np.ndarray,
  *,
  classes: int,
  steps: int,
  epochs: int,
  rate: float,
) -> Synthetic:
  """Deals images out to steps, as many of each class to every one.

  Args:
    images: (N, H, W, C) float; of each class a multiple of `steps`.
    labels: (N,) int, their classes.
    rate: where all learning rates start, > 0.
  """
  order = np.argsort(labels, kind="stable")
  counts = np.bincount(labels, minlength=classes)
  if (counts != counts[0]).any() or counts[0] % steps:
    raise ValueError(
      f"begin: {counts.tolist()} images of the classes cannot be dealt out to"
      f" {steps} steps"
    )
  # (class, step, share) -> (step, class and share).
  dealt = order.reshape(classes, steps, -1).swapaxes(0, 1).reshape(steps, -1)
  images = jnp.asarray(images)
  return Synthetic(
    images[dealt],
    jax.nn.one_hot(labels[dealt], classes, dtype=images.dtype),
    jnp.full((epochs, steps), np.log(rate), images.dtype),
  )


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Mean cross-entropy with labels that are shares of classes.

  loss = -mean_b sum_k y_bk log softmax(logits_b)_k

  Labels that were learned need not sum to one.

  Args:
    logits: (B, K).
    labels: (B, K).

  Example:
    >>> print(cross_entropy(jnp.zeros((1, 2)), jnp.array([[0., 1.]])).round(4))
    0.6931
  """
  return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), axis=-1))


def take_step(
  apply: Callable[[Any, jax.Array], jax.Array],
  params: Any,
  images: jax.Array,
  labels: jax.Array,
  rate: jax.Array,
) -> Any:
  """One step of plain gradient descent on the cross-entropy.

  Args:
    apply: (params, images (B, H, W, C)) -> logits (B, K).
    images: (B, H, W, C) float.
    labels: (B, K) float.
    rate: scalar.

  Returns:
    The parameters after it.

  Example:
    >>> apply = lambda w, x: x.reshape(len(x), -1) @ w
    >>> label = jnp.array([[1.0, 0.0]])
    >>> w = take_step(apply, jnp.zeros((1, 2)), jnp.ones((1, 1, 1, 1)), label, 1.0)
    >>> w.tolist()
    [[0.5, -0.5]]
  """

  def loss(params):
    return cross_entropy(apply(params, images), labels)

  gradient = jax.grad(loss)(params)
  return jax.tree.map(lambda p, g: p - rate * g, params, gradient)


def learn(
  apply: Callable[[Any, jax.Array], jax.Array],
  params: Any,
  synthetic: Synthetic,
  *,
  rolled: bool = True,
) -> Any:
  """Trains a network on synthetic images with their own learning rates.

  For its gradient only the parameters before each step are kept; what a step
  computes is computed again.

  Args:
    apply: (params, images (B, H, W, C)) -> logits (B, K).
    rolled: a loop in the program; False writes all steps out, which XLA's
      convolutions on the CPU need to be fast.

  Source:
    Wang, Zhu, Torralba, Efros 2018, arXiv:1811.10959. Learned labels:
    Sucholutsky, Schonlau 2019, arXiv:1910.02551.
  """

  @jax.checkpoint
  def step(params, images, labels, log_rate):
    return take_step(apply, params, images, labels, jnp.exp(log_rate))

  images, labels, log_rates = synthetic
  if not rolled:
    for rates in log_rates:
      for batch in zip(images, labels, rates, strict=True):
        params = step(params, *batch)
    return params

  def one_step(params, batch):
    return step(params, *batch), None

  def one_pass(params, rates):
    return jax.lax.scan(one_step, params, (images, labels, rates))[0], None

  return jax.lax.scan(one_pass, params, log_rates)[0]


def outer_loss(
  apply: Callable[[Any, jax.Array], jax.Array],
  starts: Any,
  synthetic: Synthetic,
  images: jax.Array,
  labels: jax.Array,
  *,
  rolled: bool = True,
) -> jax.Array:
  """What networks that learned from synthetic images cost on real ones.

  L(x, y, r) = mean over theta_0 of CE(real; theta_T(theta_0, x, y, r))

  Args:
    apply: (params, images (B, H, W, C)) -> logits (B, K).
    starts: several theta_0, with a leading axis (M,).
    images: (N, H, W, C) float, real.
    labels: (N,) int.
    rolled: as in `learn`; False also trains networks one after the other.
  """

  def one(params):
    params = learn(apply, params, synthetic, rolled=rolled)
    logits = apply(params, images)
    return cross_entropy(logits, jax.nn.one_hot(labels, logits.shape[-1]))

  if rolled:
    return jnp.mean(jax.vmap(one)(starts))
  count = len(jax.tree.leaves(starts)[0])
  member_losses = [
    one(jax.tree.map(lambda x, m=m: x[m], starts)) for m in range(count)
  ]
  return jnp.mean(jnp.stack(member_losses))
