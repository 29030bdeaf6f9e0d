"""Methods of logits for a teacher whose tokens are others than the student's."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.alignment import aligned_sides
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, Outputs
from kdjax.core.one_pass import count_rows
from kdjax.losses import aligned

# Methods that compare distributions over the same classes.
DIVERGENCES = ("divergence", "kd")


def over_groups(
  name: str, method: Method, *, across: str, shared_ids: tuple[Any, Any]
) -> Method:
  """Makes a method compare groups of tokens that stand for the same bytes.

  Args:
    name: of the method.
    across: "bytes" or "uld", what is asked for.
    shared_ids: the tokens that both have.

  Returns:
    The method; `ce` as it is. Its loss is the sum over the groups divided by the
    student's tokens that count, and so comparable with its cross-entropy.

  Raises:
    UserError: for a method that cannot.
  """
  if name == "ce":
    return method
  if name == "uld":
    return _with_loss(method, aligned.uld)
  if across == "bytes" and name in DIVERGENCES:
    return _with_loss(
      method, functools.partial(aligned.divergence, shared_ids=shared_ids)
    )
  possible = "uld" if across == "uld" else "divergences, kd, uld"
  raise UserError(
    f"--across={across}: {name} reads classes or features of which a teacher with"
    f" another tokenizer has others; possible: {possible}, each beside ce"
  )


def _with_loss(method: Method, loss: Callable[..., jax.Array]) -> Method:
  """The method as what a loss of `kdjax.losses.aligned` measures groups by."""

  def apply(params, state, inputs):
    def of_row(student_logits, teacher_logits):
      row = Inputs(
        Outputs(student_logits[None], {}),
        Outputs(teacher_logits[None], {}),
        jnp.full(1, -1, jnp.int32),
        inputs.step,
      )
      return method.apply(params, state, row)[0]

    *sides, alignment = aligned_sides(inputs)
    values = loss(
      *sides,
      alignment,
      measure=jnp.vectorize(of_row, signature="(c),(d)->()"),
    )
    tokens = count_rows(inputs)
    compared = (alignment.group >= 0) & (alignment.student >= 0)
    metrics = {"compared": (compared.sum(dtype=jnp.float32), tokens)}
    return values.sum() / jnp.maximum(tokens, 1.0), state, metrics

  return method._replace(apply=apply, chunked=None, reads_products=True)
