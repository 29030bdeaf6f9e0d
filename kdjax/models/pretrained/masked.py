"""Published BERTs with the head of their pretraining, which tells hidden tokens."""

from pathlib import Path
from typing import Any

import numpy as np

from kdjax.core.errors import UserError
from kdjax.core.spec import Spec
from kdjax.models.masked_bert import MaskedBert, masked_bert
from kdjax.models.pretrained.bert import BERT, bert_table, present_names
from kdjax.models.pretrained.encoders import POOLING, bert_module
from kdjax.models.pretrained.files import (
  load_safetensors,
  read_json,
  weights_file,
)
from kdjax.models.pretrained.named import spec_of
from kdjax.models.pretrained.tensors import (
  Tensor,
  linear,
  norm,
  read_parameters,
  shapes_of,
)

_HEAD = "cls.predictions."
_WORDS = "bert.embeddings.word_embeddings.weight"
# The output layer's other names, and what the head of pretraining has besides.
_TIED = {f"{_HEAD}decoder.weight": _WORDS,
         f"{_HEAD}decoder.bias": f"{_HEAD}bias"}  # fmt: skip
_IGNORED = (*_TIED, "bert.pooler.*", "cls.seq_relationship.*")


def load_masked(folder: Path) -> tuple[Spec, dict[str, Any]]:
  """Loads a BERT that tells hidden tokens.

  Args:
    folder: with config.json and safetensors, as Hugging Face has them.

  Returns:
    The network's spec, with as many classes as it has tokens, and its variables.

  Raises:
    UserError: for a folder that has no such network, or one whose output layer is
      not the table of its words.
  """
  config = read_json(folder / "config.json")
  if config.get("model_type") != "bert":
    raise UserError(
      f"{folder}: it is {config.get('model_type')!r}; hidden tokens are told by bert"
    )
  body = bert_module(config | {POOLING: {"pool": "cls"}})
  spec = spec_of(MaskedBert(body))
  module = masked_bert(classes=body.vocabulary, **dict(spec.kwargs))
  if module.body != body.clone(stored=""):
    raise UserError(
      f"{folder}: its config.json has settings that are not known"
    )
  tensors = present_names(load_safetensors(weights_file(folder)))
  if f"{_HEAD}bias" not in tensors:
    raise UserError(
      f"{folder}: it has no head that tells hidden tokens ({_HEAD}*), as BERT has"
      " from its pretraining"
    )
  for name, same in _TIED.items():
    if name in tensors and not np.array_equal(tensors[name], tensors[same]):
      raise UserError(f"{folder}: {name} is not {same}, which it is tied to")
  shapes = shapes_of(module)["params"]
  params = read_parameters(_table(module), tensors, shapes, ignored=_IGNORED)
  return spec, {"params": params}


def _table(module: MaskedBert) -> list[Tensor]:
  return [
    *bert_table(module.body, BERT, "bert."),
    *linear(f"{_HEAD}transform.dense", "head_dense", bias=True),
    *norm(f"{_HEAD}transform.LayerNorm", "head_norm", bias=True),
    Tensor(f"{_HEAD}bias", ("head_bias",)),
  ]
