"""Models by name: one family, one file, found automatically.

Every model is a linen module called as `module(images, train=...)` that returns
logits. Its parts are named `stage_0`, `stage_1`, ... and `head`.
"""

from typing import NamedTuple

import flax.linen as nn

from kdjax.core import spec
from kdjax.core.registry import import_modules
from kdjax.models.registry import MAKERS, register

import_modules("kdjax.models")
import_modules("kdjax.models.pretrained")

__all__ = ["MAKERS", "ModelSpec", "make_model", "read_model", "register"]


class ModelSpec(NamedTuple):
  """A model that the user wrote, read.

  Attributes:
    text: as it was written.
    spec: what it says.
  """

  text: str
  spec: spec.Spec

  def __str__(self) -> str:
    return self.text

  def make(self, *, classes: int) -> nn.Module:
    """Builds the model, without parameters; raises as `make_model` does."""
    return spec.build("model", self.spec, MAKERS, classes=classes)


def read_model(text: str) -> ModelSpec:
  """Reads a model that the user wrote; whether there is one says its `make`.

  Raises:
    UserError: for what is no spec.

  Example:
    >>> read_model("mlp(20)").make(classes=10).classes
    10
  """
  return ModelSpec(text, spec.parse(text))


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
  return read_model(text).make(classes=classes)
