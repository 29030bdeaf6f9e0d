"""Language models of others, as networks: loaded, and written back."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_function, check_kind, check_path
from kdjax.core.errors import StorageError, UserError, unknown_name
from kdjax.models import quantized
from kdjax.models.pretrained.architectures import (
  Architecture,
  architecture_of,
  config_of,
)
from kdjax.models.pretrained.bert import has_classifier, present_names
from kdjax.models.pretrained.encoders import POOLING, pooling_of
from kdjax.models.pretrained.files import (
  WHOLE,
  load_safetensors,
  read_json,
  weights_file,
  write_safetensors,
)
from kdjax.models.pretrained.gguf import is_gguf, read_gguf
from kdjax.models.pretrained.packages import PREFIX, package_path
from kdjax.models.pretrained.tensors import (
  Tensor,
  read_parameters,
  shapes_of,
  write_tensors,
)
from kdjax.models.tokenizers import (
  save_tokenizer,
  tokenizer_of_folder,
  tokenizer_of_gguf,
)
from kdjax.models.tokenizers.files import GENERATION
from kdjax.taps.network import Network, from_linen

# Nested variables of the host -> the same on devices.
Put = Callable[[Any], Any]
DTYPES = ("float32", "bfloat16", "float16")


class Pretrained(NamedTuple):
  """A network that was trained elsewhere, and what belongs to it.

  Attributes:
    network: takes {"tokens": (B, T) int32, "mask": (B, T) bool} and, optionally,
      "segments" (B, T); decoders give (B, T, V), encoders (B, C).
    variables: its arrays by collection.
    config: config.json's values.
    tokenizer: what makes its tokens of text; None where there is none.
  """

  network: Network
  variables: dict[str, Any]
  config: dict[str, Any]
  tokenizer: Any = None


def load(
  where: str | Path, *, dtype: str | None = None, put: Put | None = None
) -> Pretrained:
  """Loads a language model, with its numbers as they are.

  Args:
    where: a folder with config.json and safetensors, as Hugging Face has them, or
      a GGUF file; or an installed package, "package:smollm2",
      "package:gemma3-270m" or "package:minilm-l6".
    dtype: of the variables, "float32", "bfloat16" or "float16", in which the
      network computes; None for float32, and for writing it back as it was
      stored.
    put: lays variables out over devices, such as
      `kdjax.sharded(mesh, rules).put`. It gets one array at a time, read from its
      place in the safetensors files: the network is never whole on the host, nor
      on one device. None for the default device.

  Returns:
    The network with its variables, config and tokenizer.

  Raises:
    UserError: for a folder or file that is not there or that could run code; an
      unknown model_type; a folder's weights that are quantised; tensors that are
      missing, superfluous or of another shape. Names the file and the tensor.
    StorageError: for a damaged file.
  """
  if dtype is not None and dtype not in DTYPES:
    raise unknown_name("dtype", str(dtype), DTYPES)
  check_path("where", where)
  package = str(where).startswith(PREFIX)
  path = package_path(where.removeprefix(PREFIX)) if package else Path(where)
  if put is not None:
    check_function("put", put)
  return (_load_gguf if is_gguf(path) else _load_folder)(path, dtype, put)


def save(
  folder: str | Path, network: Network, variables: Any, *, tokenizer: Any = None
) -> None:
  """Writes a language model as transformers loads it.

  Numbers are stored in the type that the network was stored in, where all of a
  tensor's have one there, and else in their own: nothing is rounded, and what is
  loaded and written again is bit for bit the same.

  Args:
    folder: a new folder, or an empty one.
    network: of `load`.
    variables: its arrays.
    tokenizer: its tokenizer, whose files are written too; None for none.

  Raises:
    UserError: for a network without a config.json, and for a folder that holds
      something.
    StorageError: where the disk does not take it.
  """
  check_path("folder", folder)
  check_kind("network", network, "network")
  variables = network.collections(variables)
  config, folder = config_of(network.module), Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f"{folder} holds something already; name a new folder")
  architecture = architecture_of(config)
  table = architecture.table(network.module)
  tensors = write_tensors(table, variables["params"])
  dtypes, files = config.pop(STORED_DTYPES, {}), config.pop(_FILES, {})
  config.pop(POOLING, None)
  tensors = {
    name: _as_stored(array, dtypes.get(name) or dtypes.get("*"))
    for name, array in tensors.items()
  }
  common_dtype = _most_common(tensors)
  if common_dtype != dtypes.get("*"):
    config |= {_dtype_key(config): common_dtype}
  try:
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WHOLE, tensors)
    text = json.dumps(config, indent=2) + "\n"
    for name, content in {**files, "config.json": text}.items():
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_text(content)
    # safetensors makes a file that its owner alone reads.
    (folder / WHOLE).chmod((folder / "config.json").stat().st_mode)
    if tokenizer is not None:
      save_tokenizer(folder, tokenizer)
      if architecture.about == "decoder":
        _write_ends(folder / GENERATION, config, tokenizer)
  except OSError as error:
    raise StorageError(f"cannot write {folder}: {error.strerror}") from error


def _write_ends(path: Path, config: Mapping[str, Any], tokenizer: Any) -> None:
  """Says what ends a text where nothing else does, or nothing would end one."""
  if path.exists() or config.get("eos_token_id") is not None:
    return
  ids = {
    "bos_token_id": tokenizer.bos,
    "eos_token_id": [*tokenizer.eos] or None,
    "pad_token_id": tokenizer.pad,
  }
  path.write_text(json.dumps(ids, indent=2) + "\n")


# In a config.json of ours: the scheme of few bits that a network computes in where
# its numbers do not tell, as its activations are rounded too.
COMPUTES_IN = "kdjax_quantization"


def network_of(module: nn.Module) -> Network:
  """Makes the network of a module that is called with tokens.

  Raises:
    UserError: for a config that names an unknown scheme of few bits.
  """
  scheme = config_of(module).get(COMPUTES_IN, quantized.NONE)
  if scheme not in (quantized.NONE, *quantized.SCHEMES):
    raise unknown_name(COMPUTES_IN, str(scheme), quantized.SCHEMES)
  return from_linen(quantized.learns_in(module, scheme))


def in_few_bits(network: Network, scheme: str) -> Network:
  """Makes the network that computes in few bits, and is stored and loaded so.

  Args:
    network: of `load`, in float32.
    scheme: of `quantized.SCHEMES`.
  """
  config = config_of(network.module) | {COMPUTES_IN: scheme}
  return network_of(architecture_of(config).build(config))


def fill(
  architecture: Architecture,
  config: Mapping[str, Any],
  tensors: Mapping[str, np.ndarray],
  dtype: str | None,
  put: Put | None = None,
) -> tuple[Network, dict[str, Any]]:
  """Builds the network of a config and fills it with published tensors.

  Args:
    config: config.json's values.
    tensors: arrays by published name, with or without the body's prefix.

  Returns:
    The network, and its variables.
  """
  module = architecture.build(config)
  table = architecture.table(module)
  tensors = _with_prefix(tensors, table, architecture.prefix)
  _check_tied(tensors, table)
  params = read_parameters(
    table,
    tensors,
    shapes_of(module)["params"],
    dtype=dtype or jnp.float32,
    ignored=(*architecture.ignored, *_TIED),
    put=put,
  )
  return network_of(module), {"params": params}


# A file may repeat the embedding where it is the output layer too.
_TIED = ("lm_head.weight",)
# Beside a config's own values: what each tensor is stored in, "*" for most.
STORED_DTYPES = "_stored_dtypes"
# What else lies beside the weights, as texts by name, and is written again.
_FILES = "_files"
NOTES = (STORED_DTYPES, _FILES, POOLING)
_BESIDE = (
  "generation_config.json", "modules.json", "1_Pooling/config.json",
  "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip


def _load_folder(
  folder: Path, dtype: str | None, put: Put | None
) -> Pretrained:
  config = _read_config(folder)
  try:
    architecture = architecture_of(config)
    architecture.build(config)
  except UserError as error:
    raise UserError(f"{folder / 'config.json'}: {error}") from None
  path = weights_file(folder)
  files = {
    name: (folder / name).read_text()
    for name in _BESIDE
    if (folder / name).is_file()
  }
  tensors = present_names(load_safetensors(path, mapped=True))
  network, variables = _filled(path, config, tensors, files, dtype, put)
  tokenizer = tokenizer_of_folder(folder)
  _check_vocabulary(folder, tokenizer, network)
  return Pretrained(network, variables, config, tokenizer)


def _load_gguf(path: Path, dtype: str | None, put: Put | None) -> Pretrained:
  config, tensors, fields = read_gguf(path)
  config["dtype"] = _most_common(tensors)
  network, variables = _filled(path, config, tensors, {}, dtype, put)
  tokenizer = None
  if fields.get("tokenizer.ggml.model", "none") not in ("none", "no_vocab"):
    tokenizer = tokenizer_of_gguf(fields, str(path))
  _check_vocabulary(path, tokenizer, network)
  return Pretrained(network, variables, config, tokenizer)


def _check_vocabulary(path: Path, tokenizer: Any, network: Network) -> None:
  """Refuses a tokenizer of another network, of which there are ids too many.

  Those that were added to its vocabulary do not count: Gemma 3 has one for
  pictures that its networks of text alone lack.
  """
  vocabulary = getattr(network.module, "config", network.module).vocabulary
  tokens = (
    tokenizer.backend.get_vocab_size(with_added_tokens=False)
    if tokenizer
    else 0
  )
  if tokens > vocabulary:
    raise UserError(
      f"{path}: its tokenizer has {tokens} tokens, its network {vocabulary}"
      " (vocab_size): it is another network's"
    )


def _filled(
  path: Path,
  config: dict[str, Any],
  tensors: Mapping[str, np.ndarray],
  files: Mapping[str, str],
  dtype: str | None,
  put: Put | None,
) -> tuple[Network, dict[str, Any]]:
  """The network of a config, with what writing it again needs, and its variables."""
  if dtype:
    config |= {_dtype_key(config): dtype}
  notes = {STORED_DTYPES: _stored_dtypes(tensors, dtype), _FILES: files}
  architecture = architecture_of(config)
  if architecture.about == "encoder" and not has_classifier(tensors):
    notes[POOLING] = pooling_of(tensors, files)
  try:
    return fill(architecture, config | notes, tensors, dtype, put)
  except UserError as error:
    raise UserError(f"{path}: {error}") from None


def _read_config(folder: Path) -> dict[str, Any]:
  if not folder.is_dir():
    kind = "a file" if folder.exists() else "no folder"
    raise UserError(
      f"{folder} is {kind}; a language model is a folder with config.json and"
      " model.safetensors, or a .gguf file"
    )
  return read_json(folder / "config.json")


def _with_prefix(
  tensors: Mapping[str, np.ndarray], table: list[Tensor], prefix: str
) -> dict[str, np.ndarray]:
  """Puts the body's prefix before names that lack it."""
  expected_names = {one.source for one in table}
  return {
    prefix + name
    if name not in expected_names and prefix + name in expected_names
    else name: x
    for name, x in tensors.items()
  }


