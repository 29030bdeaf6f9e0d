"""Files of published weights: one, a folder, or shards with their index."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.models.export import untrusted

# What Hugging Face calls the list of shards, and a file that is whole.
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
# safetensors' names of types.
TYPES = {
  "F64": np.float64, "F32": np.float32, "F16": np.float16,
  "BF16": jnp.bfloat16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
  "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
# What stands in a file's place where its content was not fetched.
POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype", b"<html")
# What wrappers call the network inside: of DataParallel, torch.compile,
# Lightning, timm in transformers, self-supervised training and the like.
WRAPPERS = {
  "module", "_orig_mod", "model", "backbone", "net", "network", "timm_model",
  "base_model", "student", "teacher", "ema", "encoder",
}  # fmt: skip
COUNTER = "n_averaged"


def load_safetensors(
  path: Path, *, mapped: bool = False
) -> dict[str, np.ndarray]:
  """Reads the tensors of a safetensors file, or of several.

  Args:
    path: the file; a `*.safetensors.index.json`, which names its shards; or a
      folder that holds either.
    mapped: whether tensors stay in the file until they are looked at, so that
      no more of them is in memory than that: copy what is kept.

  Returns:
    Arrays by name, in the types that they are stored in.

  Raises:
    UserError: if there is no such file, if it is a pickle or an archive, which
      could run code when read, if it stands for another one (Git-LFS's pointer,
      a web page), or if safetensors is not installed.
    StorageError: if it is cut off or no safetensors file at all, or if a shard
      lacks what the index says.
  """
  path = weights_file(Path(path))
  if path.suffix != ".json":
    return _load_one(path, mapped)
  tensors = {}
  for name, names in _shards(path):
    shard = _load_one(path.with_name(name), mapped)
    if missing := names - shard.keys():
      raise StorageError(
        f"{path.with_name(name)} lacks {min(missing)}, which {path.name} says"
        " is there"
      )
    tensors |= {one: shard[one] for one in sorted(names)}
  return tensors


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes tensors as transformers reads them.

  Args:
    tensors: arrays by name, in the types to be stored.
  """
  from safetensors.numpy import save_file

  arrays = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
  save_file(arrays, path, metadata={"format": "pt"})


def weights_file(path: Path) -> Path:
  """Finds the weights in a folder.

  Args:
    path: a folder, or a file of weights.

  Returns:
    The index of the shards, the one safetensors file, or the path itself.

  Example:
    >>> weights_file(Path("resnet18.safetensors")).name
    'resnet18.safetensors'
  """
  if not path.is_dir():
    return path
  for name in (INDEX, WHOLE):
    if (path / name).is_file():
      return path / name
  files = sorted(path.glob("*.safetensors"))
  if len(files) == 1:
    return files[0]
  if files:
    raise UserError(
      f"{path} holds {len(files)} safetensors files and no {INDEX}; name one,"
      f" such as {files[0]}"
    )
  for file in sorted(path.iterdir()):
    if file.suffix.lower() in untrusted.PICKLES:
      untrusted.check_file(file, b"")
  raise UserError(f"{path} is a folder without a safetensors file")


def read_config(path: Path) -> dict[str, Any]:
  """Reads what stands beside weights about their network.

  Args:
    path: the file or folder of the weights.

  Returns:
    config.json's values, with those of preprocessor_config.json and of the
    safetensors file's own metadata where config.json has none; {} for none.
  """
  path = weights_file(Path(path))
  config = {} if path.suffix == ".json" else _metadata(path)
  for name in ("preprocessor_config.json", "config.json"):
    if (path.parent / name).is_file():
      config |= read_json(path.parent / name)
  return config


