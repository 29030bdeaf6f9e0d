"""Variational information distillation: the teacher's layers, predicted."""

import math

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import check_static
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register("vid", objective="ce:1 + vid:1", reads=KINDS)
def vid(
  *,
  variance: float = 5.0,
  eps: float = 1e-5,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Likelihood of the teacher's stages given the student's.

  loss = sum over pairs of mean over elements of
         ((r(student) - teacher)^2 / v_c + log v_c) / 2,
  v = softplus(log_scale) + eps

  A lower bound of the mutual information of both networks' stages is raised:
  channels that the student cannot predict get a large variance and are left.

  Matched: every pair of stages: vectors, tokens or maps; the larger map is
  average-pooled. Learned: r, three linear layers over the channels with ReLU
  between and no biases, and one variance a channel. Default taps: `stage_*` of
  both networks. Cost: three matrix products a pair.

  Args:
    variance: > eps, every channel's variance at first, in squared units of the
      teacher's features.
    eps: > 0, the least variance, likewise.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a variance or an eps that is not possible.
    UserError: when traced, for features that do not match in kind.

  Example:
    >>> student = Outputs(jnp.zeros((2, 3)), {"stage_0": jnp.ones((2, 4))})
    >>> teacher = Outputs(jnp.zeros((2, 3)), {"stage_0": jnp.ones((2, 6))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> params, _ = vid().init(jax.random.key(0), inputs)
    >>> print(jax.nn.softplus(params["log_scale_0"]["scale"][0]))
    4.99999

  Source:
    Ahn et al. 2019, arXiv:1904.05835; `kdjax.losses.vid`. Regressors, the first
    variance and the weight 1 are RepDistiller's.
  """
  check_static("eps", eps, lambda value: value > 0)
  check_static("variance", variance, lambda value: value > eps)
  start = math.log(math.expm1(variance - eps))

  def pairs(inputs):
    feats = _features.pair_features("vid", inputs, student_tap, teacher_tap)
    return tuple(_features.same_size("vid", *pair) for pair in feats)

  def modules(inputs):
    learns = {}
    for i, (student, teacher) in enumerate(pairs(inputs)):
      width = teacher.shape[-1]
      regressor = _modules.Regressor(width, hidden=(width, width), bias=False)
      learns[f"regressor_{i}"] = (regressor, student)
      learns[f"log_scale_{i}"] = (_modules.Scale(width, start=start),)
    return learns

  def loss(call, inputs):
    return sum(
      losses.vid(
        _features.as_maps(call(f"regressor_{i}", student)),
        _features.as_maps(teacher),
        call(f"log_scale_{i}"),
        eps=eps,
      )
      for i, (student, teacher) in enumerate(pairs(inputs))
    )

  return learned(
    modules, loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
