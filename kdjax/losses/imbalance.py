"""Losses of classes of which some are rare."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks
from kdjax.losses.helpers import class_ids


def logit_adjusted_cross_entropy(
  student: jax.Array,
  labels: jax.Array,
  prior: jax.Array,
  *,
  tau: float | jax.Array = 1.0,
) -> jax.Array:
  """Cross-entropy of logits to which the classes' log frequencies are added.

  loss = - log q_y,  q = softmax(student + tau log prior)

  The student's own logits then order the classes as if all were equally common:
  its least balanced error, at tau = 1, where the loss is balanced softmax. tau = 0 is
  the plain cross-entropy. A row without a label is 0, with zero gradient.

  Args:
    student: (n, C) float, logits, as they are used afterwards.
    labels: (n) integer class ids; outside 0 to C - 1, or a class that the student
      masks = no label.
    prior: (C,) > 0, how common each class is: shares, or counts, which differ by a
      constant that the softmax does not see.
    tau: strength of the adjustment.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes do not fit or a prior is not > 0.

  Example:
    >>> student, prior = jnp.zeros((2, 2)), jnp.array([3.0, 1.0])
    >>> print(logit_adjusted_cross_entropy(student, jnp.array([0, 1]), prior).round(4))
    [0.2877 1.3863]

  Source:
    Menon et al. 2021, arXiv:2007.07314, equation 10; Ren et al. 2020,
    arXiv:2007.10740, balanced softmax.
  """
  name = "logit_adjusted_cross_entropy"
  checks.classes(name, student)
  checks.labels(name, student, labels)
  adjusted = _adjusted(name, student, prior, tau)
  ids = class_ids(labels, student.shape[-1])
  place = jnp.maximum(ids, 0)[..., None]
  own = jnp.take_along_axis(adjusted, place, axis=-1)[..., 0]
  has_label = (ids >= 0) & (own != -jnp.inf)
  # A row without a label is one of zeros: nothing in it reaches the gradient.
  adjusted = jnp.where(has_label[..., None], adjusted, 0.0)
  log_q = jnp.take_along_axis(_math.log_softmax(adjusted), place, axis=-1)
  return jnp.where(has_label, -log_q[..., 0], 0.0)


def add_log_prior(
  logits: jax.Array, prior: jax.Array, *, tau: float | jax.Array = 1.0
) -> jax.Array:
  """Adds to logits how common the classes are: logit adjustment.

  result = logits + tau log prior

  Args:
    logits: (..., C) float.
    prior: (C,) > 0, shares or counts.
    tau: strength; -1 takes off again what 1 adds: post-hoc adjustment.

  Returns:
    (..., C) float32 (float64 for float64), nats; -inf stays.

  Raises:
    ValueError: at trace time, if the shapes do not fit or a prior is not > 0.

  Example:
    >>> print(add_log_prior(jnp.zeros((1, 2)), jnp.array([0.75, 0.25])).round(4))
    [[-0.2877 -1.3863]]

  Source:
    Menon et al. 2021, arXiv:2007.07314, equations 9 and 10.
  """
  return _adjusted("add_log_prior", logits, prior, tau)


def _adjusted(function, logits, prior, tau):
  logits = _math.at_least_float32(logits)
  prior = jnp.asarray(prior)
  if prior.shape != logits.shape[-1:]:
    raise ValueError(
      f"{function}: prior must be one number a class, {logits.shape[-1:]}, got"
      f" {prior.shape}"
    )
  checks.positive(function, prior=prior)
  log_prior = jnp.log(prior.astype(logits.dtype))
  log_prior = jax.lax.stop_gradient(log_prior)
  shape = (1,) * (logits.ndim - 1) + log_prior.shape
  return logits + tau * log_prior.reshape(shape)
