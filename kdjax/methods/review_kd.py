"""Knowledge review: deep student stages help to explain shallow teacher ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core import checks
from kdjax.core.method import Method, learned
from kdjax.core.task import KINDS
from kdjax.methods import _features as features
from kdjax.methods import _modules
from kdjax.methods.registry import register


class Fusion(nn.Module):
  """Fuses a stage with what came from the deeper ones, by attention.

  Attributes:
    middle: channels of what is handed on to the next shallower stage.
    features: the teacher's channels.
    size: the teacher's height and width.
  """

  middle: int
  features: int
  size: tuple[int, int]

  @nn.compact
  def __call__(
    self, x: jax.Array, deeper: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    x = _modules.Regressor(self.middle, norm=True, name="reduce")(x)
    if deeper is not None:
      deeper = _resized(deeper, x.shape[1:3])
      both = jnp.concatenate([x, deeper], axis=-1)
      share = nn.sigmoid(nn.Dense(2, name="attention")(both))
      x = x * share[..., :1] + deeper * share[..., 1:]
    x = _resized(x, self.size)
    y = nn.Conv(
      self.features,
      (3, 3),
      padding=((1, 1), (1, 1)),
      use_bias=False,
      name="conv",
    )(x)
    return nn.BatchNorm(use_running_average=False, name="norm")(y), x


class Review(nn.Module):
  """Fusion modules from the deepest stage to the shallowest.

  Attributes:
    shapes: the teacher's (height, width, channels), from shallow to deep.
  """

  shapes: tuple[tuple[int, int, int], ...]

  @nn.compact
  def __call__(self, maps: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    middle = min(512, maps[-1].shape[-1])
    results, deeper = [], None
    for i in reversed(range(len(maps))):
      *size, features = self.shapes[i]
      fusion = Fusion(middle, features, tuple(size), name=f"fusion_{i}")
      result, deeper = fusion(maps[i], deeper)
      results.insert(0, result)
    return tuple(results)


@register("review_kd", objective="ce:1 + review_kd:warmup(0.083)", reads=KINDS)
def review_kd(
  *,
  levels: tuple[int, ...] = (4, 2, 1),
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*/activation:in",
  student_pooled_tap: str = "head:in",
  teacher_pooled_tap: str = "head:in",
) -> Method:
  """Distance of fused stages at several resolutions, from deep to shallow.

  loss = sum over pairs l of hcl(y_l, teacher_l),
  y_l, x_l = fuse_l(student_l, x_{l+1}),
  hcl = weighted mean of squared differences of the map at its full size and
        average-pooled to l x l for each of the levels

  Matched: every pair of stages, which must be maps, the teacher's before their
  ReLU, and what the classifiers take as one level more. Each stage of the
  teacher teaches its partner and all deeper stages of the student. Learned: the
  fusion modules, a 1x1 and a 3x3 convolution with batch normalisation and an
  attention between the two maps, at most 512 channels wide. Default taps:
  `stage_*` of the student, `stage_*/activation:in` of the teacher, `head:in` of
  both. Cost: a 3x3 convolution a pair, of the student's deepest to the
  teacher's width.

  Args:
    levels: the pooled sizes, from large to small.
    student_tap: the student's stages.
    teacher_tap: the teacher's; `stage_*` for networks without `activation`.
    student_pooled_tap: what the student's classifier takes, (B, D), or a map or
      tokens whose mean it takes.
    teacher_pooled_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a level that is no positive whole number.
    UserError: when traced, for features that are no maps.

  Example:
    >>> maps = {"stage_0": jnp.ones((1, 4, 4, 2)), "head:in": jnp.ones((1, 2))}
    >>> outputs = Outputs(jnp.zeros((1, 3)), maps)
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), 0)
    >>> method = review_kd(teacher_tap="stage_*")
    >>> params, _ = method.init(jax.random.key(0), inputs)
    >>> sorted(params["review"])
    ['fusion_0', 'fusion_1']

  Source:
    Chen, Liu, Zhao, Jia 2021, arXiv:2104.09044; `kdjax.losses.review_kd`. The
    features, the fusion and the warm-up over 20 of 240 epochs are the authors'
    code's. Its scripts have a weight for each pair of CIFAR-100: 5 for WRN-40-2's
    students and ResNet32x4 -> ResNet8x4 and ShuffleNetV1, 8 for ResNet32x4 ->
    ShuffleNetV2, 0.6 for ResNet-56 -> 20, 1 for ResNet-110 -> 32; here it is 1.
  """
  for level in levels:
    checks.whole_number("each of levels", level)

  def pairs(inputs):
    feats = features.pair_features(
      "review_kd", inputs, student_tap, teacher_tap, maps=True
    )
    student = features.vectors("review_kd", student_pooled_tap, inputs.student)
    teacher = features.vectors("review_kd", teacher_pooled_tap, inputs.teacher)
    vectors = (student, jax.lax.stop_gradient(teacher))
    return (*feats, tuple(side[:, None, None] for side in vectors))

  def modules(inputs):
    students, teachers = zip(*pairs(inputs), strict=True)
    shapes = tuple(teacher.shape[1:] for teacher in teachers)
    return {"review": (Review(shapes), students)}

  def loss(call, inputs):
    students, teachers = zip(*pairs(inputs), strict=True)
    fusions = call("review", students)
    return sum(
      losses.review_kd(student, teacher, levels=tuple(levels))
      for student, teacher in zip(fusions, teachers, strict=True)
    )

  return learned(
    modules,
    loss,
    student_taps=(student_tap, student_pooled_tap),
    teacher_taps=(teacher_tap, teacher_pooled_tap),
    couples_batch=True,
  )


def _resized(x, size):
  shape = (x.shape[0], *size, x.shape[-1])
  return x if x.shape == shape else jax.image.resize(x, shape, "nearest")
