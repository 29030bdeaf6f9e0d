"""Models by name: one family, one file, found automatically.

Every model is a linen module called as `module(images, train=...)` that returns
logits. Its parts are named `stage_0`, `stage_1`, ... and `head`.
"""

import flax.linen as nn

from kdjax.core import spec
from kdjax.core.registry import import_modules
from kdjax.models.registry import MAKERS

import_modules("kdjax.models")
import_modules("kdjax.models.pretrained")


def make_model(text: str, *, classes: int) -> nn.Module:
  """Builds the model that the user wrote.

  Args:
    text: for example "mlp(1200, 1200, dropout=0.5)".
    classes: number of classes.

  Returns:
    The linen module, without parameters.

  Raises:
    UserError: for an unknown name, or arguments that the model refuses.

  Example:
    >>> make_model("mlp(20)", classes=10).classes
    10
  """
  return spec.build("model", spec.parse(text), MAKERS, classes=classes)
