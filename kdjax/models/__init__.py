"""Models by name: one family, one file, found automatically.

Every model is a linen module called as `module(images, train=...)` that returns
logits. Its parts are named `stage_0`, `stage_1`, ... and `head`.
"""

import inspect
from typing import Any, NamedTuple

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

  def knowing(self, **facts: Any) -> "ModelSpec":
    """Writes into it what the run knows: arguments that it takes and does not say.

    Example:
      >>> print(read_model("bert(width=64)").knowing(vocabulary=99, views=2))
      bert(width=64, vocabulary=99)
    """
    maker = MAKERS.get(self.spec.name)
    takes = inspect.signature(maker).parameters if maker else {}
    stated = dict(self.spec.kwargs)
    new = {name: x for name, x in facts.items() if name in takes}
    new = {name: x for name, x in new.items() if name not in stated}
    if not new:
      return self
    full = self.spec.__class__(
      self.spec.name, self.spec.args, (*self.spec.kwargs, *new.items())
    )
    return ModelSpec(str(full), full)


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
