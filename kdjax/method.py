"""What a distillation method is: a value made of pure functions.

A method says *what* of the student is matched to *what* of the teacher. Who
learns from whom is the step's business, and in which order the stage list's.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import masked_mean
from kdjax.schedule import Schedule, at

# A metric is summed over batches and devices and divided once, at the end, so
# that ragged batches and any number of devices give the same mean.
Metrics = dict[str, tuple[jax.Array, jax.Array]]


class View(NamedTuple):
  """What one network shows for one batch.

  Attributes:
    logits: (B, C) float.
    feats: tapped features by tap.
  """

  logits: jax.Array
  feats: Mapping[str, jax.Array]


class Inputs(NamedTuple):
  """What a method sees of one step.

  Attributes:
    student: the student's view; the gradient flows into it.
    teacher: the teacher's view, a constant; None where nobody teaches.
    labels: (B,) int32, -1 where an example has no label.
    step: () int32, the training step from 0.
    mask: (B,) bool, False for the padding of a ragged batch; None = all count.
    index: (B,) int32, which example of the training set this is; or None.
  """

  student: View
  teacher: View | None
  labels: jax.Array
  step: jax.Array
  mask: jax.Array | None = None
  index: jax.Array | None = None


class Method(NamedTuple):
  """A distillation method.

  Attributes:
    init: (rng, inputs) -> (params, state); params are trained with the student
      (regressors, projectors), state is not (memories, running averages).
    apply: (params, state, inputs) -> (loss, state, metrics); loss is a float32
      scalar, the mean over the examples that count; metrics are (sum, count).
    student_taps: the student's features that it wants to see.
    teacher_taps: the teacher's.
    couples_batch: whether the loss relates examples to each other, so that it
      must see the global batch.
  """

  init: Callable[[jax.Array, Inputs], tuple[Any, Any]]
  apply: Callable[[Any, Any, Inputs], tuple[jax.Array, Any, Metrics]]
  student_taps: tuple[str, ...] = ()
  teacher_taps: tuple[str, ...] = ()
  couples_batch: bool = False


def stateless(
  loss: Callable[[Inputs], jax.Array],
  *,
  student_taps: tuple[str, ...] = (),
  teacher_taps: tuple[str, ...] = (),
  couples_batch: bool = False,
) -> Method:
  """Makes a method of a loss that learns and remembers nothing.

  Args:
    loss: inputs -> (B,) one value an example, or a scalar for the batch.
    student_taps: the student's features that it reads.
    teacher_taps: the teacher's.
    couples_batch: True for a loss that relates examples.

  Returns:
    The method; per-example values are averaged over the examples that count.

  Example:
    >>> method = stateless(lambda inputs: inputs.student.logits[:, 0])
    >>> view = View(jnp.array([[1.0], [3.0]]), {})
    >>> inputs = Inputs(view, None, jnp.array([0, 0]), jnp.array(0))
    >>> print(method.apply((), (), inputs)[0])
    2.0
  """

  def apply(params, state, inputs):
    del params
    values = jnp.asarray(loss(inputs), jnp.float32)
    if values.ndim:
      mask = (
        jnp.ones(values.shape, bool) if inputs.mask is None else inputs.mask
      )
      values = masked_mean(values, mask)
    return values, state, {}

  return Method(
    lambda rng, inputs: ((), ()),
    apply,
    student_taps,
    teacher_taps,
    couples_batch,
  )


def weighted_sum(
  terms: Mapping[str, tuple[Method, float | jax.Array | Schedule]],
) -> Method:
  """Adds methods up; the sum is a method again.

  Args:
    terms: (method, weight) by name; a weight is a number, traced or not, or an
      optax schedule.

  Returns:
    The method: sum_k weight_k(step) * loss_k. Its metrics hold each term's own
    loss, unweighted, under the term's name.

  Example:
    >>> one = stateless(lambda inputs: jnp.float32(1.0))
    >>> both = weighted_sum({"a": (one, 0.25), "b": (one, lambda step: step)})
    >>> view = View(jnp.zeros((2, 3)), {})
    >>> inputs = Inputs(view, None, jnp.zeros(2, int), jnp.array(2))
    >>> params, state = both.init(jax.random.key(0), inputs)
    >>> print(both.apply(params, state, inputs)[0])
    2.25
  """

  def init(rng, inputs):
    rngs = jax.random.split(rng, len(terms))
    made = {
      name: method.init(key, inputs)
      for key, (name, (method, _)) in zip(rngs, terms.items(), strict=True)
    }
    return (
      {name: params for name, (params, _) in made.items()},
      {name: state for name, (_, state) in made.items()},
    )

  def apply(params, state, inputs):
    total, states, metrics = jnp.float32(0.0), {}, {}
    count = _count(inputs)
    for name, (method, weight) in terms.items():
      loss, states[name], inner = method.apply(
        params[name], state[name], inputs
      )
      total += jnp.asarray(at(weight, inputs.step), jnp.float32) * loss
      metrics[name] = (loss * count, count)
      metrics |= {f"{name}/{key}": value for key, value in inner.items()}
    return total, states, metrics

  methods = [method for method, _ in terms.values()]
  return Method(
    init,
    apply,
    _union(method.student_taps for method in methods),
    _union(method.teacher_taps for method in methods),
    any(method.couples_batch for method in methods),
  )


def _count(inputs: Inputs) -> jax.Array:
  if inputs.mask is None:
    return jnp.float32(inputs.labels.shape[0])
  return jnp.sum(inputs.mask, dtype=jnp.float32)


def _union(taps) -> tuple[str, ...]:
  return tuple(dict.fromkeys(tap for group in taps for tap in group))
