"""Published tensors and our parameters, each made of the other.

A table has one `Tensor` for every tensor of a file; the same table reads and
writes, so that what is read and written again is bit for bit what it was.
"""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from kdjax.core.errors import UserError

# Constants that old files hold beside the weights.
_CONSTANTS = (
  "*rotary_emb.inv_freq", "*.attn.bias", "*.attn.masked_bias", "*position_ids",
)  # fmt: skip


class Tensor(NamedTuple):
  """A published tensor and the parameters that it holds.

  Attributes:
    source: its name.
    targets: paths of parameters, such as "stage_0/attention/query/kernel";
      several lie behind each other along the axis of the outputs.
    inputs: how many leading axes of the parameter are a layer's inputs; 0 for
      vectors, which are flat in files.
    outputs_first: whether files have (outputs, inputs).
  """

  source: str
  targets: tuple[str, ...]
  inputs: int = 0
  outputs_first: bool = True


def linear(
  source: str,
  targets: str | Sequence[str],
  *,
  bias: bool,
  inputs: int = 1,
  outputs_first: bool = True,
) -> list[Tensor]:
  """Returns the tensors of a linear layer: its weight, and its bias if any.

  Example:
    >>> [one.source for one in linear("mlp.fc", "mlp/dense_0", bias=True)]
    ['mlp.fc.weight', 'mlp.fc.bias']
  """
  targets = (targets,) if isinstance(targets, str) else targets
  kernels, biases = (
    tuple(f"{target}/{part}" for target in targets)
    for part in ("kernel", "bias")
  )
  weight = Tensor(f"{source}.weight", kernels, inputs, outputs_first)
  return [weight, Tensor(f"{source}.bias", biases)][: 1 + bias]


def norm(source: str, target: str, *, bias: bool) -> list[Tensor]:
  """Returns the tensors of a normalisation.

  Example:
    >>> [one.source for one in norm("model.norm", "norm", bias=False)]
    ['model.norm.weight']
  """
  scale = Tensor(f"{source}.weight", (f"{target}/scale",))
  return [scale, Tensor(f"{source}.bias", (f"{target}/bias",))][: 1 + bias]


def embedding(source: str, target: str) -> Tensor:
  """Returns the tensor of a table, which lies the same way in both."""
  return Tensor(f"{source}.weight", (f"{target}/embedding",), 1, False)


@functools.lru_cache(maxsize=32)
def shapes_of(module: nn.Module) -> dict[str, Any]:
  """The shapes of a text network's variables.

  Traced once for networks alike: loading, cutting and measuring all ask.
  """
  ids = jax.ShapeDtypeStruct((1, 1), np.int32)
  return jax.eval_shape(module.init, jax.random.key(0), ids)


