"""GGUF files, as llama.cpp and its kin have them: read as published folders are."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.models.pretrained import gguf_config
from kdjax.models.pretrained.architectures import architecture_of
from kdjax.models.pretrained.tensors import Tensor, check_names

MAGIC = b"GGUF"
# Lists of as many values as there are tokens.
_VOCABULARY = [
  f"tokenizer.ggml.{name}"
  for name in ("tokens", "scores", "token_type", "merges")
]
# GPT-2's linear layers, which lie the other way round in its folders.
_CONV1D = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def is_gguf(path: Path) -> bool:
  """Says whether a path is, or calls itself, a GGUF file.

  Example:
    >>> is_gguf(Path("SmolLM2-135M.Q4_1.gguf"))
    True
  """
  if path.suffix.lower() == ".gguf":
    return True
  if not path.is_file():
    return False
  with path.open("rb") as file:
    return file.read(len(MAGIC)) == MAGIC


def read_gguf(
  path: Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
  """Reads a language model's GGUF file.

  Args:
    path: the file, or one of the parts NAME-00001-of-00003.gguf, ... of a network;
      F32, F16 and BF16 are read as they are, and quantised tensors become the
      float32 numbers that they stand for.

  Returns:
    config.json's values, arrays by Hugging Face's names, and the file's fields.

  Raises:
    UserError: if there is no such file, if gguf is not installed; for an
      architecture, quantisation or setting that is not known here, and parts or
      tensors that are missing or superfluous.
    StorageError: for a file that is damaged.
  """
  fields, stored = _opened(path)
  try:
    family = gguf_config.family_of(fields)
    arrays = {one.name: _dequantised(one) for one in stored}
    config = gguf_config.gguf_config(fields, arrays)
    architecture = architecture_of(config)
    table = architecture.table(architecture.build(config))
    tensors = _renamed(arrays, table, config, fields["general.architecture"])
  except UserError as error:
    raise UserError(f"{path}: {error}") from None
  heads = {
    "q_proj": config.get("num_attention_heads"),
    "k_proj": config.get("num_key_value_heads"),
  }
  for name, array in tensors.items():
    part = name.split(".")[-2]
    if family.interleaved and part in heads:
      tensors[name] = _halves_apart(array, heads[part])
    elif family.offset and part.endswith("norm"):
      tensors[name] = array - np.asarray(family.offset, array.dtype)
    elif name.endswith(_CONV1D):
      tensors[name] = array.T
  return config, tensors, fields


def read_gguf_config(path: Path) -> dict[str, Any]:
  """Reads what a GGUF file says of its network, and none of its weights.

  Returns:
    config.json's values.

  Raises:
    UserError, StorageError: as `read_gguf`.
  """
  fields, stored = _opened(path, without=_VOCABULARY)
  try:
    # Shapes alone, but for the few numbers that are settings.
    arrays = {
      one.name: _dequantised(one)
      if one.name in gguf_config.ROPE_TENSORS
      else np.broadcast_to(np.float32(0), [int(x) for x in one.shape[::-1]])
      for one in stored
    }
    return gguf_config.gguf_config(fields, arrays)
  except UserError as error:
    raise UserError(f"{path}: {error}") from None


def _opened(
  path: Path, *, without: Collection[str] = ()
) -> tuple[dict[str, Any], list[Any]]:
  """A network's fields, and its tensors as they are stored, of all its files.

  Args:
    without: names of fields that are not read.
  """
  readers = [_reader(part) for part in _parts(path)]
  # Of several parts the first says what the network is.
  fields = {
    name: field.contents()
    for name, field in readers[0].fields.items()
    if name not in without
  }
  if (count := fields.get("split.count", 1)) != len(readers):
    raise UserError(
      f"{path}: it says that it is one of {count} parts, whose names would end in"
      f" -00001-of-{count:05}.gguf"
    )
  return fields, [one for reader in readers for one in reader.tensors]


def _parts(path: Path) -> list[Path]:
  """The files of a network that its name says is in several, in order.

  Example:
    >>> [part.name for part in _parts(Path("net-00002-of-00002.gguf"))]
    ['net-00001-of-00002.gguf', 'net-00002-of-00002.gguf']
  """
  part = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.gguf", path.name)
  if part is None:
    return [path]
  name, count = part[1], int(part[2])
  return [
    path.with_name(f"{name}-{number:05}-of-{count:05}.gguf")
    for number in range(1, count + 1)
  ]


def _reader(path: Path) -> Any:
  if not path.is_file():
    what = "a folder" if path.exists() else "no file"
    raise UserError(f"{path} is {what}; a GGUF file was expected")
  try:
    import gguf
  except ImportError:
    raise UserError(
      f"reading {path} needs the package gguf; run: pip install 'kdjax[lm]'"
    ) from None

  class Reader(gguf.GGUFReader):
    """The package's, without a memory map of its own for each of a million values."""

    def _get(self, offset, dtype, count=1, override_order=None):
      kind = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
      return np.frombuffer(self.data, kind, int(count), int(offset))

  try:
    return Reader(path)
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from None
  # What views of too few bytes raise, and what the package says itself.
  except (ValueError, IndexError, KeyError, OverflowError, TypeError) as error:
    reason = str(error).splitlines()[0]
    if "GGMLQuantizationType" in reason:
      raise UserError(
        f"{path}: a quantisation that the package gguf does not know: {reason}"
      ) from None
    raise StorageError(f"{path} is damaged or no GGUF file: {reason}") from None


def _dequantised(tensor: Any) -> np.ndarray:
  """A tensor's numbers, (outputs, inputs)."""
  from gguf.quants import dequantize

  kind = tensor.tensor_type.name
  if kind in ("F32", "F16"):
    return np.asarray(tensor.data)
  if kind == "BF16":
    return np.asarray(tensor.data).view(np.uint8).view(jnp.bfloat16)
  try:
    return dequantize(tensor.data, tensor.tensor_type)
  except NotImplementedError:
    raise UserError(
      f"{tensor.name} is stored as {kind}, which the package gguf cannot read"
    ) from None


def _renamed(
  arrays: Mapping[str, np.ndarray],
  table: list[Tensor],
  config: Mapping[str, Any],
  architecture: str,
) -> dict[str, np.ndarray]:
  """Puts Hugging Face's names in the place of GGUF's."""
  import gguf

  numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
  depth = config.get("num_hidden_layers", config.get("n_layer"))
  names = gguf.get_tensor_name_map(numbers[architecture], depth)
  theirs = {
    one.source: names.get_name(one.source, (".weight", ".bias"))
    for one in table
  }
  check_names({*theirs.values()}, arrays, gguf_config.ROPE_TENSORS)
  return {source: arrays[name] for source, name in theirs.items()}


def _halves_apart(array: np.ndarray, heads: int) -> np.ndarray:
  """Orders a head's features for pairs half a head apart.

  Files for interleaved pairs have feature i of the first half beside feature i of
  the second.

  Args:
    array: (heads x width, ...).

  Example:
    >>> _halves_apart(np.arange(8), heads=2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
  """
  pairs = array.reshape(heads, -1, 2, *array.shape[1:])
  return pairs.swapaxes(1, 2).reshape(array.shape)
