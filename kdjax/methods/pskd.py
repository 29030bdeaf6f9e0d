"""PS-KD: the targets are more and more the network's own earlier answers."""

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.method import Method, batch_mean
from kdjax.core.schedule import check_value
from kdjax.losses import checks
from kdjax.methods._features import memory_rows
from kdjax.methods.labels import read_labels, soft_loss
from kdjax.methods.registry import register


@register("pskd", objective="pskd:1", reads=("categories",), of_examples=True)
def pskd(
  *,
  alpha: float | jax.Array = 0.8,
  examples: int | None = None,
  steps: int | None = None,
) -> Method:
  """Progressive self-distillation.

  loss = - sum_c y_c log q_c,  q = softmax(student),
  y = (1 - a) onehot(label) + a * p,  a = alpha * step / steps

  with p the network's answer when it saw the example last, an epoch ago; the
  label where it did not yet. As in the paper, answers are those given while
  training; a grows with every step, there with every epoch. An example without
  a label has only the second part.

  Matched: the student's logits to its own of an epoch ago. Learned: nothing but
  the student and, not by gradients, a memory of the answers. Default taps:
  none. Cost: N * C numbers to remember; no teacher.

  Args:
    alpha: share of its own answers at the end, in [0, 1].
    examples: N, the number of training examples.
    steps: length of the training.

  Returns:
    The method; it remembers examples, so it couples the batch.

  Raises:
    ValueError: for a share outside its range.
    UserError: where the method is applied, if `examples` or `steps` is not given,
      or the batch does not say which examples it holds.

  Example:
    >>> outputs = Outputs(jnp.zeros((1, 2)), {})
    >>> inputs = Inputs(outputs, None, jnp.array([1]), 0, index=jnp.array([2]))
    >>> method = pskd(examples=3, steps=10)
    >>> params, answers = method.init(jax.random.key(0), inputs)
    >>> loss, answers, _ = method.apply(params, answers, inputs)
    >>> print(loss.round(4), answers[2])
    0.6931 [0.5 0.5]

  Source:
    Kim et al. 2021, arXiv:2006.12000, and its code.
  """
  check_value("alpha", alpha, lambda value: 0 <= value <= 1)

  def init(rng, inputs):
    del rng
    memory_rows("pskd", examples, inputs)
    if steps is None:
      raise UserError("pskd needs the length of the training, pskd(steps=1000)")
    classes = inputs.student.answers.shape[-1]
    return (), jnp.zeros((examples, classes), jnp.float32)

  def apply(params, answers, inputs):
    del params
    logits = inputs.student.answers.astype(jnp.float32)
    rows = memory_rows("pskd", examples, inputs)
    checks.classes("pskd", logits)
    label = jax.nn.one_hot(read_labels(inputs), logits.shape[-1])
    earlier = answers[inputs.index]
    # What was answered adds up to 1, what was not to 0.
    has_answer = jnp.sum(earlier, axis=-1, keepdims=True) > 0
    share = alpha * jnp.minimum(inputs.step / steps, 1.0)
    targets = (1 - share) * label + share * jnp.where(
      has_answer, earlier, label
    )
    values = soft_loss(logits, targets)
    now = jax.lax.stop_gradient(jax.nn.softmax(logits))
    return batch_mean(values, inputs), answers.at[rows].set(now), {}

  return Method(init, apply, couples_batch=True, needs_teacher=False)
