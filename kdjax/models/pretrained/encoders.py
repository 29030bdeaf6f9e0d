"""What a `config.json` of an encoder says, as our modules' settings."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from kdjax.core.errors import UserError
from kdjax.models.bert import Bert
from kdjax.models.modernbert import ModernBert
from kdjax.models.pretrained.families import layer_types, ropes_by_type
from kdjax.models.pretrained.values import (
  Config,
  activation,
  flag,
  mapping,
  number,
  whole,
)
from kdjax.models.transformer_config import Layer, TransformerConfig

_BERT = {
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "layer_norm_eps": 1e-12,
  "type_vocab_size": 2,
}
DEFAULTS = {
  "bert": _BERT | {"pad_token_id": 0},
  "roberta": _BERT | {"pad_token_id": 1},
  "distilbert": _BERT | {"pad_token_id": 0, "type_vocab_size": 0},
  "modernbert": {
    "classifier_activation": "gelu",
    "classifier_pooling": "cls",
    "global_attn_every_n_layers": 3,
    "hidden_act": "gelu",
    "local_attention": 128,
    "norm_eps": 1e-5,
    "rope_theta": 160_000.0,
    "rope_local_base_freq": 10_000.0,
  },
}
_OTHER_NAMES = {
  "activation": "hidden_act",
  "dim": "hidden_size",
  "dropout": "hidden_dropout_prob",
  "global_rope_theta": "rope_theta",
  "hidden_activation": "hidden_act",
  "hidden_dim": "intermediate_size",
  "local_rope_theta": "rope_local_base_freq",
  "n_heads": "num_attention_heads",
  "n_layers": "num_hidden_layers",
}
# What the reader of a folder adds to a config: how texts are pooled where there
# is no classifier.
POOLING = "_pooling"
_REFUSED = {"is_decoder": False, "add_cross_attention": False}


def bert_module(config: Config) -> Bert:
  """Builds BERT, RoBERTa or DistilBERT.

  Args:
    config: a config.json's values, with `POOLING` where there is no classifier.

  Raises:
    UserError: for a value that is missing, impossible, or of what the encoder
      does not compute.

  Example:
    >>> bert_module({
    ...   "model_type": "distilbert", "dim": 8, "hidden_dim": 16, "n_layers": 2,
    ...   "n_heads": 4, "vocab_size": 11, "max_position_embeddings": 32,
    ... }).pooler_activation
    'relu'
  """
  values = _values(config)
  family = values["model_type"]
  kind = values.get("position_embedding_type", "absolute")
  if kind != "absolute":
    raise UserError(
      f"position_embedding_type is {kind!r}; possible: 'absolute'"
    )
  dropout = values["hidden_dropout_prob"]
  if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
    raise UserError(f"hidden_dropout_prob must be in [0, 1), got {dropout!r}")
  pooling = values.get(POOLING) or {}
  padding = whole(values, "pad_token_id", least=0)
  return Bert(
    vocabulary=whole(values, "vocab_size"),
    **_sizes(values),
    depth=whole(values, "num_hidden_layers"),
    mlp=whole(values, "intermediate_size"),
    positions=whole(values, "max_position_embeddings"),
    classes=0 if pooling else _classes(values),
    pool=pooling.get("pool", "pooler"),
    normalise=pooling.get("normalise", False),
    dropout=dropout,
    segments=whole(values, "type_vocab_size", least=0),
    padding=padding,
    first=padding + 1 if family == "roberta" else 0,
    epsilon=number(values, "layer_norm_eps"),
    activation=activation(values),
    pooler_activation="relu" if family == "distilbert" else "tanh",
    stored=json.dumps(dict(config), sort_keys=True),
  )


def modernbert_module(config: Config) -> ModernBert:
  """Builds ModernBERT.

  Args:
    config: as in `bert_module`.
  """
  values = _values(config)
  sizes = _sizes(values)
  head_width = sizes["width"] // sizes["heads"]
  every = whole(values, "global_attn_every_n_layers")
  ropes = ropes_by_type(values, head_width)
  # Half of it to either side, which still counts.
  window = whole(values, "local_attention", least=2) // 2 + 1
  biased = flag(values, "attention_bias")
  pooling = values.get(POOLING) or {}
  pool = pooling.get("pool", values["classifier_pooling"])
  if pool not in ("cls", "mean"):
    raise UserError(f"classifier_pooling is {pool!r}; possible: 'cls', 'mean'")
  transformer = TransformerConfig(
    vocabulary=whole(values, "vocab_size"),
    **sizes,
    layers=tuple(
      Layer(
        window if kind == "sliding_attention" else None,
        ropes[kind],
        head_width**-0.5,
      )
      for kind in layer_types(values, lambda i: i % every > 0)
    ),
    groups=sizes["heads"],
    head_width=head_width,
    mlp=whole(values, "intermediate_size"),
    positions=whole(values, "max_position_embeddings"),
    embedding_norm=True,
    epsilon=number(values, "norm_eps"),
    centred=True,
    norm_bias=flag(values, "norm_bias"),
    projection_bias=biased,
    out_bias=biased,
    mlp_bias=flag(values, "mlp_bias"),
    activation=activation(values),
    stored=json.dumps(dict(config), sort_keys=True),
  )
  return ModernBert(
    transformer,
    classes=0 if pooling else _classes(values),
    pool=pool,
    head_bias=flag(values, "classifier_bias"),
    head_activation=activation(values, "classifier_activation"),
  )


def pooling_of(
  names: Collection[str], files: Mapping[str, str]
) -> dict[str, Any]:
  """Says how texts are pooled where a file has no classifier.

  Args:
    names: its tensors.
    files: what lies beside it, such as sentence-transformers' modules.json.

  Returns:
    "pool" and "normalise".

  Example:
    >>> pooling_of({"pooler.dense.weight"}, {})
    {'pool': 'pooler', 'normalise': False}
  """
  kinds = [
    str(one.get("type", "")).rpartition(".")[2]
    for one in json.loads(files.get("modules.json", "[]"))
  ]
  pooling = json.loads(files.get("1_Pooling/config.json", "{}"))
  pooler = any(name.endswith("pooler.dense.weight") for name in names)
  pool = "pooler" if pooler else "cls"
  if "Pooling" in kinds:
    pool = "mean" if pooling.get("pooling_mode_mean_tokens") else "cls"
  return {"pool": pool, "normalise": "Normalize" in kinds}


def _values(config: Config) -> dict[str, Any]:
  values = {_OTHER_NAMES.get(key, key): x for key, x in config.items()}
  values = DEFAULTS[config["model_type"]] | {
    key: x for key, x in values.items() if x is not None
  }
  for name, fine in _REFUSED.items():
    if values.get(name, fine) != fine:
      raise UserError(f"{name} is {values[name]}; possible: false")
  return values


def _sizes(values: Config) -> dict[str, int]:
  width = whole(values, "hidden_size")
  heads = whole(values, "num_attention_heads")
  if width % heads:
    raise UserError(
      f"num_attention_heads must divide hidden_size {width}, got {heads}"
    )
  return {"width": width, "heads": heads}


def _classes(values: Config) -> int:
  named = mapping(values, "id2label")
  return len(named) or whole({"num_labels": 2, **values}, "num_labels")
