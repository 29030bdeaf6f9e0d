"""SimKD: the student ends in its teacher's classifier."""

from typing import Any

import jax

from kdjax import losses, taps
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods._features import classifier, last
from kdjax.methods.registry import register


@register("simkd", objective="simkd:1", reads=KINDS)
def simkd(
  *, student_tap: str = "projector:out", teacher_tap: str = "stage_*/activation"
) -> Method:
  """Distillation with the reused teacher classifier.

  loss = mean over positions and features of (projector(student) - teacher)^2

  Before training the student's classifier becomes the teacher's, and stays it:
  no optimiser touches it, whatever else the objective has. No labels are used.
  The student is a network that has the projector in it, the model
  `projected(backbone, width=D)`, or one of your own, whose classifier
  `from_linen(module, classifier=...)` names. Maps of different sizes are averaged to the
  smaller one; the published code does so before its projector.

  Matched: the projector's output to the last feature that the teacher's tap
  names, which is what its classifier takes, or what it takes the mean of.
  Learned: nothing but the student, projector included. Default taps:
  `projector:out`; `stage_*/activation` of the teacher, of which the last. Cost:
  one pass over the features.

  Args:
    student_tap: where the projected features are, (B, D) or (B, H, W, D).
    teacher_tap: where the teacher's are; `head:in` for a teacher that does more
      than average between its last stage and its classifier.

  Returns:
    The method; it adopts the teacher's classifier.

  Raises:
    UserError: when tracing, for a student without projector or classifier, a
      teacher without a linear classifier, or widths that do not fit.

  Example:
    >>> student = Outputs(None, {"projector": jnp.zeros((1, 3))})
    >>> teacher = Outputs(None, {"stage_0/activation": jnp.ones((1, 3))})
    >>> head = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0, head=head)
    >>> print(simkd().apply((), (), inputs)[0])
    1.0

  Source:
    Chen et al. 2022, arXiv:2203.14001, and its code; `kdjax.losses.simkd`.
  """

  def features(inputs):
    width = inputs.head["kernel"].shape[0] if inputs.head else "D"
    return _features(inputs, student_tap, teacher_tap, width)

  def loss(inputs):
    return losses.simkd(*map(_as_map, features(inputs)))

  def adopt(params, inputs):
    features(inputs)
    return _with_head(params, inputs)

  plain = stateless(
    loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
  return plain._replace(adopt=adopt, frozen=lambda step: {"classifier": True})


def _features(inputs: Inputs, student_tap, teacher_tap, width) -> tuple:
  """Both networks' features, checked to fit the teacher's classifier."""
  teacher = last(inputs.teacher, teacher_tap)
  classifier("simkd", "teacher", inputs.head, teacher.shape[-1])
  try:
    student = taps.pick(inputs.student.feats, student_tap)
  except UserError:
    raise UserError(_no_projector(width)) from None
  if student.shape[-1] != width:
    raise UserError(
      f"simkd: the projector has {student.shape[-1]} features and the teacher's"
      f" classifier takes {width}: --student='projected(..., width={width})'"
    )
  for whose, features in (("student", student), ("teacher", teacher)):
    if features.ndim not in (2, 4):
      raise UserError(
        "simkd needs maps (B, H, W, D) or vectors (B, D), but the"
        f" {whose}'s features are {features.shape}; tap 'head:in'"
      )
  return student, teacher


def _with_head(params: Any, inputs: Inputs) -> Any:
  """The network's parameters with the teacher's classifier in them."""
  width, student_head = (
    inputs.head["kernel"].shape[0],
    inputs.student_head or {},
  )
  # Which of the parameters they are, wherever they lie.
  names = {id(x): name for name, x in student_head.items()}
  its_own = {id(x) for x in jax.tree.leaves(params)}
  if not student_head or not names.keys() <= its_own:
    raise UserError(
      "simkd: the student has no linear classifier with a kernel and a bias of"
      " its own, which the teacher's could replace; " + _no_projector(width)
    )
  for name in ("kernel", "bias"):
    if student_head[name].shape != inputs.head[name].shape:
      raise UserError(
        f"simkd: the teacher's classifier has a {name} of"
        f" {inputs.head[name].shape} and the student's {student_head[name].shape};"
        f" --student='projected(..., width={width})' with the teacher's classes"
      )
  return jax.tree.map(
    lambda x: (
      inputs.head[names[id(x)]].astype(x.dtype) if id(x) in names else x
    ),
    params,
  )


def _no_projector(width) -> str:
  return (
    "simkd trains a student that ends in the teacher's classifier:"
    f" --student='projected(lenet(...), width={width})'"
  )


def _as_map(features):
  return features[:, None, None] if features.ndim == 2 else features
