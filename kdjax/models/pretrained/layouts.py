"""How published tensors become linen parameters, and who knows their names.

A family enters a table: which published tensor fills which parameter, and how
its axes are laid out. `weights.convert` does the rest, whatever the family.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

Layout = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


class Entry(NamedTuple):
  """One parameter and the published tensor that fills it.

  Attributes:
    source: the published tensor's name.
    target: the parameter's path, such as "params/head/kernel".
    layout: (array, shape of the parameter) -> array; may raise ValueError.
    part: (i, n) for the i-th of n equal parts along the tensor's first axis.
  """

  source: str
  target: str
  layout: Layout
  part: tuple[int, int] = (0, 1)


class Names(NamedTuple):
  """What is known of a family's published files.

  Attributes:
    entries: (module, names in the file) -> an entry for every parameter.
    options: (module, names in the file) -> what the published network was
      built with, as options of our maker. Without "normalise" where a file
      does not tell it.
  """

  entries: Callable[[nn.Module, Collection[str]], list[Entry]]
  options: Callable[[nn.Module, Collection[str]], dict[str, Any]] = (
    lambda module, names: {"normalise": "imagenet"}
  )


# By the class of the module; every family with published weights enters one.
TABLES: dict[type[nn.Module], Names] = {}


def same(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Leaves a tensor as it is.

  Args:
    shape: of the parameter; not needed.

  Example:
    >>> print(same(np.arange(2), (2,)))
    [0 1]
  """
  del shape
  return array


def convolution_kernel(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Lays a convolution's kernel out for NHWC.

  Args:
    array: (outputs, inputs, height, width).
    shape: of the parameter; not needed.

  Returns:
    (height, width, inputs, outputs).

  Example:
    >>> convolution_kernel(np.zeros((8, 3, 5, 5)), ()).shape
    (5, 5, 3, 8)
  """
  del shape
  return array.transpose(2, 3, 1, 0)


def dense_kernel(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Transposes a linear layer's kernel.

  Args:
    array: (outputs, inputs).
    shape: of the parameter; not needed.

  Returns:
    (inputs, outputs).

  Example:
    >>> dense_kernel(np.zeros((8, 3)), ()).shape
    (3, 8)
  """
  del shape
  return array.transpose(1, 0)


def dense_kernel_after(height: int, width: int) -> Layout:
  """Makes the layout of a linear layer behind flattened images.

  Published networks flatten (channels, height, width), ours (height, width,
  channels): the kernel's rows are put in our order.

  Returns:
    The layout (outputs, channels * height * width) -> (inputs, outputs).

  Example:
    >>> kernel = np.array([[0, 1, 10, 11]])  # channels 0 and 1 of two places
    >>> print(dense_kernel_after(1, 2)(kernel, (4, 1)).T)
    [[ 0 10  1 11]]
  """

  def layout(array, shape):
    images = array.reshape(array.shape[0], -1, height, width)
    return convolution_kernel(images, ()).reshape(shape)

  return layout


def heads_kernel(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Splits the outputs of a query, key or value projection into heads.

  Args:
    shape: (inputs, heads, features).

  Returns:
    (inputs, heads, features).

  Example:
    >>> kernel = np.array([[0], [1], [2], [3]])
    >>> print(heads_kernel(kernel, (1, 2, 2)))
    [[[0 1]
      [2 3]]]
  """
  _check_size(array, (shape[1] * shape[2], shape[0]))
  return array.transpose(1, 0).reshape(shape)


def heads_bias(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Splits the bias of a query, key or value projection into heads.

  Args:
    shape: (heads, features).

  Returns:
    (heads, features).

  Example:
    >>> print(heads_bias(np.arange(4), (2, 2)))
    [[0 1]
     [2 3]]
  """
  _check_size(array, (shape[0] * shape[1],))
  return array.reshape(shape)


def joined_heads_kernel(
  array: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
  """Splits the inputs of an attention's output projection into heads.

  Args:
    array: (outputs, heads * features).
    shape: (heads, features, outputs).

  Returns:
    (heads, features, outputs).

  Example:
    >>> joined_heads_kernel(np.zeros((5, 6)), (2, 3, 5)).shape
    (2, 3, 5)
  """
  _check_size(array, (shape[2], shape[0] * shape[1]))
  return array.transpose(1, 0).reshape(shape)


def convolution_entries(source: str, target: str, *, bias: bool) -> list[Entry]:
  """Returns the entries of a convolution.

  Returns:
    One entry for the kernel, one for the bias.

  Example:
    >>> convolution_entries("conv1", "stem/conv_0", bias=False)[0].target
    'params/stem/conv_0/kernel'
  """
  entries = [
    Entry(f"{source}.weight", f"params/{target}/kernel", convolution_kernel),
    Entry(f"{source}.bias", f"params/{target}/bias", same),
  ]
  return entries if bias else entries[:1]


def dense_entries(
  source: str, target: str, layout: Layout = dense_kernel
) -> list[Entry]:
  """Returns the entries of a linear layer.

  Returns:
    One entry for the kernel, one for the bias.

  Example:
    >>> [entry.source for entry in dense_entries("fc", "head")]
    ['fc.weight', 'fc.bias']
  """
  return [
    Entry(f"{source}.weight", f"params/{target}/kernel", layout),
    Entry(f"{source}.bias", f"params/{target}/bias", same),
  ]


def norm_entries(
  source: str, target: str, *, running: bool = False
) -> list[Entry]:
  """Returns the entries of a normalisation.

  Args:
    running: whether it has running averages, as batch normalisation has.

  Returns:
    One entry for each of scale and bias, and of mean and variance if running.

  Example:
    >>> [e.target for e in norm_entries("bn1", "norm_0", running=True)][2:]
    ['batch_stats/norm_0/mean', 'batch_stats/norm_0/var']
  """
  entries = [
    Entry(f"{source}.weight", f"params/{target}/scale", same),
    Entry(f"{source}.bias", f"params/{target}/bias", same),
    Entry(f"{source}.running_mean", f"batch_stats/{target}/mean", same),
    Entry(f"{source}.running_var", f"batch_stats/{target}/var", same),
  ]
  return entries if running else entries[:2]


def _check_size(array: np.ndarray, shape: tuple[int, ...]) -> None:
  # Reshaping alone would accept any factors of the same product.
  if array.shape != shape:
    raise ValueError(f"expected {shape}, got {array.shape}")