def common_prefix(names: Iterable[str]) -> str:
  """Finds what wrappers of modules have put in front of all names.

  Returns:
    Whole parts with their dots; "" for none. The counter of an averaged model
    is passed over: it is the wrapper's own.
  """
  parts = [name.split(".") for name in names if name != COUNTER]
  same = []
  for column in zip(*parts, strict=False):
    if len(set(column)) > 1 or column[0] not in WRAPPERS:
      break
    same.append(column[0])
  return "".join(f"{part}." for part in same)


def _load_one(path: Path, mapped: bool) -> dict[str, np.ndarray]:
  untrusted.check_file(path, _beginning(path)[:9])
  try:
    import safetensors
  except ImportError:
    raise UserError(
      f"reading {path} needs safetensors: pip install 'safetensors>=0.5'"
    ) from None
  try:
    # Holds the header to the file; its arrays are not those of every type here.
    with safetensors.safe_open(path, "numpy"):
      pass
  except (safetensors.SafetensorError, OSError) as error:
    raise StorageError(
      f"{path} is damaged or no safetensors file: {error}"
    ) from None
  data = np.memmap(path, np.uint8, "r") if mapped else np.fromfile(path, "u1")
  start = 8 + int.from_bytes(data[:8].tobytes(), "little")
  header = json.loads(data[8:start].tobytes())
  header.pop("__metadata__", None)
  tensors = {}
  for name, about in header.items():
    if about["dtype"] not in TYPES:
      raise UserError(
        f"{path}: {name} is stored as {about['dtype']}; possible:"
        f" {', '.join(TYPES)}"
      )
    first, last = (start + offset for offset in about["data_offsets"])
    flat = np.asarray(data[first:last]).view(TYPES[about["dtype"]])
    tensors[name] = flat.reshape(about["shape"])
  return tensors


def _read(path: Path) -> bytes:
  _beginning(path)
  return path.read_bytes()


def _beginning(path: Path) -> bytes:
  """The first bytes of a file, if it is no other's stand-in."""
  try:
    with path.open("rb") as file:
      data = file.read(64)
  except FileNotFoundError:
    raise UserError(f"there is no file {path}") from None
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from None
  if data.startswith(POINTER):
    raise UserError(
      f"{path} is a Git-LFS pointer of {path.stat().st_size} bytes, not the file"
      " itself; git lfs pull fetches that"
    )
  if data[:64].lstrip().lower().startswith(PAGES):
    raise UserError(
      f"{path} is a web page that was saved under this name, not the file itself"
    )
  return data


def read_json(path: Path) -> dict[str, Any]:
  """Reads a file that holds one JSON object."""
  try:
    value = json.loads(_read(path))
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is no JSON: {error}") from None
  if not isinstance(value, dict):
    raise UserError(f"{path} is no JSON object")
  return value


def _shards(path: Path) -> Iterator[tuple[str, set[str]]]:
  """The shards' files, each with the names of its tensors."""
  places = read_json(path).get("weight_map")
  if not isinstance(places, dict) or not places:
    raise UserError(f"{path} has no weight_map: it is no list of shards")
  files = {}
  for name, file in places.items():
    plain = isinstance(file, str) and Path(file).name == file
    if not plain or file in ("", "..") or "\0" in file:
      raise UserError(f"{path}: {file!r} is no file beside it")
    files.setdefault(file, set()).add(name)
  yield from sorted(files.items())


def _metadata(path: Path) -> dict[str, Any]:
  """What a safetensors file says of itself; its values are texts."""
  try:
    with path.open("rb") as file:
      length = int.from_bytes(file.read(8), "little")
      # safetensors' own bound: no memory for what is no header.
      header = json.loads(file.read(length)) if length < 100_000_000 else {}
  except (OSError, ValueError, RecursionError):
    return {}
  texts = header.get("__metadata__") if isinstance(header, dict) else None
  metadata = {}
  for name, text in texts.items() if isinstance(texts, dict) else ():
    try:
      metadata[name] = json.loads(text)
    except (TypeError, ValueError):
      metadata[name] = text
  inner = metadata.get("config")
  return metadata | inner if isinstance(inner, dict) else metadata
