"""The published architectures that can be read and written: `model_type` by name."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from kdjax.core.errors import UserError, unknown_name
from kdjax.models.decoder import Decoder
from kdjax.models.pretrained import bert, decoders, encoders, families
from kdjax.models.pretrained.tensors import Tensor


class Architecture(NamedTuple):
  """How a `model_type` becomes a module of ours, and back.

  Attributes:
    build: config.json's values -> the module.
    table: the module -> its published tensors.
    prefix: before the names of the body, in files of a whole network.
    ignored: patterns of tensors that a file may hold beyond the module's.
    about: what it is, in a line.
  """

  build: Callable[[Mapping[str, Any]], nn.Module]
  table: Callable[[nn.Module], list[Tensor]]
  prefix: str
  ignored: tuple[str, ...] = ()
  about: str = "decoder"


def architecture_of(config: Mapping[str, Any]) -> Architecture:
  """Finds the architecture that a config.json names.

  Raises:
    UserError: for a model_type that is not known, for quantised weights, and
      for a network whose code lies beside its weights.
  """
  if config.get("quantization_config"):
    raise UserError(
      "its weights are quantised (quantization_config); most publishers have them"
      " in bfloat16 or float32 too"
    )
  if config.get("auto_map"):
    raise UserError(
      "its network is code of its own (auto_map), which is not run here"
    )
  kind = config.get("model_type")
  if not isinstance(kind, str) or kind not in ARCHITECTURES:
    raise unknown_name("model_type", str(kind), ARCHITECTURES)
  return ARCHITECTURES[kind]


def config_of(module: nn.Module | None) -> dict[str, Any]:
  """Returns the config.json that a module was built from.

  Raises:
    UserError: for a module that was built otherwise, which nobody else reads.
  """
  config_text = getattr(getattr(module, "config", module), "stored", "")
  if not config_text:
    raise UserError(
      f"{type(module).__name__} was not built from a config.json, so that there"
      " is none to write; networks of kdjax.pretrained.load have one"
    )
  return json.loads(config_text)


def _decoder(family: str) -> Architecture:
  return Architecture(
    build=lambda config: Decoder(families.decoder_config(config)),
    table=lambda module: decoders.decoder_table(family, module.config),
    prefix=decoders.PREFIXES.get(family, decoders.PREFIX),
  )


def _bert(family: str, dialect: bert.Dialect, ignored=bert.OPTIONAL):
  prefix = f"{family}."
  return Architecture(
    build=encoders.bert_module,
    table=lambda module: bert.bert_table(module, dialect, prefix),
    prefix=prefix,
    ignored=(*ignored, *(prefix + name for name in ignored)),
    about="encoder",
  )


ARCHITECTURES = {family: _decoder(family) for family in families.DEFAULTS} | {
  "bert": _bert("bert", bert.BERT),
  "roberta": _bert("roberta", bert.ROBERTA),
  "distilbert": _bert("distilbert", bert.DISTILBERT, bert.OPTIONAL_DISTIL),
  "modernbert": Architecture(
    build=encoders.modernbert_module,
    table=bert.modernbert_table,
    prefix="model.",
    ignored=bert.OPTIONAL_MODERN,
    about="encoder",
  ),
}

# What every architecture makes a small module of.
_SMALL = {
  "head_dim": 2,
  "hidden_size": 4,
  "intermediate_size": 4,
  "max_position_embeddings": 8,
  "num_attention_heads": 2,
  "num_hidden_layers": 2,
  "num_key_value_heads": 1,
  "vocab_size": 3,
}


def tensor_names(model_type: str) -> list[str]:
  """Lists what the weights of an architecture are called in files.

  Args:
    model_type: of `ARCHITECTURES`.

  Returns:
    Names without ".weight" and ".bias", with N for the number of a block.

  Example:
    >>> tensor_names("llama")[:3]
    ['model.embed_tokens', 'model.norm', 'model.layers.N.self_attn.q_proj']
  """
  architecture = ARCHITECTURES[model_type]
  module = architecture.build({"model_type": model_type, **_SMALL})
  names = [
    re.sub(r"\.\d+\.", ".N.", one.source.rpartition(".")[0])
    for one in architecture.table(module)
  ]
  return [*dict.fromkeys(names)]
