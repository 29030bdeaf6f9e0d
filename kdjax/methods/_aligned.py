"""Methods of logits for a teacher whose tokens are others than the student's."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.factored import Factored
from kdjax.core.method import Inputs, Method, Outputs
from kdjax.core.one_pass import count_rows
from kdjax.losses import aligned

# What such a teacher shows beside its answers, by name: an `aligned.Alignment`, and
# the tokens (B, R) that its answers are about.
ALIGNMENT, TOKENS = "alignment", "tokens"
# Methods that compare distributions over the same classes.
DIVERGENCES = ("divergence", "kd")


def over_groups(
  name: str, method: Method, *, across: str, shared_ids: aligned.SharedIds
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
    return _aligned(method, aligned.uld)
  if across == "bytes" and name in DIVERGENCES:
    return _aligned(
      method, functools.partial(aligned.divergence, shared_ids=shared_ids)
    )
  possible = "uld" if across == "uld" else "divergences, kd, uld"
  raise UserError(
    f"--across={across}: {name} reads classes or features of which a teacher with"
    f" another tokenizer has others; possible: {possible}, each beside ce"
  )


def shown_beside(
  slots: Sequence[jax.Array], tokens: jax.Array
) -> dict[str, Any]:
  """What a teacher shows beside its answers.

  Args:
    slots: (B, S) each, as an `aligned.Alignment` has them.
    tokens: (B, R) that its answers are about.
  """
  return {ALIGNMENT: aligned.Alignment(*slots), TOKENS: tokens}


def sides_of(
  inputs: Inputs,
) -> tuple[aligned.Side, aligned.Side, aligned.Alignment]:
  """What both networks answer to the texts of a step, and what is compared."""
  slots, tokens = (inputs.teacher.feats[name] for name in (ALIGNMENT, TOKENS))
  texts = len(tokens)
  # Of the padding of a ragged batch nothing is.
  counts = jnp.ones(texts, bool)
  if inputs.mask is not None:
    counts = inputs.mask.reshape(texts, -1).any(axis=1)
  return (
    _side(inputs.student.answers, inputs.labels.reshape(texts, -1)),
    _side(inputs.teacher.answers, tokens),
    jax.tree.map(lambda x: jnp.where(counts[:, None], x, -1), slots),
  )


def _aligned(method: Method, loss: Callable[..., jax.Array]) -> Method:
  def apply(params, state, inputs):
    def measure(student_logits, teacher_logits):
      """One value a row; `apply` averages."""
      width = [x.shape[-1] for x in (student_logits, teacher_logits)]
      rows = (
        student_logits.reshape(-1, width[0]),
        teacher_logits.reshape(-1, width[1]),
      )

      def one(student, teacher):
        value, _, _ = method.apply(
          params,
          state,
          Inputs(
            Outputs(student[None], {}),
            Outputs(teacher[None], {}),
            jnp.full(1, -1, jnp.int32),
            inputs.step,
          ),
        )
        return value

      return jax.vmap(one)(*rows).reshape(student_logits.shape[:-1])

    values = loss(*sides_of(inputs), measure=measure)
    return values.sum() / jnp.maximum(count_rows(inputs), 1.0), state, {}

  return method._replace(apply=apply, chunked=None, reads_products=True)


def _side(answers, tokens: jax.Array) -> aligned.Side:
  head, bias, rows = None, None, answers
  if isinstance(answers, Factored):
    rows, head, bias = answers.hidden, answers.kernel, answers.bias
  rows = rows.reshape(*tokens.shape, rows.shape[-1])
  return aligned.Side(rows, tokens, head, bias)
