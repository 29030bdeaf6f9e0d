"""Losses of answers that are a product: the divergence and the labels in one pass.

Logits of a large vocabulary are made once, in chunks of rows, for the value and
the gradient of a divergence and of the labels' cross-entropy together; see
`kdjax.losses.chunked`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.factored import Factored, as_logits
from kdjax.core.schedule import at
from kdjax.losses import chunked

# In place of a function of `kdjax.losses.chunked`: the labels alone.
LABELS = "labels"
# The metric of a pass in which labels are read, whatever they weigh.
NATS = "nats_per_token"


class Passes(NamedTuple):
  """What the terms of a sum come to that are computed from hidden states.

  Attributes:
    losses: their weighted means over the rows that count, by term. The gradient
      of all of them flows into one.
    means: the means themselves.
    metrics: the labels' cross-entropy, (sum, count), as they are seen anyway.
  """

  losses: dict[str, jax.Array]
  means: dict[str, jax.Array]
  metrics: dict[str, tuple[jax.Array, jax.Array]]


def in_one_pass(terms: Mapping[str, tuple], inputs: Any) -> Passes:
  """Computes those terms that can be, where the student's answers are Factored.

  Args:
    terms: (method, weight) by name, see `weighted_sum`.
    inputs: of a step.
  """
  answers = {
    side: outputs.answers
    for side in ("student", "teacher")
    if (outputs := getattr(inputs, side)) is not None
    and isinstance(outputs.answers, Factored)
  }
  if "student" not in answers or inputs.share is not None:
    return Passes({}, {}, {})
  functions = {
    name: method.chunked(inputs)
    for name, (method, _) in terms.items()
    if method.chunked is not None
  }
  weights = {
    name: jnp.asarray(at(terms[name][1], inputs.step), jnp.float32)
    for name in functions
  }
  (labels, *_) = [n for n, f in functions.items() if f is LABELS] or [None]
  divergences = [
    name
    for name, function in functions.items()
    if function not in (None, LABELS) and "teacher" in answers
  ]
  losses, means, metrics = {}, {}, {}
  label_weight = weights.get(labels, 0.0)
  for i, name in enumerate(divergences):
    # The labels' part once, in the first pass.
    of_labels = {} if i else {
      "labels": inputs.labels, "label_weight": label_weight
    }  # fmt: skip
    totals = divergence(
      functions[name], answers["student"], answers["teacher"],
      mask=inputs.mask, divergence_weight=weights[name], **of_labels,
    )  # fmt: skip
    losses[name], means[name] = totals.loss, totals.divergence
    if not i:
      # Its gradient is in the divergence's, its value is told apart.
      entropy = label_weight * totals.cross_entropy
      losses[name] -= entropy
      losses |= {} if labels is None else {labels: entropy}
      labelled = totals
  if not divergences and labels is not None:
    student = answers["student"]
    labelled = chunked.cross_entropy(
      student.hidden, student.kernel, inputs.labels, bias=student.bias,
      mask=inputs.mask,
    )  # fmt: skip
    losses[labels] = label_weight * labelled.loss
  if losses:
    metrics[NATS] = labelled.cross_entropy, labelled.labelled
    if labels is not None:
      means[labels] = labelled.cross_entropy
  count = count_rows(inputs)
  count = jnp.where(count > 0, count, 1.0)
  divided = ({k: x / count for k, x in y.items()} for y in (losses, means))
  return Passes(*divided, metrics)


def with_logits(inputs: Any) -> Any:
  """Makes the logits that a method reads which knows nothing of products.

  Where it reads none, they are not computed.
  """
  return jax.tree.map(
    as_logits, inputs, is_leaf=lambda x: isinstance(x, Factored)
  )


def count_rows(inputs: Any) -> jax.Array:
  """Counts the rows over which a term is a mean, () float32."""
  if inputs.mask is None:
    return jnp.float32(inputs.labels.shape[0])
  return jnp.sum(inputs.mask, dtype=jnp.float32)


def divergence(
  function: Callable[..., chunked.Totals],
  student: Factored,
  teacher: Factored,
  **settings: Any,
) -> chunked.Totals:
  """Computes a divergence of answers that are products.

  Args:
    function: of `kdjax.losses.chunked`.
    **settings: others of its arguments.

  Returns:
    Its sums over the rows that count.
  """
  return function(
    student.hidden,
    student.kernel,
    teacher.hidden,
    teacher.kernel,
    student_bias=student.bias,
    teacher_bias=teacher.bias,
    **settings,
  )
