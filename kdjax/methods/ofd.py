"""Overhaul of feature distillation: pre-activations behind a margin ReLU."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register("ofd", objective="ce:1 + ofd:0.001", reads=KINDS)
def ofd(
  *,
  student_tap: str = "stage_*/activation:in",
  teacher_tap: str = "stage_*/activation:in",
) -> Method:
  """Partial distance of pre-activations, with a margin a channel.

  loss = sum over pairs l of 2^-(L - 1 - l) * sum over elements of
         (r(s) - t')^2 where r(s) > t' or t' > 0,
  t' = max(t, m_c),  m_c = E[t_c | t_c < 0]

  Matched: every pair of stages' pre-activations, but not where both stay below
  the margin: vectors, tokens or maps; the larger map is average-pooled.
  Learned: r, a linear layer over the student's channels with batch
  normalisation. Remembered: the mean of each teacher channel's negative
  responses over all batches so far. Default taps: `stage_*/activation:in` of
  both networks. Cost: one matrix product a pair.

  Args:
    student_tap: the student's stages before their last ReLU.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    UserError: when traced, for features that do not match in kind.

  Example:
    >>> method = ofd(student_tap="a", teacher_tap="a")
    >>> outputs = Outputs(jnp.zeros((2, 3)), {"a": jnp.array([[-1.0], [-3.0]])})
    >>> inputs = Inputs(outputs, outputs, jnp.zeros(2, int), 0)
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> _, state, _ = method.apply(params, state, inputs)
    >>> print(margin(state["responses"][0]))
    [-2.]

  Source:
    Heo et al. 2019, arXiv:1904.01866; `kdjax.losses.ofd`. The weight 1e-3 and
    the halving are the authors' code's. It computes the margins from the
    teacher's last batch normalisation, as if responses were Gaussian
    (`kdjax.losses.ofd_margin`), and skips what a residual shortcut adds; we
    average the responses themselves, whatever the teacher is made of.
  """

  def pairs(inputs):
    feats = _features.pair_features("ofd", inputs, student_tap, teacher_tap)
    return tuple(_features.same_size("ofd", *pair) for pair in feats)

  def start(rng, inputs):
    del rng
    shapes = [(2, teacher.shape[-1]) for _, teacher in pairs(inputs)]
    return {
      "batches": jnp.float32(0.0),
      "responses": tuple(jnp.zeros(shape) for shape in shapes),
    }

  def loss(call, inputs, state):
    matches = pairs(inputs)
    batches = state["batches"] + 1.0
    # The teacher does not change, so that all batches weigh the same.
    responses = tuple(
      before + (_negative(teacher) - before) / batches
      for before, (_, teacher) in zip(state["responses"], matches, strict=True)
    )
    total = sum(
      2.0 ** (i + 1 - len(matches))
      * losses.ofd(call(f"regressor_{i}", student), teacher, margin(response))
      for i, (response, (student, teacher)) in enumerate(
        zip(responses, matches, strict=True)
      )
    )
    return total, {"batches": batches, "responses": responses}

  return _modules.remembering(
    lambda inputs: _modules.regressors(pairs(inputs), norm=True),
    start,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def margin(responses: jax.Array) -> jax.Array:
  """Mean response of a channel where it is negative.

  Args:
    responses: (2, C) float, the means over everything seen of min(t, 0), in the
      pre-activations' unit, and of whether t < 0.

  Returns:
    (C,) float, <= 0; 0 for a channel that never was negative.

  Example:
    >>> print(margin(jnp.array([[-1.0, 0.0], [0.5, 0.0]])))
    [-2.  0.]
  """
  mean, share = responses
  return mean / jnp.where(share > 0, share, 1.0)


def _negative(teacher):
  rows = teacher.reshape(-1, teacher.shape[-1])
  return jnp.stack(
    [
      jnp.mean(jnp.minimum(rows, 0.0), axis=0),
      jnp.mean((rows < 0).astype(rows.dtype), axis=0),
    ]
  ).astype(jnp.float32)