def read_parameters(
  table: Sequence[Tensor],
  tensors: Mapping[str, np.ndarray],
  shapes: Mapping[str, Any],
  *,
  dtype: Any = jnp.float32,
  ignored: Collection[str] = (),
  put: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
  """Fills a module's parameters from a file.

  Args:
    table: a tensor for every parameter.
    tensors: the file's arrays by name.
    shapes: the parameters, or their shapes, nested.
    dtype: of the parameters.
    ignored: patterns of names that a file may hold beyond the table.
    put: nested arrays of the host -> the same on devices, called with one
      parameter at a time; None to put all on one.

  Returns:
    Nested dict of jax arrays.

  Raises:
    UserError: names tensors that are missing, that have no place in the model,
      or whose shape, type or values do not fit.
  """
  check_names({one.source for one in table}, tensors, ignored)
  shapes = traverse_util.flatten_dict(dict(shapes), sep="/")
  flat = {}
  for one in table:
    array = tensors[one.source]
    if not jnp.issubdtype(array.dtype, jnp.floating):
      raise UserError(f"{one.source} holds {array.dtype}, not floats")
    sizes = [shapes[target].shape for target in one.targets]
    parts = _take_apart(one, array, sizes)
    for target, part in zip(one.targets, parts, strict=True):
      flat[target] = _placed(target, part, dtype, put)
      # Looked for where they are few bytes: numpy has no bfloat16 of its own.
      if not _is_finite(flat[target]):
        raise UserError(f"{one.source} holds values not finite")
  return traverse_util.unflatten_dict(flat, sep="/")


@jax.jit
def _is_finite(array: jax.Array) -> jax.Array:
  return jnp.isfinite(array).all()


def _placed(path: str, array: np.ndarray, dtype: Any, put: Any) -> jax.Array:
  """A parameter on its devices, with memory of its own: the file's may change."""
  if put is None:
    return jnp.array(array, dtype)
  nested = traverse_util.unflatten_dict(
    {path: array.astype(jnp.dtype(dtype))}, sep="/"
  )
  (placed,) = jax.tree.leaves(put({"params": nested}))
  return placed


def write_tensors(
  table: Sequence[Tensor], parameters: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Makes a file's arrays of a module's parameters.

  Args:
    table: as `read_parameters` takes it.
    parameters: nested arrays.

  Returns:
    Arrays by published name, in the types of the parameters.
  """
  flat = traverse_util.flatten_dict(dict(parameters), sep="/")
  tensors = {}
  for one in table:
    parts = [
      _as_published(one, np.asarray(jax.device_get(flat[target])))
      for target in one.targets
    ]
    joined = np.concatenate(parts, axis=_output_axis(one))
    tensors[one.source] = np.ascontiguousarray(joined)
  return tensors


def _take_apart(
  one: Tensor, array: np.ndarray, shapes: Sequence[tuple[int, ...]]
) -> list[np.ndarray]:
  sizes = [_published_shape(one, shape) for shape in shapes]
  axis = _output_axis(one)
  whole = list(sizes[0])
  whole[axis] = sum(size[axis] for size in sizes)
  if array.shape != tuple(whole):
    raise UserError(
      f"{one.source} has the shape {array.shape}, the config asks for"
      f" {tuple(whole)}"
    )
  ends = np.cumsum([size[axis] for size in sizes])[:-1]
  return [
    (part.T if one.inputs and one.outputs_first else part).reshape(shape)
    for part, shape in zip(
      np.split(array, ends, axis=axis), shapes, strict=True
    )
  ]


def _as_published(one: Tensor, array: np.ndarray) -> np.ndarray:
  if not one.inputs:
    return array.reshape(-1)
  inputs = math.prod(array.shape[: one.inputs])
  flat = array.reshape(inputs, -1)
  return flat.T if one.outputs_first else flat


def _published_shape(one: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
  if not one.inputs:
    return (math.prod(shape),)
  inputs = math.prod(shape[: one.inputs])
  outputs = math.prod(shape[one.inputs :])
  return (outputs, inputs) if one.outputs_first else (inputs, outputs)


def _output_axis(one: Tensor) -> int:
  return 1 if one.inputs and not one.outputs_first else 0


def check_names(
  expected_names: Collection[str],
  tensors: Collection[str],
  ignored: Collection[str] = (),
) -> None:
  """Refuses names of tensors that are missing, or more than there is place for.

  Args:
    expected_names: names that a file must have.
    tensors: names that it has.
    ignored: patterns of names that it may have besides.

  Raises:
    UserError: names the first of either.
  """
  patterns = (*_CONSTANTS, *ignored)
  superfluous = {
    name
    for name in set(tensors) - set(expected_names)
    if not any(fnmatchcase(name, pattern) for pattern in patterns)
  }
  problems = [
    f"{len(names)} tensors {problem}: {', '.join(sorted(names)[:5])}"
    + ", ..." * (len(names) > 5)
    for problem, names in (
      ("are missing", set(expected_names) - set(tensors)),
      ("have no place in the model", superfluous),
    )
    if names
  ]
  if problems:
    raise UserError("; ".join(problems))
