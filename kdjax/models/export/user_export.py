"""A network of a user's own, written for other programs."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from kdjax.core.arguments import check_kind, check_path, check_text
from kdjax.core.errors import StorageError, UserError
from kdjax.core.signature import Port, Signature, signature_of
from kdjax.core.storage import one_line
from kdjax.core.task import Task
from kdjax.core.units import Units
from kdjax.models.export import agreement, formats
from kdjax.models.export.signature import compile_network
from kdjax.taps.calling import nameless
from kdjax.taps.network import Network


class UserNetwork(NamedTuple):
  """What the formats ask of a network of a user's own.

  Attributes:
    network: the network.
    structure: of its variables, whose arrays the formats know by their paths.
    paths: of these arrays, in the structure's order.
    signature: what goes in and comes out of it.
    units: of its answers; None where they are told as they are.
  """

  network: Network
  structure: Any
  paths: tuple[str, ...]
  signature: Signature
  units: Units | None = None

  @property
  def note(self) -> dict[str, Any]:
    """What is written beside the variables."""
    ports = {
      side: [port._asdict() for port in getattr(self.signature, side)]
      for side in self.signature._fields
    }
    return {"model": "the network", **json.loads(json.dumps(ports))}

  def function(self, variables: Mapping[str, Any]):
    """Returns what it computes with arrays by path."""
    arrays = traverse_util.flatten_dict(variables, sep="/")
    own = self.structure.unflatten([arrays[path] for path in self.paths])

    def answer(inputs):
      # Other devices would round the numbers that they multiply.
      with jax.default_matmul_precision("highest"):
        answers = self.network.apply(own, inputs, train=False)[0]
      return answers if self.units is None else self.units.told(answers)

    return answer


def export(
  network: Network,
  variables: Any,
  signature: Any,
  folder: str | Path,
  *,
  format: str = "onnx",
  task: Task | None = None,
) -> dict[str, Path]:
  """Writes a network for other programs, for batches of any size.

  Every file is read back by its own runtime and has to give the network's answers,
  to 1e-4 of the largest; or nothing is written.

  Args:
    network: from `from_linen`, `from_nnx` or `from_apply`; it is written as it is
      when it does not train.
    variables: its variables.
    signature: a batch of inputs as the network takes them, an array or several by
      name, with which the files are checked; or a Signature, such as
      `kdjax.tasks.classification(10).signature(image, 10)`, whose names the inputs
      and outputs then have, and numbers are drawn.
    folder: gets the files; it may be there.
    format: "onnx", "stablehlo", "safetensors", "orbax", several with commas
      between, or "all". The first two hold the program and its numbers, the
      others the arrays by path.
    task: what it was trained for, where that standardises targets: the files then
      give numbers in the targets' unit, `task.units.told(answers)`.

  Returns:
    The files by format: network.onnx, ...

  Raises:
    UserError: for a format that is none or whose packages are missing, a network
      that it cannot hold, inputs or variables that are not the network's, and
      files that are there already.
    StorageError: for a file that does not answer as the network does, or that
      cannot be written.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.taps.network import from_linen
    >>> network, images = from_linen(nn.Dense(3)), jnp.ones((2, 4))
    >>> variables = network.init(jax.random.key(0), images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   files = export(network, variables, images, folder, format="stablehlo")
    >>> files["stablehlo"].name
    'network.stablehlo'
  """
  check_kind("network", network, "network")
  check_path("folder", folder)
  check_text("format", format)
  check_kind("task", task, "task", optional=True)
  writers = formats.parse_formats(format, "format")
  folder = Path(folder)
  files = {name: folder / one.file for name, one in writers.items()}
  for file in files.values():
    if file.exists():
      raise UserError(f"{file} is there already; give another folder")
  collections = network.collections(variables)
  leaves, structure = jax.tree_util.tree_flatten_with_path(collections)
  paths = tuple(
    jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves
  )
  arrays = {path: x for path, (_, x) in zip(paths, leaves, strict=True)}
  _check_arrays(arrays)
  inputs, described = _described(network, collections, signature)
  units = None if task is None else task.units
  exported = UserNetwork(network, structure, paths, described, units)
  nested = traverse_util.unflatten_dict(jax.device_get(arrays), sep="/")
  expected = compile_network(exported.function(nested))(inputs)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export") as beside:
      for name, one in writers.items():
        path = Path(beside) / one.file
        formats.write(name, path, exported, nested, flag="format")
        _check(name, one.load(path, exported), inputs, expected)
      for name, file in files.items():
        os.replace(Path(beside) / writers[name].file, file)
  except OSError as error:
    raise StorageError(f"cannot write {folder}: {error.strerror}") from error
  return files


def _check_arrays(arrays: Mapping[str, Any]) -> None:
  for path, x in arrays.items():
    if not hasattr(x, "dtype"):
      raise UserError(
        f"variables: {path} is a {type(x).__name__}, and no array"
      )


def _described(
  network: Network, variables: Any, signature: Any
) -> tuple[Any, Signature]:
  """Returns inputs to try a network with, and its signature."""
  inputs = signature
  if isinstance(signature, Signature):
    inputs = {port.name: _drawn(port) for port in signature.inputs}
  named = jax.tree.map(_of_jax, inputs)
  inputs = nameless(named)
  shape = _answer(network, variables, inputs).shape
  rows = {len(x) if np.ndim(x) else None for x in jax.tree.leaves(inputs)}
  if len(rows) != 1 or shape[:1] != (*rows,):
    raise UserError(
      "signature: a batch is meant, whose inputs and outputs have a row for each"
      f" example; got {_shapes(inputs)}, and the outputs are {shape}"
    )
  if not isinstance(signature, Signature):
    described = signature_of(jax.tree.map(lambda x: x[0], named), 0)
    output = described.outputs[0]._replace(shape=shape[1:])
    return inputs, described._replace(outputs=(output,))
  for port in signature.outputs:
    if tuple(port.shape) != shape[1:]:
      raise UserError(
        f"signature: {port.name} has the shape {tuple(port.shape)}, the network's"
        f" outputs are {shape[1:]}"
      )
  return inputs, signature


def _answer(network: Network, variables: Any, inputs: Any) -> Any:
  """The shape of its outputs."""
  try:
    return jax.eval_shape(
      lambda variables, inputs: network.apply(variables, inputs)[0],
      variables,
      inputs,
    )
  except (TypeError, ValueError) as error:
    raise UserError(
      f"the network does not take {_shapes(inputs)} with these variables:"
      f" {one_line(error)}"
    ) from error


def _shapes(inputs: Any) -> str:
  named = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
  return ", ".join(f"{name} {np.shape(x)}" for name, x in named.items())


def _of_jax(x: Any) -> np.ndarray:
  """An array in a type of jax's; of a shape, one that is drawn."""
  if isinstance(x, jax.ShapeDtypeStruct):
    x = _drawn(Port("", x.shape[1:], x.dtype, ""), x.shape[0])
  x = np.asarray(x)
  return x.astype(jax.dtypes.canonicalize_dtype(x.dtype))


def _drawn(port: Port, rows: int = 2) -> np.ndarray:
  """Numbers that any network takes: of whole ones, 0 and 1."""
  random, shape = np.random.default_rng(0), (rows, *port.shape)
  if np.issubdtype(np.dtype(port.dtype), np.floating):
    return random.normal(size=shape).astype(port.dtype)
  return random.integers(0, 2, shape).astype(port.dtype)


def _check(name, answer, inputs, expected) -> None:
  """Asks a file for one example alone, and for one more than there were."""
  for rows_name, rows in (
    ("one example", slice(1)),
    ("all", [*range(len(expected)), 0]),
  ):
    outputs = answer(jax.tree.map(lambda x, rows=rows: x[rows], inputs))
    agreement.check(
      f"{name}, {rows_name}", outputs, expected[rows], classes=False
    )
