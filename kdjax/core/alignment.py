"""What networks with different tokenizers hand each other in a step."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.factored import Factored, matrix_of
from kdjax.core.method import Inputs
from kdjax.losses import aligned

# The arrays of slots in a teacher's inputs, in the order of an `aligned.Alignment`.
SLOTS = ("slots_student", "slots_teacher", "slots_group")
# Such a teacher's features: an `aligned.Alignment`, and the tokens (B, R) that its
# answers are about.
_ALIGNMENT, _TOKENS = "alignment", "tokens"


def alignment_features(
  slots: Sequence[jax.Array], tokens: jax.Array
) -> dict[str, Any]:
  """The features of a teacher with another tokenizer than the student's.

  Args:
    slots: (B, S) each, in the order of `SLOTS`.
    tokens: (B, R) that its answers are about.
  """
  return {_ALIGNMENT: aligned.Alignment(*slots), _TOKENS: tokens}


def aligned_sides(
  inputs: Inputs,
) -> tuple[aligned.Side, aligned.Side, aligned.Alignment]:
  """The arguments of the losses of `kdjax.losses.aligned`.

  Args:
    inputs: of a step whose teacher has the features of `alignment_features`.

  Returns:
    The student's side, the teacher's, and their alignment, in which texts that
    are padding of a ragged batch have no group.
  """
  alignment, teacher_tokens = (
    inputs.teacher.feats[name] for name in (_ALIGNMENT, _TOKENS)
  )
  texts = len(teacher_tokens)
  counts = jnp.ones(texts, bool)
  if inputs.mask is not None:
    counts = inputs.mask.reshape(texts, -1).any(axis=1)
  return (
    _side(inputs.student.answers, inputs.labels.reshape(texts, -1)),
    _side(inputs.teacher.answers, teacher_tokens),
    jax.tree.map(lambda x: jnp.where(counts[:, None], x, -1), alignment),
  )


def _side(answers: jax.Array | Factored, tokens: jax.Array) -> aligned.Side:
  rows, head, bias = answers, None, None
  if isinstance(answers, Factored):
    rows, head, bias = answers.hidden, matrix_of(answers.kernel), answers.bias
  return aligned.Side(
    rows.reshape(*tokens.shape, rows.shape[-1]), tokens, head, bias
  )
