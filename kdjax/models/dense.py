"""What networks that answer at every pixel have in common: stages, and a way back up."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import spec
from kdjax.models.layers import dot_of_rows
from kdjax.models.registry import MAKERS


def read_backbone(text: str) -> nn.Module:
  """Makes the stages of a network by name, without its classifier.

  Args:
    text: a model of maps, such as "resnet8" or "mobilenet_v2(0.25)".

  Returns:
    The module, which returns its last stage.

  Raises:
    ValueError: for a model that has no maps, or needs its classifier.
  """
  if not isinstance(text, str):
    raise ValueError(
      f"backbone must be a model's name in quotes, such as 'resnet8', got {text!r}"
    )
  # How many classes it would tell apart makes no difference to its stages.
  module = spec.build("model", spec.parse(text), MAKERS, classes=2)
  if not hasattr(module, "classify"):
    able = (
      "cifar_resnet, resnet18, wrn, mobilenet_v2, shufflenet_v2, cifar_vgg8"
    )
    raise ValueError(
      f"backbone {text!r} has no stages alone; take one of {able}"
    )
  return module.clone(classify=False)


def stages_of(
  backbone: Callable, images: jax.Array, *, train: bool
) -> list[jax.Array]:
  """Runs a backbone and returns what each of its stages gives.

  Args:
    backbone: a module within another one.
    images: (B, H, W, C).

  Returns:
    (B, h, w, D) maps by stage, from the finest to the coarsest.
  """
  outputs = {}

  def keep(call, arguments, keywords, context):
    output = call(*arguments, **keywords)
    name = context.module.name or ""
    if context.method_name == "__call__" and name.startswith("stage_"):
      outputs.setdefault(name, output)
    return output

  with nn.intercept_methods(keep):
    backbone(images, train=train)
  maps = [outputs[name] for name in sorted(outputs, key=_number)]
  if not maps or any(x.ndim != 4 for x in maps):
    raise ValueError(
      f"backbone {type(backbone).__name__} has stages of the shapes"
      f" {[x.shape for x in maps]}; maps (B, H, W, C) are needed"
    )
  return maps


def _number(name: str) -> int:
  return int(name.rpartition("_")[2])


def head(classes: int) -> nn.Dense:
  """Makes the classifier of pixels, `head`: a 1 x 1 convolution as a matrix."""
  return nn.Dense(classes, dot_general=dot_of_rows, name="head")


def resize(maps: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Scales maps bilinearly, as images are; pixels' corners stay corners.

  A product with a matrix along each axis: fast on a CPU, and nothing but products
  in an exported file.

  Args:
    maps: (B, h, w, D) float.
    size: (H, W), of any relation to h and w; without antialiasing.

  Returns:
    (B, H, W, D) float.

  Example:
    >>> resize(jnp.arange(2.0).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
  """
  if maps.shape[1:3] == tuple(size):
    return maps
  rows, columns = (
    jnp.asarray(_weights(old, new), maps.dtype)
    for old, new in zip(maps.shape[1:3], size, strict=True)
  )
  return jnp.einsum(
    "yh,xw,bhwd->byxd", rows, columns, maps, precision="highest"
  )


def _weights(old: int, new: int) -> np.ndarray:
  """(new, old): row i holds the shares of the two pixels around the new middle."""
  middles = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
  distance = np.abs(middles[:, None] - np.arange(old)[None])
  return np.maximum(1 - distance, 0).astype(np.float32)
