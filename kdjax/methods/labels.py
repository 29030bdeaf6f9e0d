"""What methods read off the labels: which there are, and what they cost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from kdjax.core.method import Inputs
from kdjax.losses.helpers import class_ids

# In place of the logit of a masked class: its probability is 0, and no NaN comes
# of it.
_DEAD = -1e30


def read_labels(inputs: Inputs) -> jax.Array:
  """Reads the labels; one that is none of the student's classes is none.

  Args:
    inputs: with the student's logits and the labels.

  Returns:
    (B,) int32, -1 where an example has no label.

  Example:
    >>> outputs, labels = Outputs(jnp.zeros((4, 3)), {}), jnp.array([2, 3, -1, -100])
    >>> print(read_labels(Inputs(outputs, None, labels, 0)))
    [ 2 -1 -1 -1]
  """
  return class_ids(inputs.labels, inputs.student.answers.shape[-1])


def where_labelled(
  loss: Callable[[jax.Array], jax.Array], inputs: Inputs
) -> jax.Array:
  """Takes a loss that needs labels where there are labels.

  Of mixed images it takes the first label alone.

  Args:
    loss: labels (B,) int32, all valid, -> (B,) values.
    inputs: with the student's logits and the labels.

  Returns:
    (B,) the values, 0 for an example without a label.

  Example:
    >>> outputs = Outputs(jnp.zeros((2, 5)), {})
    >>> inputs = Inputs(outputs, None, jnp.array([3, -1]), 0)
    >>> print(where_labelled(lambda labels: 1.0 * labels, inputs))
    [3. 0.]
  """
  labels = read_labels(inputs)
  return jnp.where(labels >= 0, loss(jnp.maximum(labels, 0)), 0.0)


def label_loss(logits: jax.Array, inputs: Inputs) -> jax.Array:
  """Cross-entropy of some logits with the labels.

  Args:
    logits: (B, C) float; -inf masks a class.
    inputs: with the student's logits and the labels.

  Returns:
    (B,) nats; 0, with zero gradient, for an example without a label and for
    one whose label is masked.

  Example:
    >>> outputs = Outputs(jnp.zeros((2, 2)), {})
    >>> inputs = Inputs(outputs, None, jnp.array([1, 9]), 0)
    >>> print(label_loss(jnp.zeros((2, 2)), inputs).round(4))
    [0.6931 0.    ]
  """

  def against(labels):
    label_logits = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    safe = jnp.where(label_logits == -jnp.inf, 0.0, logits)
    values = optax.losses.softmax_cross_entropy_with_integer_labels(
      safe, labels
    )
    return jnp.where(label_logits[:, 0] == -jnp.inf, 0.0, values)

  return where_labelled(against, inputs)


def soft_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Cross-entropy of some logits with targets, without the masked classes.

  Args:
    logits: (B, C) float32; -inf masks a class.
    targets: (B, C) float32, >= 0.

  Returns:
    (B,) nats.

  Example:
    >>> logits = jnp.array([[0.0, 0.0, -jnp.inf]])
    >>> print(soft_loss(logits, jnp.array([[0.5, 0.5, 0.0]])).round(4))
    [0.6931]
  """
  alive = logits != -jnp.inf
  return optax.losses.softmax_cross_entropy(
    jnp.where(alive, logits, _DEAD), jnp.where(alive, targets, 0.0)
  )
