"""Fully convolutional networks: the scores of all stages, added up from coarse to fine."""

import flax.linen as nn
import jax

from kdjax.models import checks, dense
from kdjax.models.registry import register


class FCN(nn.Module):
  """A backbone's `stage_0` .., `head` on the last of them, `score_i` on others.

  Attributes:
    backbone: returns its last stage; its parts have the names that they have alone.
    classes: number of classes.
    skips: how many of the stages before the last have scores of their own.
  """

  backbone: nn.Module
  classes: int
  skips: int

  def setup(self):
    nn.share_scope(self, self.backbone)

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    *finer, last = dense.stages_of(self.backbone, images, train=train)
    scores = dense.head(self.classes)(last)
    first = max(0, len(finer) - self.skips)
    for i in reversed(range(first, len(finer))):
      fine = nn.Dense(self.classes, use_bias=False, name=f"score_{i}")(finer[i])
      scores = fine + dense.resize(scores, fine.shape[1:3])
    return dense.resize(scores, images.shape[1:3])


@register("fcn")
def fcn(backbone: str = "resnet8", skips: int = 2, *, classes: int) -> FCN:
  """Makes a fully convolutional network of a backbone.

  As published but for bilinear scaling in place of learned steps up.

  Args:
    backbone: a model of maps by name, such as "resnet20" or "mobilenet_v2(0.25)".
    skips: how many of the stages before the last are scored too, >= 0; the paper's
      FCN-8s has 2.
    classes: number of classes.

  Returns:
    The module: images (B, H, W, C) of any size that the backbone takes -> logits
    (B, H, W, classes).

  Raises:
    ValueError: for a backbone without stages of maps, or a number below 0.

  Example:
    >>> fcn("resnet8", classes=11).skips
    2

  Source:
    Long, Shelhamer, Darrell 2015, arXiv:1411.4038.
  """
  checks.whole_number("skips", skips, least=0)
  return FCN(dense.read_backbone(backbone), classes, skips)
