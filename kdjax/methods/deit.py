"""DeiT: a transformer with a head for the labels and one for the teacher."""

import jax

from kdjax import losses, taps
from kdjax.core.errors import unknown_name
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.labels import label_loss
from kdjax.methods.registry import register

KINDS = ("hard", "soft")


@register("deit", objective="deit:1", reads=("categories",), of_examples=True)
def deit(
  *,
  kind: str = "hard",
  alpha: float | jax.Array | Schedule = 0.5,
  temperature: float | jax.Array | Schedule = 3.0,
  student_tap: str = "head:out",
  distilled_tap: str = "head_dist:out",
) -> Method:
  """Distillation through a token: both halves of DeiT's objective.

  loss = (1 - alpha) CE(head, label) + alpha D(head_dist, teacher),
  D = CE(head_dist, argmax teacher) "hard",
  D = T^2 KL(softmax(teacher / T) || softmax(head_dist / T)) "soft"

  The network's own logits, the mean of both heads, are not matched; do not add
  `ce`, whose half is in here. An example without a label adds only its second
  half. The paper's soft form has alpha 0.1 and T 3; its code divides the KL by
  the number of classes besides, which is not done here, nor in the paper.

  Matched: two heads of the student to the labels and to the teacher's logits.
  Learned: nothing but the student. Default taps: `head:out` and
  `head_dist:out`. Cost: two softmaxes over the classes.

  Args:
    kind: "hard" or "soft".
    alpha: the teacher's share, in [0, 1]; a number or a schedule.
    temperature: T > 0 of the soft kind; likewise.
    student_tap: where the student's logits for the labels are.
    distilled_tap: where its logits for the teacher are.

  Returns:
    The method.

  Raises:
    UserError: for an unknown kind; when tracing, for a student without such
      heads.
    ValueError: for a share outside [0, 1] or a temperature that is not > 0.

  Example:
    >>> heads = {"head": jnp.zeros((1, 2)), "head_dist": jnp.zeros((1, 2))}
    >>> student = Outputs(jnp.zeros((1, 2)), heads)
    >>> teacher = Outputs(jnp.array([[1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([1]), jnp.array(0))
    >>> print(f"{deit().apply((), (), inputs)[0]:.4f}")
    0.6931

  Source:
    Touvron et al. 2021, arXiv:2012.12877; `kdjax.losses.hard_distillation`,
    `kdjax.losses.kd`.
  """
  if kind not in KINDS:
    raise unknown_name("kind of DeiT's distillation", kind, KINDS)
  check_value("alpha", alpha, lambda value: 0 <= value <= 1)
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    class_logits = taps.pick(inputs.student.feats, student_tap).astype(
      "float32"
    )
    token_logits = taps.pick(inputs.student.feats, distilled_tap)
    hard = label_loss(class_logits, inputs)
    if kind == "hard":
      soft = losses.hard_distillation(token_logits, inputs.teacher.answers)
    else:
      soft = losses.kd(
        token_logits,
        inputs.teacher.answers,
        temperature=at(temperature, inputs.step),
      )
    share = at(alpha, inputs.step)
    return (1 - share) * hard + share * soft

  return stateless(loss, student_taps=(student_tap, distilled_tap))
