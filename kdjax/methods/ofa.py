"""One-for-all: classifiers on the student's stages learn from the teacher."""

import jax

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods import _features
from kdjax.methods._modules import HEADS
from kdjax.methods.registry import register


@register(
  "ofa", objective="ce:1 + ofa:1", reads=("categories",), of_examples=True
)
def ofa(
  *,
  eps: float | jax.Array | Schedule = 1.0,
  temperature: float | jax.Array | Schedule = 1.0,
  stage_weight: float | jax.Array | Schedule = 1.0,
  width: int | None = None,
  student_tap: str = "stage_*",
) -> Method:
  """One-for-all distillation, between networks of different kinds.

  loss = l(student) + stage_weight * sum_stages l(head_i(stage_i)),
  l(x) = - sum_c ((p_c + [c = y])^eps - [c = y]) log softmax(x / T)_c,
  p = softmax(teacher / T), y the label

  Each stage is brought to logits by a classifier of its own, so the networks'
  features need nothing in common. Where an example has no label, l is the soft
  cross-entropy. All weights and eps 1 are the authors' defaults; for ImageNet
  they take eps up to 1.5. Stage heads follow theirs: for maps two separable
  convolutions for each later stage, for tokens a transformer block for each
  (without biases in query, key and value), then a mean and a linear classifier.
  Ours differ in that their width is the student's last stage's alone (theirs:
  the wider one of the two networks), in that tokens are not merged first where
  there are more than 49, and that they are averaged with the class token, where
  theirs take that token alone; heads for vectors (multi-layer perceptrons) are
  ours.

  Matched: the student's logits, and its stages' learned logits, to the
  teacher's. Learned: one head a stage. Default taps: `stage_*`, none of the
  teacher. Cost: the heads, about as much as a small network.

  Args:
    eps: the modulating exponent, > 0; a number or a schedule.
    temperature: T > 0, no unit; likewise. No T^2.
    stage_weight: weight of the stages' losses, >= 0; likewise.
    width: features that the heads classify; None for the last stage's.
    student_tap: the stages; several in natural order.

  Returns:
    The method; its heads normalise over the batch, so it couples it.

  Raises:
    ValueError: for a value that is not possible.
    UserError: when tracing, for a stage that is neither vector, tokens nor map.

  Example:
    >>> feats = {"stage_0": jnp.ones((2, 3)), "stage_1": jnp.ones((2, 5))}
    >>> student, teacher = Outputs(jnp.eye(2), feats), Outputs(jnp.eye(2), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0, 1]), jnp.array(0))
    >>> params, _ = ofa().init(jax.random.key(0), inputs)
    >>> [params[name]["classify"]["kernel"].shape for name in sorted(params)]
    [(5, 2), (5, 2)]

  Source:
    Hao et al. 2023, arXiv:2310.19444, and its code; `kdjax.losses.ofa`.
  """
  check_value("eps", eps, lambda value: value > 0)
  check_value("temperature", temperature, lambda value: value > 0)
  check_value("stage_weight", stage_weight, lambda value: value >= 0)
  if width is not None and (not isinstance(width, int) or width < 1):
    raise ValueError(f"width must be a whole number >= 1, got {width!r}")

  def modules(inputs):
    stages = _features.stages("ofa", student_tap, inputs.student)
    classes = inputs.student.answers.shape[-1]
    size = width or stages[-1].shape[-1]
    return {
      f"head_{i}": (HEADS[x.ndim](size, len(stages) - 1 - i, classes), x)
      for i, x in enumerate(stages)
    }

  def loss(call, inputs):
    stages = _features.stages("ofa", student_tap, inputs.student)
    stage_logits = [call(f"head_{i}", x)[1] for i, x in enumerate(stages)]

    def match(logits):
      # Without a label there is no class to favour: -1 is no class.
      return losses.ofa(
        logits,
        inputs.teacher.answers,
        inputs.labels,
        eps=at(eps, inputs.step),
        temperature=at(temperature, inputs.step),
      )

    weight = at(stage_weight, inputs.step)
    return match(inputs.student.answers) + weight * sum(
      map(match, stage_logits)
    )

  return learned(modules, loss, student_taps=(student_tap,), couples_batch=True)
