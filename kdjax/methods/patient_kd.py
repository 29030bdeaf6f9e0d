"""Patient knowledge distillation: the states that the classifier grows from."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, learned
from kdjax.core.schedule import check_choice
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods._layer_matching import pair_layers
from kdjax.methods.registry import register

STRATEGIES = ("skip", "last")


@register(
  "patient_kd",
  objective="ce:0.3 + kd(temperature=10):0.7 + patient_kd:0.65",
  reads=KINDS,
)
def patient_kd(
  *,
  strategy: str = "skip",
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Patient distillation of the class token's states.

  loss = mean over layers of || u(student) - u(teacher) ||^2,  u(x) = x / ||x||

  Matched: the states of the class token, the first one, after every layer of
  the student but the last, whose work the softened classes teach; of a language
  model, which answers at every token, those of all tokens but padding. "skip" takes
  evenly spread layers of the teacher (2, 4, 6, 8, 10 of 12 for a student of 6),
  "last" those right before its last one (7 to 11). Learned: nothing but the
  student, or one linear regressor a layer where widths differ (the paper has
  only equal ones). Default taps: `stage_*`. Cost: B * D a layer.

  The objective is that of the authors' example: alpha 0.7, temperature 10, beta
  500. Their code averages over the 768 features where the paper, and this loss,
  sums: 500 / 768 = 0.65. Its soft part is the paper's, summed over classes.

  Args:
    strategy: "skip" or "last".
    student_tap: names the student's layers, each (B, T, D).
    teacher_tap: names the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for an unknown strategy.
    UserError: where the method is applied, if features are no tokens or a
      network has fewer than two layers.

  Example:
    >>> student = {f"stage_{i}": jnp.eye(2)[:1][None] for i in range(2)}
    >>> teacher = {f"stage_{i}": jnp.eye(2)[1:][None] for i in range(4)}
    >>> inputs = Inputs(
    ...   Outputs(None, student), Outputs(None, teacher), jnp.array([0]), jnp.array(0)
    ... )
    >>> print(patient_kd().apply({}, (), inputs)[0])
    2.0

  Source:
    Sun et al. 2019, arXiv:1908.09355; `kdjax.losses.patient_kd`.
  """
  check_choice("strategy", strategy, STRATEGIES)

  def matched(inputs):
    students = _tokens.states("patient_kd", student_tap, inputs.student)
    teachers = _tokens.states("patient_kd", teacher_tap, inputs.teacher)
    return {
      f"layer_{s}": (
        _classified(students[s], inputs),
        _classified(teachers[t], inputs),
      )
      for s, t in _pairs(strategy, len(students), len(teachers))
    }

  def modules(inputs):
    return {
      name: (nn.Dense(t.shape[-1]), s)
      for name, (s, t) in matched(inputs).items()
      if s.shape != t.shape
    }

  def loss(call, inputs):
    values = [
      _tokens.over_tokens(
        losses.patient_kd,
        s if s.shape == t.shape else call(name, s),
        t,
        inputs.tokens,
      )
      for name, (s, t) in matched(inputs).items()
    ]
    return jnp.mean(jnp.stack(values), axis=0)

  return learned(
    modules, loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )


def _classified(states: jax.Array, inputs: Inputs) -> jax.Array:
  """The states that answers are made of: of the first token, or of every one."""
  tokens = inputs.tokens
  every = tokens is not None and tokens.shape == states.shape[:2]
  return states if every else states[:, 0]


def _pairs(strategy: str, students: int, teachers: int):
  if min(students, teachers) < 2:
    raise UserError(
      "patient_kd matches all layers but the last, so that both networks need"
      f" two; the student has {students} and the teacher {teachers}"
    )
  if strategy == "skip":
    return pair_layers(students, teachers)[:-1]
  depth = min(students, teachers)
  return [
    (students - depth + i, teachers - depth + i) for i in range(depth - 1)
  ]