def _check_tied(tensors: Mapping[str, np.ndarray], table: list[Tensor]) -> None:
  """Refuses a head of its own where the config says that it is the embedding."""
  head = tensors.get(_TIED[0])
  if head is None or any(one.source == _TIED[0] for one in table):
    return
  source = table[0].source
  if source in tensors and not np.array_equal(head, tensors[source]):
    raise UserError(
      f"{_TIED[0]} is not {source}, but the config says that they are the same"
      " (tie_word_embeddings)"
    )


def _stored_dtypes(
  tensors: Mapping[str, np.ndarray], dtype: str | None
) -> dict[str, str]:
  common_dtype = dtype or _most_common(tensors)
  others = (
    {}
    if dtype
    else {
      name: x.dtype.name
      for name, x in tensors.items()
      if x.dtype.name != common_dtype and jnp.issubdtype(x.dtype, jnp.floating)
    }
  )
  return {"*": common_dtype} | others


def _most_common(tensors: Mapping[str, np.ndarray]) -> str:
  return Counter(x.dtype.name for x in tensors.values()).most_common(1)[0][0]


def _dtype_key(config: Mapping[str, Any]) -> str:
  return "torch_dtype" if "torch_dtype" in config else "dtype"


def _as_stored(array: np.ndarray, dtype: str | None) -> np.ndarray:
  """Returns an array in a type, or as it is where that would round it."""
  if dtype is None or array.dtype.name == dtype:
    return array
  cast = array.astype(jnp.dtype(dtype))
  return cast if np.array_equal(cast.astype(array.dtype), array) else array
