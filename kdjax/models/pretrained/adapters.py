"""Adapters as PEFT reads them: adapter_config.json and adapter_model.safetensors."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from kdjax.core.errors import StorageError, UserError
from kdjax.models.lora import Lora, adapters_of
from kdjax.models.pretrained.architectures import architecture_of, config_of
from kdjax.models.pretrained.files import write_safetensors
from kdjax.models.pretrained.tensors import Tensor
from kdjax.taps.network import Network

_PREFIX = "base_model.model."


def save_adapters(
  folder: Path,
  network: Network,
  variables: Mapping[str, Any],
  lora: Lora,
  *,
  base: str | None = None,
) -> None:
  """Writes adapters as PEFT's `PeftModel.from_pretrained(base, folder)` loads them.

  Where transformers has one layer for several of ours (GPT-2's c_attn, Phi-3's
  qkv_proj), theirs gets the adapters of all, of the sum of their ranks.

  Args:
    folder: a new folder, or an empty one.
    network: without adapters, of `load`.
    variables: with adapters, of `with_lora`.
    base: where the network without adapters is, for who reads the config.

  Raises:
    UserError: for a network without a config.json, and for a folder that holds
      something.
    StorageError: where the disk does not take it.
  """
  config = config_of(network.module)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f"{folder} holds something already; name a new folder")
  adapters = {
    "/".join((*path, "kernel")): (np.asarray(a), np.asarray(b))
    for path, (a, b) in adapters_of(variables).items()
  }
  ids = {"tokens": jax.ShapeDtypeStruct((1, 1), np.int32)}
  shapes = traverse_util.flatten_dict(
    jax.eval_shape(network.init, jax.random.key(0), ids)["params"], sep="/"
  )
  tensors, ranks = {}, {}
  table = architecture_of(config).table(network.module)
  adapted = [one for one in table if adapters.keys() & {*one.targets}]
  for one in adapted:
    name = one.source.removesuffix(".weight")
    a, b = _joined(one, adapters, shapes)
    tensors[f"{_PREFIX}{name}.lora_A.weight"] = np.ascontiguousarray(a.T)
    tensors[f"{_PREFIX}{name}.lora_B.weight"] = np.ascontiguousarray(b.T)
    # "attn.c_proj" and "mlp.c_proj" are two layers.
    ranks[".".join(name.split(".")[-2:])] = a.shape[1]
  patterns = {name: rank for name, rank in ranks.items() if rank != lora.rank}
  settings = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": base,
    "r": lora.rank,
    "lora_alpha": lora.scale * lora.rank,
    "lora_dropout": 0.0,
    "bias": "none",
    "fan_in_fan_out": not adapted[0].outputs_first,
    "target_modules": sorted(ranks),
    "rank_pattern": patterns,
    "alpha_pattern": {
      name: lora.scale * rank for name, rank in patterns.items()
    },
    "inference_mode": True,
  }
  try:
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "adapter_config.json").write_text(text)
  except OSError as error:
    raise StorageError(f"cannot write {folder}: {error.strerror}") from error


def _joined(
  one: Tensor,
  adapters: Mapping[str, tuple[np.ndarray, np.ndarray]],
  shapes: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
  """A and B of a published layer, whose outputs are those of ours in a row."""
  own = [adapters[target] for target in one.targets if target in adapters]
  a = np.concatenate([a for a, _ in own], axis=1)
  columns, first = [], 0
  for target in one.targets:
    size = math.prod(shapes[target].shape[one.inputs :])
    column = np.zeros((a.shape[1], size), a.dtype)
    if target in adapters:
      b = adapters[target][1]
      column[first : first + len(b)] = b
      first += len(b)
    columns.append(column)
  return a, np.concatenate(columns, axis=1)
