"""A student that ends in its teacher's classifier.

Chen, Mei, Zhang, Wang, Feng, Chen 2022 (SimKD), arXiv:2203.14001: a projector
brings the student's last features to the teacher's width, and the teacher's own
classifier, copied into `head`, decides.
"""

import flax.linen as nn
import jax

from kdjax.core import spec
from kdjax.models import checks
from kdjax.models.layers import Activation, batch_norm, convolution
from kdjax.models.registry import MAKERS, register


class Projector(nn.Module):
  """Three layers of width / factor, width / factor and width, normalised.

  Convolutions of 1 x 1, 3 x 3 and 1 x 1 for maps (B, H, W, C), dense layers for
  vectors (B, D); none has a bias, and the last ReLU is `activation`.

  Attributes:
    width: output channels.
    factor: by how much the middle is narrower.
  """

  width: int
  factor: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    inner = self.width // self.factor
    layers = ((inner, 1), (inner, 3), (self.width, 1))
    for i, (width, size) in enumerate(layers):
      x = nn.relu(x) if i else x
      if x.ndim == 4:
        x = convolution(width, size, name=f"conv_{i}")(x)
      else:
        x = nn.Dense(width, use_bias=False, name=f"dense_{i}")(x)
      x = batch_norm(train=train, name=f"norm_{i}")(x)
    return Activation(name="activation")(x)


class Projected(nn.Module):
  """`backbone`, `projector`, the mean over all positions, a linear `head`.

  Attributes:
    backbone: a model that returns its last stage's output.
    width: channels that the head sees.
    factor: by how much the projector's middle is narrower.
    classes: number of classes.
  """

  backbone: nn.Module
  width: int
  factor: int
  classes: int

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = self.backbone(images, train=train)
    x = Projector(self.width, self.factor, name="projector")(x, train=train)
    x = x.mean(axis=(1, 2)) if x.ndim == 4 else x
    return nn.Dense(self.classes, name="head")(x)


@register("projected")
def projected(
  backbone: spec.Spec, *, width: int, factor: int = 2, classes: int
) -> Projected:
  """Makes SimKD's student: a backbone, a projector, the teacher's classifier.

  The backbone is any model with a field `classify`; of its parts only those up
  to the last stage are there, as `backbone/stage_0` and so on.

  Args:
    backbone: the model, such as lenet(16, 32) or resnet8x4.
    width: channels of the teacher's last features.
    factor: by how much the projector's middle is narrower.
    classes: number of classes.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for something that is no model or cannot return its last stage,
      a width below 1, or a factor outside 1 to width.
    UserError: for an unknown backbone, or arguments that it refuses.

  Example:
    >>> projected(spec.parse("mlp(20)"), width=64, classes=10).backbone.hidden
    (20,)

  Source:
    Chen, Mei, Zhang, Wang, Feng, Chen 2022, arXiv:2203.14001.
  """
  checks.whole_number("width", width)
  checks.whole_number("factor", factor)
  if factor > width:
    raise ValueError(f"factor must be at most the width {width}, got {factor}")
  if not isinstance(backbone, spec.Spec):
    raise ValueError(
      f"the backbone must be a model such as resnet8, got {backbone!r}"
    )
  module = spec.build("model", backbone, MAKERS, classes=classes)
  if not hasattr(module, "classify"):
    raise ValueError(f"{backbone} cannot be a backbone: it ends in its head")
  return Projected(module.clone(classify=False), width, factor, classes)
