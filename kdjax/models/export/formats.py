"""How each format is written, and read back by its own runtime."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax import export

from kdjax.core import storage
from kdjax.core.errors import KdjaxError, StorageError, UserError, unknown_name
from kdjax.models import quantized
from kdjax.models.export import onnx, untrusted
from kdjax.models.export.signature import (
  About,
  Exportable,
  compile_network,
)
from kdjax.models.pretrained.files import load_safetensors
from kdjax.taps.calling import nameless

# Who can run the StableHLO.
PLATFORMS = ("cpu", "cuda", "tpu")

# An input, or several by name -> outputs.
Answer = Callable[[Any], np.ndarray]


class Format(NamedTuple):
  """A way to write a network.

  Attributes:
    file: its name.
    runtime: who reads it.
    write: (path, network, variables) -> None.
    load: (path, network) -> a function from inputs to outputs.
    needs: packages that are not installed with the rest.
    floats_only: whether what learned to compute in few bits cannot be written.
  """

  file: str
  runtime: str
  write: Callable[[Path, Exportable, Mapping[str, Any]], None]
  load: Callable[[Path, Exportable], Answer]
  needs: tuple[str, ...] = ()
  floats_only: bool = False


def parse_formats(text: str, flag: str = "--format") -> dict[str, Format]:
  """Reads which formats are wanted; an error names what they were given as."""
  names = list(dict.fromkeys(name.strip() for name in text.split(",")))
  for name in names:
    if name not in FORMATS and names != ["all"]:
      raise unknown_name(flag, name, [*FORMATS, "all"])
  names = list(FORMATS) if names == ["all"] else names
  for name in names:
    missing = [x for x in FORMATS[name].needs if not _is_installed(x)]
    if missing:
      raise UserError(
        f"{flag}={name} needs {' and '.join(missing)}: pip install onnx"
        " onnx-ir onnxruntime, then pip install --no-deps jax2onnx==0.17.1"
      )
  return {name: FORMATS[name] for name in names}


def fitting(
  candidates: Mapping[str, Format], about: About, setting: str
) -> dict[str, Format]:
  """Returns the formats that can hold a network.

  Args:
    setting: what was given to `parse_formats`; "all" leaves out what cannot.
  """
  if about.quantization == quantized.NONE:
    return dict(candidates)
  fits = {name: one for name, one in candidates.items() if not one.floats_only}
  for name in candidates.keys() - fits.keys():
    if setting != "all":
      raise UserError(
        f"--format={name}: its converter knows no network that computes in"
        f" {about.quantization}; possible: {', '.join(sorted(FORMATS.keys() - {name}))}"
      )
  return fits


def write(
  name: str,
  path: Path,
  network: Exportable,
  variables: Mapping[str, Any],
  *,
  flag: str = "--format",
) -> None:
  """Writes a network in a format, or says that the format cannot hold it."""
  try:
    FORMATS[name].write(path, network, variables)
  except (KdjaxError, OSError):
    raise
  except Exception as error:  # converters raise whatever they meet
    raise UserError(
      f"{flag}={name} cannot hold {network.note['model']}:"
      f" {storage.one_line(error)}; nothing was exported"
    ) from error


def is_ready(name: str) -> bool:
  """Says whether a format's packages are installed.

  Example:
    >>> is_ready("orbax")
    True
  """
  return all(map(_is_installed, FORMATS[name].needs))


def _is_installed(package: str) -> bool:
  return importlib.util.find_spec(package) is not None


def _write_stablehlo(path, network, variables) -> None:
  """The program with its numbers inside, for batches of any size."""
  ports = network.signature.inputs
  free = [x for one in ports for x in one.shape if isinstance(x, str)]
  names = dict.fromkeys(("batch", *free))
  sizes = dict(zip(names, export.symbolic_shape(", ".join(names)), strict=True))
  shapes = {
    one.name: jax.ShapeDtypeStruct(
      (sizes["batch"], *(sizes.get(x, x) for x in one.shape)),
      np.dtype(one.dtype),
    )
    for one in ports
  }
  function = jax.jit(network.function(variables))
  exported = export.export(function, platforms=PLATFORMS)(nameless(shapes))
  path.write_bytes(exported.serialize())


def _load_stablehlo(path, network) -> Answer:
  del network  # the program is complete
  content = _read(path)
  untrusted.check_file(path, content[:9])
  try:
    exported = export.deserialize(bytearray(content))
    untrusted.check_stablehlo(path, exported.mlir_module())
  except UserError:
    raise
  except Exception as error:  # flatbuffers and MLIR raise anything
    line = storage.one_line(error)
    raise StorageError(f"cannot read {path}: {line}") from error
  return compile_network(exported.call)


def _write_safetensors(path, network, variables) -> None:
  from safetensors.numpy import save_file

  flat = traverse_util.flatten_dict(jax.device_get(variables), sep="/")
  arrays = {name: np.ascontiguousarray(x) for name, x in flat.items()}
  save_file(arrays, path, metadata={"model": network.note["model"]})


def _load_safetensors(path, network) -> Answer:
  variables = traverse_util.unflatten_dict(load_safetensors(path), sep="/")
  return compile_network(network.function(variables))


def _write_orbax(path, network, variables) -> None:
  storage.save_network(path, variables, network.note)


def _load_orbax(path, network) -> Answer:
  note = storage.read_note(path)
  variables = storage.load_variables(path, note)
  return compile_network(network.function(variables))


def _write_onnx(path, network, variables) -> None:
  onnx.write(path, network.function(variables), network.signature)


def _load_onnx(path, network) -> Answer:
  del network  # the graph is complete
  content = _read(path)
  untrusted.check_file(path, content[:9])
  return onnx.load(path, content)


def _read(path: Path) -> bytes:
  try:
    return path.read_bytes()
  except OSError as error:
    raise StorageError(f"cannot read {path}: {error.strerror}") from error


FORMATS = {
  "stablehlo": Format(
    "network.stablehlo", "jax.export", _write_stablehlo, _load_stablehlo
  ),
  "onnx": Format(
    "network.onnx",
    "onnxruntime",
    _write_onnx,
    _load_onnx,
    needs=("jax2onnx", "onnx", "onnxruntime"),
    floats_only=True,
  ),
  "safetensors": Format(
    "network.safetensors",
    "safetensors and flax",
    _write_safetensors,
    _load_safetensors,
  ),
  "orbax": Format("network.orbax", "orbax and flax", _write_orbax, _load_orbax),
}
