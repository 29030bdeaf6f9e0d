"""Adaptive feature transfer: every channel and layer has a weight of its own."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from kdjax.core.method import Method
from kdjax.core.schedule import Schedule, at, check_static, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register(
  "adaptive_features", objective="ce:1 + adaptive_features:100", reads=KINDS
)
def adaptive_features(
  *,
  tau: float | jax.Array | Schedule = 1.0,
  memory: float = 0.99,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Squared differences of features under adaptive weights on the simplex.

  loss = sum_l a_l sum_c w_lc e_lc,
  e_lc = mean over positions of (r(student) - teacher)^2_lc / scale_lc,
  a >= 0, sum_l a_l = 1, and the same for each w_l

  Weights that simply minimised the loss would all go to the smallest error.
  They minimise it with a price on leaving the uniform weights instead,

  sum_l a_l (sum_c w_lc e_lc + tau KL(w_l || uniform)) + tau KL(a || uniform),

  whose only minimum is `simplex_weights`: w_l = softmax(-e_l / tau), a the
  same of the layers' least values. Here errors above 1, worse than predicting
  0, count as 1: otherwise a channel that is left out gets worse and is left
  out for good. So no weight is ever more than exp(1 / tau) times another of its
  kind, and none collapses. A large tau gives the plain mean, a small one
  favours what the student can follow already.

  A channel's scale is the mean of teacher_lc^2, or a tenth of its layer's mean
  scale if that is more. Errors and scales are running averages, and the weights
  of a step come from the steps before it: they start uniform, do not follow
  single batches, and are constants to the gradient.

  Matched: every pair of stages: vectors, tokens or maps; the larger map is
  average-pooled. Learned: r, a linear layer over the student's channels.
  Remembered: the errors and scales, from which the weights follow.
  Default taps: `stage_*` of both networks. Cost: one matrix product a pair.

  Args:
    tau: > 0, the price of leaving uniform weights, in the unit of e (none); a
      number or a schedule.
    memory: in [0, 1), share of the running averages that a step keeps.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a tau or a memory that is not possible.
    UserError: when traced, for features that do not match in kind.

  Example:
    >>> outputs = Outputs(jnp.zeros((1, 2)), {"stage_0": jnp.array([[1.0, 2.0]])})
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), 0)
    >>> params, state = adaptive_features().init(jax.random.key(0), inputs)
    >>> dense = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    >>> params = {"regressor_0": {"dense": dense}}
    >>> print(adaptive_features().apply(params, state, inputs)[0])
    1.0

  Source:
    Weights a channel and a layer as in Jang et al. 2019, arXiv:1905.05901, who
    learn them as functions of the teacher's features by meta-gradients, in an
    inner and an outer loop. The regularised minimiser, which needs one step
    and no loop, is ours, and so are the defaults and the weight, that of
    `fitnets`.
  """
  check_value("tau", tau, lambda value: value > 0)
  check_static("memory", memory, lambda value: 0 <= value < 1)

  def pairs(inputs):
    feats = _features.pair_features(
      "adaptive_features", inputs, student_tap, teacher_tap
    )
    return tuple(
      _features.same_size("adaptive_features", *pair) for pair in feats
    )

  def start(rng, inputs):
    del rng
    zeros = tuple(jnp.zeros(teacher.shape[-1]) for _, teacher in pairs(inputs))
    return {"share": jnp.float32(0.0), "errors": zeros, "scales": zeros}

  def loss(call, inputs, state):
    matches = pairs(inputs)
    squares = [
      _over_positions(jnp.square(call(f"regressor_{i}", student) - teacher))
      for i, (student, teacher) in enumerate(matches)
    ]
    means = {
      "share": jnp.float32(1.0),
      "errors": tuple(jnp.mean(square, axis=0) for square in squares),
      "scales": tuple(
        jnp.mean(_over_positions(jnp.square(teacher)), axis=0)
        for _, teacher in matches
      ),
    }
    state_now = jax.tree.map(
      lambda old, new: memory * old + (1 - memory) * new, state, means
    )
    layers, channels = simplex_weights(
      _relative(state["errors"], state["scales"]), at(tau, inputs.step)
    )
    value = sum(
      layer * jnp.sum((weights / scale)[None] * square, axis=-1)
      for layer, weights, scale, square in zip(
        layers,
        channels,
        [_floored(scale / state_now["share"]) for scale in state_now["scales"]],
        squares,
        strict=True,
      )
    )
    return value, state_now

  return _modules.remembering(
    lambda inputs: _modules.regressors(pairs(inputs)),
    start,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def simplex_weights(
  errors: Sequence[jax.Array], tau: float | jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Weights of layers and channels that minimise errors, kept near uniform.

  w_l = softmax(-e_l / tau),  a = softmax(-m / tau),
  m_l = -tau log mean_c exp(-e_lc / tau)

  They are the only minimum on the simplex of
  sum_l a_l (sum_c w_lc e_lc + tau KL(w_l || uniform)) + tau KL(a || uniform);
  m_l is the inner bracket's least value.

  Args:
    errors: (C_l,) float for each layer, no unit.
    tau: > 0, in the errors' unit.

  Returns:
    (L,) float, the layers' weights, and (C_l,) float for each layer, the
    channels'; each of them sums to 1.

  Example:
    >>> layers, (first, _) = simplex_weights([jnp.zeros(2), jnp.ones(4)], 1.0)
    >>> print(np.asarray(layers).round(4), first)
    [0.7311 0.2689] [0.5 0.5]
  """
  least = [
    -tau * (jax.nn.logsumexp(-error / tau) - math.log(error.shape[0]))
    for error in errors
  ]
  return (
    jax.nn.softmax(-jnp.stack(least) / tau),
    tuple(jax.nn.softmax(-error / tau) for error in errors),
  )


def _over_positions(x):
  """Returns (B, C): the mean over tokens or positions."""
  return jnp.mean(x.reshape(x.shape[0], -1, x.shape[-1]), axis=1)


def _relative(errors, scales):
  return [
    jnp.minimum(error / _floored(scale), 1.0)
    for error, scale in zip(errors, scales, strict=True)
  ]


def _floored(scale):
  """A channel that is all but dead must not be blown up by its own scale."""
  return jnp.maximum(scale, jnp.maximum(0.1 * jnp.mean(scale), 1e-12))
