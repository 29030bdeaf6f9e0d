"""Be your own teacher: a network's end teaches classifiers on its stages."""

import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, learned
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods import _features
from kdjax.methods._modules import HEADS
from kdjax.methods.labels import label_loss, read_labels
from kdjax.methods.registry import register


@register(
  "byot", objective="ce:0.9 + byot:1", reads=("categories",), of_examples=True
)
def byot(
  *,
  alpha: float | jax.Array | Schedule = 0.1,
  feature_weight: float | jax.Array | Schedule = 1.28e-4,
  temperature: float | jax.Array | Schedule = 3.0,
  student_tap: str = "stage_*",
  feature_tap: str = "head:in",
) -> Method:
  """Self-distillation of a network's end into classifiers on its stages.

  loss = sum_heads (1 - alpha) CE(head, label)
                   + alpha T^2 KL(softmax(z / T) || softmax(head / T))
                   + feature_weight * sum_d (f_head - f)^2

  with z and f the network's own logits and penultimate features, constants. The
  labels' share of the last classifier is the objective's `ce`, 1 - alpha. The
  weights are the authors' code's; it sums the features' term over a batch of
  128, so that its 1e-6 is 1.28e-4 here. Theirs are bottlenecks of residual
  networks and compare features where one of them is positive; ours are `ofa`'s
  heads and compare all. An example without a label adds no CE. The accuracy of
  every head, on the batches as they are trained on, is among the metrics.

  Matched: what heads on all stages but the last make of them to the end of the
  same network. Learned: the heads, dropped from what is saved. Default taps:
  `stage_*` and `head:in`. Cost: the heads, about as much as a small network; no
  teacher.

  Args:
    alpha: share of the soft targets, in [0, 1]; a number or a schedule. Another
      one goes with `ce` in the objective at 1 - alpha.
    feature_weight: weight of the features, >= 0; likewise.
    temperature: T > 0, no unit; likewise.
    student_tap: the stages, from shallow to deep; the last one has the network's
      own classifier.
    feature_tap: the network's penultimate features, (B, D).

  Returns:
    The method; its heads normalise over the batch, so it couples it.

  Raises:
    ValueError: for a value outside its range.
    UserError: when tracing, if there is but one stage, or a stage is neither
      vector, tokens nor map.

  Example:
    >>> feats = {"stage_0": jnp.ones((2, 3)), "stage_1": jnp.ones((2, 5))}
    >>> student = Outputs(jnp.eye(2), feats | {"head:in": jnp.ones((2, 5))})
    >>> inputs = Inputs(student, None, jnp.array([0, 1]), jnp.array(0))
    >>> params, state = byot().init(jax.random.key(0), inputs)
    >>> sorted(params), sorted(byot().apply(params, state, inputs)[2])
    (['head_0'], ['head_0_accuracy'])

  Source:
    Zhang et al. 2019, arXiv:1905.08094, and its code; `kdjax.losses.kd`.
  """
  check_value("alpha", alpha, lambda value: 0 <= value <= 1)
  check_value("feature_weight", feature_weight, lambda value: value >= 0)
  check_value("temperature", temperature, lambda value: value > 0)

  def modules(inputs):
    stages, last = _stages_and_last(inputs, student_tap, feature_tap)
    classes = inputs.student.answers.shape[-1]
    return {
      f"head_{i}": (HEADS[x.ndim](last.shape[-1], len(stages) - i, classes), x)
      for i, x in enumerate(stages)
    }

  def loss(call, inputs):
    stages, last = _stages_and_last(inputs, student_tap, feature_tap)
    share = at(alpha, inputs.step)
    total, metrics = 0.0, {}
    for i, stage in enumerate(stages):
      feature, logits = call(f"head_{i}", stage)
      soft = losses.kd(
        logits,
        inputs.student.answers,
        temperature=at(temperature, inputs.step),
      )
      distance = jnp.sum(jnp.square(feature - last), axis=-1)
      total += (1 - share) * label_loss(logits, inputs) + share * soft
      total += at(feature_weight, inputs.step) * distance
      metrics[f"head_{i}_accuracy"] = _accuracy(logits, inputs)
    return total, metrics

  return learned(
    modules,
    loss,
    student_taps=(student_tap, feature_tap),
    couples_batch=True,
    needs_teacher=False,
  )


def _stages_and_last(inputs: Inputs, student_tap: str, feature_tap: str):
  """The stages that get heads, and the features they are to have."""
  stages = _features.stages("byot", student_tap, inputs.student)
  if len(stages) < 2:
    raise UserError(
      f"byot puts classifiers on all stages but the last, and {student_tap!r}"
      " names only one: it needs a deeper student"
    )
  last = _features.working(taps.pick(inputs.student.feats, feature_tap))
  if last.ndim != 2:
    raise UserError(
      f"byot needs penultimate features (B, D), but {feature_tap} is"
      f" {last.shape}"
    )
  return stages[:-1], jax.lax.stop_gradient(last)


def _accuracy(logits, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
  labels = read_labels(inputs)
  has_label = labels >= 0
  if inputs.mask is not None:
    has_label &= inputs.mask != 0
  right = has_label & (jnp.argmax(logits, axis=-1) == labels)
  return jnp.sum(right, dtype=jnp.float32), jnp.sum(
    has_label, dtype=jnp.float32
  )
