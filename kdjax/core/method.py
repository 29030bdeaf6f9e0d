"""What a distillation method is: a value made of pure functions.

A method says *what* of the student is matched to *what* of the teacher. Who
learns from whom is the step's business, and in which order the stage list's.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.one_pass import count_rows, in_one_pass, with_logits
from kdjax.core.schedule import Schedule, at
from kdjax.losses import masked_mean

# A metric is summed over batches and devices and divided once, at the end, so
# that ragged batches and any number of devices give the same mean.
Metrics = dict[str, tuple[jax.Array, jax.Array]]

# Which parameters stay as they are: of all that are below it, a truth value,
# traced or not, or by key the same of what is below; keys left out are trained.
Frozen = Mapping[str, Any] | bool | jax.Array


class Outputs(NamedTuple):
  """What one network shows for one batch.

  Attributes:
    answers: (B, C) float.
    feats: tapped features by tap.
    members: of an ensemble, what each of its networks shows.
  """

  answers: jax.Array
  feats: Mapping[str, jax.Array]
  members: tuple["Outputs", ...] = ()


class Inputs(NamedTuple):
  """What a method sees of one step.

  Attributes:
    student: the student's outputs; the gradient flows into it.
    teacher: the teacher's outputs, a constant; None where nobody teaches.
    labels: (B,) int32; -1, or whatever is no class, where an example has none.
    step: () int32, the training step from 0.
    mask: (B,) bool, or weights; 0 for a ragged batch's padding; None = all count.
    index: (B,) int32, which example of the training set this is; or None.
    head: the teacher's linear classifier, {"kernel": (D, C), "bias": (C,)}, a
      constant; None where the teacher has none or only its answers are there.
      Of an ensemble, a tuple of one for each of its networks.
    student_head: the student's, likewise, but alive: the gradient flows into
      it; None where the student has none.
    share: (B,) float32, of each mixed image that is its own; the label counts as
      much. None where images are not mixed with partners.
    partner_labels: (B,) int32, the partners' labels, which count the rest.
    examples: (B,) bool, `mask` of the examples, where the rows of the answers
      are something else; None where a row is an example.
    tokens: (B, T) bool, False for the padding of texts; None = all count.
    drawn: (R,) int32, what the student drew at each row; -1, or None, for nothing.
    teacher_share: (B,) float32, the teacher's share of what that was drawn from.
  """

  student: Outputs
  teacher: Outputs | None
  labels: jax.Array
  step: jax.Array
  mask: jax.Array | None = None
  index: jax.Array | None = None
  head: Mapping[str, jax.Array] | None = None
  student_head: Mapping[str, jax.Array] | None = None
  share: jax.Array | None = None
  partner_labels: jax.Array | None = None
  examples: jax.Array | None = None
  tokens: jax.Array | None = None
  drawn: jax.Array | None = None
  teacher_share: jax.Array | None = None


class Method(NamedTuple):
  """A distillation method.

  Attributes:
    init: (rng, inputs) -> (params, state); params are trained with the student
      (regressors, projectors), state is not (memories, running averages).
    apply: (params, state, inputs) -> (loss, state, metrics); loss is a float32
      scalar, the mean over the examples that count; metrics are (sum, count).
    student_taps: the student's features that it wants to see.
    teacher_taps: the teacher's.
    couples_batch: whether the loss relates examples to each other, normalises
      over them or remembers them, so that it must see the global batch.
    adopt: (network's params, inputs) -> params: what the student takes over
      from the teacher before the first step; None for nothing.
    needs_teacher: False for a method that reads nothing of a teacher.
    parts: as `apply`, but the weighted loss of each term by name instead of
      their sum; None for a method that is no sum.
    frozen: step -> Frozen of {"network": the student's parameters, "method":
      the method's, "classifier": the layer that ends the student, wherever it
      lies}: what is a constant at this step. No optimiser sees it, so that
      neither momentum nor decay moves it; None where all is trained.
    over_examples: whether the loss is a mean over examples, and not over the rows
      of the answers; of a sum, the names of such terms. By default a method that
      reads features is one.
    chunked: inputs -> the function of `kdjax.losses.chunked` that computes the
      loss from hidden states and classifiers, with its own settings; LABELS of
      `kdjax.core.one_pass` for the labels alone, None where these inputs want
      logits. None for a method without such a function.
    reads_products: whether `apply` reads answers that are Factored as they are.
  """

  init: Callable[[jax.Array, Inputs], tuple[Any, Any]]
  apply: Callable[[Any, Any, Inputs], tuple[jax.Array, Any, Metrics]]
  student_taps: tuple[str, ...] = ()
  teacher_taps: tuple[str, ...] = ()
  couples_batch: bool = False
  adopt: Callable[[Any, Inputs], Any] | None = None
  needs_teacher: bool = True
  parts: Callable[[Any, Any, Inputs], tuple[dict, Any, Metrics]] | None = None
  frozen: Callable[[jax.Array], Frozen] | None = None
  over_examples: bool | tuple[str, ...] | None = None
  chunked: Callable[[Inputs], Any] | None = None
  reads_products: bool = False


def stateless(
  loss: Callable[[Inputs], jax.Array],
  *,
  student_taps: tuple[str, ...] = (),
  teacher_taps: tuple[str, ...] = (),
  couples_batch: bool = False,
  needs_teacher: bool = True,
  chunked: Callable[[Inputs], Any] | None = None,
) -> Method:
  """Makes a method of a loss that learns and remembers nothing.

  Args:
    loss: inputs -> (B,) one value an example, or a scalar for the batch.
    student_taps: the student's features that it reads.
    teacher_taps: the teacher's.
    couples_batch: True for a loss that relates examples.
    needs_teacher: False for one that reads nothing of a teacher.
    chunked: see `Method`.

  Returns:
    The method; per-example values are averaged over the examples that count.

  Example:
    >>> method = stateless(lambda inputs: inputs.student.answers[:, 0])
    >>> outputs = Outputs(jnp.array([[1.0], [3.0]]), {})
    >>> inputs = Inputs(outputs, None, jnp.array([0, 0]), jnp.array(0))
    >>> print(method.apply((), (), inputs)[0])
    2.0
  """

  def apply(params, state, inputs):
    del params
    return batch_mean(loss(inputs), inputs), state, {}

  return Method(
    lambda rng, inputs: ((), ()),
    apply,
    student_taps,
    teacher_taps,
    couples_batch,
    needs_teacher=needs_teacher,
    chunked=chunked,
  )


def learned(
  modules: Callable[[Inputs], Mapping[str, tuple]],
  loss: Callable[[Callable, Inputs], jax.Array | tuple[jax.Array, Metrics]],
  *,
  student_taps: tuple[str, ...] = (),
  teacher_taps: tuple[str, ...] = (),
  couples_batch: bool = False,
  needs_teacher: bool = True,
) -> Method:
  """Makes a method that trains modules of its own beside the student.

  The modules are regressors, projectors, embeddings: made to fit whatever the
  two networks show, trained with the student, and dropped from what is saved.

  Args:
    modules: inputs -> by name, a linen module and the arguments that it is
      initialised on. Only shapes of the inputs may decide which modules.
    loss: (call, inputs) -> (B,) one value an example, or a scalar for the
      batch, and metrics beside it if there are any; `call(name, *arguments)`
      applies a module.
    student_taps: the student's features that it reads.
    teacher_taps: the teacher's.
    couples_batch: True for a loss that relates examples, and for modules that
      normalise over the batch.
    needs_teacher: False for a loss that reads nothing of a teacher.

  Returns:
    The method. Batch normalisation in the modules uses the batch's own
    statistics, always.

  Example:
    >>> import flax.linen as nn
    >>> method = learned(
    ...   lambda inputs: {"to_one": (nn.Dense(1), inputs.student.answers)},
    ...   lambda call, inputs: call("to_one", inputs.student.answers)[:, 0] ** 2,
    ... )
    >>> inputs = Inputs(Outputs(jnp.zeros((2, 3)), {}), None, jnp.zeros(2, int), 0)
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> params["to_one"]["kernel"].shape
    (3, 1)
    >>> print(method.apply(params, state, inputs)[0])
    0.0
  """

  def init(rng, inputs):
    by_name = modules(inputs)
    keys = jax.random.split(rng, len(by_name))
    return {
      name: module.init(key, *arguments).get("params", {})
      for key, (name, (module, *arguments)) in zip(
        keys, by_name.items(), strict=True
      )
    }, ()

  def apply(params, state, inputs):
    by_name = modules(inputs)

    def call(name, *arguments):
      # What normalisation would remember is for networks that are used later.
      answer, _ = by_name[name][0].apply(
        {"params": params[name]}, *arguments, mutable=["batch_stats"]
      )
      return answer

    result = loss(call, inputs)
    values, metrics = result if isinstance(result, tuple) else (result, {})
    return batch_mean(values, inputs), state, metrics

  return Method(
    init,
    apply,
    student_taps,
    teacher_taps,
    couples_batch,
    needs_teacher=needs_teacher,
  )


def batch_mean(values: jax.Array, inputs: Inputs) -> jax.Array:
  """Averages over the examples that count, in float32.

  Args:
    values: (B,) one value an example, or a scalar that is a mean already.
    inputs: whose mask says which examples count.

  Example:
    >>> mask = jnp.array([True, False])
    >>> inputs = Inputs(None, None, jnp.zeros(2, int), 0, mask)
    >>> print(batch_mean(jnp.array([1.0, 5.0]), inputs))
    1.0
  """
  values = jnp.asarray(values, jnp.float32)
  if not values.ndim:
    return values
  mask = jnp.ones(values.shape, bool) if inputs.mask is None else inputs.mask
  return masked_mean(values, mask)


def is_over_examples(method: Method) -> bool:
  """Says whether a single loss is a mean over examples, and not over rows.

  Args:
    method: no sum.
  """
  if method.over_examples is None:
    return bool(method.student_taps or method.teacher_taps)
  return method.over_examples is True


def _counted(method: Method, inputs: Inputs) -> Inputs:
  """The inputs of a term, with the mask of what it is a mean over."""
  if inputs.examples is None or not is_over_examples(method):
    return inputs
  return inputs._replace(mask=inputs.examples)


def example_keys(key: jax.Array, inputs: Inputs) -> jax.Array:
  """Makes a PRNG key for every example of a step.

  Keys belong to examples, so that one device and eight draw the same.

  Args:
    key: PRNG key of the method, kept in its state.
    inputs: with the step and the examples' index.

  Returns:
    (B,) keys.

  Example:
    >>> inputs = Inputs(None, None, jnp.zeros(2, int), 7, index=jnp.array([3, 1]))
    >>> example_keys(jax.random.key(0), inputs).shape
    (2,)
  """
  index = inputs.index
  if index is None:
    index = jnp.arange(inputs.labels.shape[0])
  key = jax.random.fold_in(key, inputs.step)
  return jax.vmap(lambda place: jax.random.fold_in(key, place))(index)


def weighted_sum(
  terms: Mapping[str, tuple[Method, float | jax.Array | Schedule]],
) -> Method:
  """Adds methods up; the sum is a method again.

  Args:
    terms: (method, weight) by name; a weight is a number, traced or not, or an
      optax schedule.

  Returns:
    The method: sum_k weight_k(step) * loss_k. Its metrics hold each term's own loss,
    unweighted, under its name.

  Example:
    >>> one = stateless(lambda inputs: jnp.float32(1.0))
    >>> both = weighted_sum({"a": (one, 0.25), "b": (one, lambda step: step)})
    >>> outputs = Outputs(jnp.zeros((2, 3)), {})
    >>> inputs = Inputs(outputs, None, jnp.zeros(2, int), jnp.array(2))
    >>> params, state = both.init(jax.random.key(0), inputs)
    >>> print(both.apply(params, state, inputs)[0])
    2.25
  """

  def init(rng, inputs):
    rngs = jax.random.split(rng, len(terms))
    inputs = with_logits(inputs)
    initial = {
      name: method.init(key, inputs)
      for key, (name, (method, _)) in zip(rngs, terms.items(), strict=True)
    }
    return (
      {name: params for name, (params, _) in initial.items()},
      {name: state for name, (_, state) in initial.items()},
    )

  def parts(params, state, inputs):
    losses, states, metrics = {}, {}, {}
    passes = in_one_pass(terms, inputs)
    whole = count_rows(inputs)
    for name, (method, weight) in terms.items():
      if name in passes.losses:
        losses[name], states[name] = passes.losses[name], state[name]
        metrics[name] = (passes.means[name] * whole, whole)
        continue
      part = _counted(method, inputs)
      count = whole if part is inputs else count_rows(part)
      part = part if method.reads_products else with_logits(part)
      loss, states[name], inner = method.apply(params[name], state[name], part)
      losses[name] = jnp.asarray(at(weight, inputs.step), jnp.float32) * loss
      metrics[name] = (loss * count, count)
      metrics |= {f"{name}/{key}": value for key, value in inner.items()}
    return losses, states, metrics | passes.metrics

  def apply(params, state, inputs):
    losses, states, metrics = parts(params, state, inputs)
    return sum(losses.values(), jnp.float32(0.0)), states, metrics

  def adopt(params, inputs):
    for method in methods:
      params = method.adopt(params, inputs) if method.adopt else params
    return params

  def frozen(step):
    network, by_method, classifier = {}, {}, False
    for name, (method, _) in terms.items():
      still = method.frozen(step) if method.frozen else {}
      network |= still.get("network", {})
      by_method[name] = still.get("method", False)
      classifier = classifier or still.get("classifier", False)
    return {"network": network, "method": by_method, "classifier": classifier}

  methods = [method for method, _ in terms.values()]
  return Method(
    init,
    apply,
    _union(method.student_taps for method in methods),
    _union(method.teacher_taps for method in methods),
    any(method.couples_batch for method in methods),
    adopt if any(method.adopt for method in methods) else None,
    any(method.needs_teacher for method in methods),
    parts,
    frozen if any(method.frozen for method in methods) else None,
    tuple(
      name for name, (method, _) in terms.items() if is_over_examples(method)
    ),
  )


def _union(taps) -> tuple[str, ...]:
  return tuple(dict.fromkeys(tap for group in taps for tap in group))
