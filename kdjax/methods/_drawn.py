"""What methods read of tokens that the student has drawn itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.factored import Factored, by_row
from kdjax.core.method import Method, stateless
from kdjax.losses import chunked

# (log q, log p of the drawn tokens, KL(q || p), mask, the texts' teacher's shares),
# (B, T - 1) but for the last, (B, 1) -> (B, T - 1) losses.
Loss = Callable[..., jax.Array]


def of_drawn(loss: Loss) -> Method:
  """Makes a method of a loss of drawn tokens.

  Where nothing was drawn a row is a text of one token, and the expectation over it
  is taken in full: the reverse KL.

  Args:
    loss: see `Loss`.

  Returns:
    The method; logits of a large vocabulary are made in chunks of rows.
  """

  def values(inputs, student, teacher):
    if inputs.drawn is None:
      return losses.reverse_kl(student, teacher)
    over = by_row if isinstance(student, Factored) else jax.vmap(_of_row)
    if over is by_row:
      over = functools.partial(by_row, _of_row)
    shape = (len(inputs.teacher_share), -1)
    log_probs = over(student, teacher, inputs.drawn)
    log_probs = (x.reshape(shape) for x in log_probs)
    mask = (inputs.drawn >= 0).reshape(shape)
    return loss(*log_probs, mask, inputs.teacher_share[:, None]).ravel()

  def in_chunks(inputs):
    if inputs.drawn is None:
      return chunked.reverse_kl
    return functools.partial(_totals, functools.partial(values, inputs))

  return stateless(
    lambda inputs: values(
      inputs, inputs.student.answers, inputs.teacher.answers
    ),
    chunked=in_chunks,
  )


def _of_row(student, teacher, token):
  """A row's log q and log p of its token, and KL(q || p)."""
  # Whatever stands where nothing was drawn has no part in a gradient.
  student, teacher = (
    jnp.where(token < 0, 0.0, x.astype(jnp.float32)) for x in (student, teacher)
  )
  log_q, log_p = (
    jax.nn.log_softmax(x)[jnp.maximum(token, 0)] for x in (student, teacher)
  )
  return (
    log_q,
    jax.lax.stop_gradient(log_p),
    losses.reverse_kl(student, teacher),
  )


def _totals(
  values: Callable[[Any, Any], jax.Array],
  student_hidden,
  student_head,
  teacher_hidden,
  teacher_head,
  *,
  student_bias,
  teacher_bias,
  mask,
  divergence_weight,
  labels=None,
  label_weight=0.0,
) -> chunked.Totals:
  """As the functions of `kdjax.losses.chunked`, of losses a row."""
  rows = values(
    Factored(student_hidden, student_head, student_bias),
    Factored(teacher_hidden, teacher_head, teacher_bias),
  )
  total = jnp.sum(jnp.where(mask, rows, 0.0))
  nothing = jnp.full(rows.shape, -1, jnp.int32)
  nats = chunked.cross_entropy(
    student_hidden,
    student_head,
    nothing if labels is None else labels,
    bias=student_bias,
    mask=mask,
  )
  return nats._replace(
    loss=divergence_weight * total + label_weight * nats.loss,
    divergence=jax.lax.stop_gradient(total),
  )
