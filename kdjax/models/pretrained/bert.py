"""Encoders' published weights by their Hugging Face names, as linen parameters."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from kdjax.models.bert import Bert
from kdjax.models.modernbert import ModernBert
from kdjax.models.pretrained.files import common_prefix
from kdjax.models.pretrained.tensors import (
  Tensor,
  embedding,
  linear,
  norm,
  read_parameters,
  shapes_of,
)

# Of the training task, or left out: a file may hold them beyond the model's.
OPTIONAL = ("cls.*", "pooler.*", "bert.pooler.*", "classifier.*", "lm_head.*")
OPTIONAL_MODERN = ("decoder.*", "head.*", "classifier.*")
OPTIONAL_DISTIL = ("vocab_*", "pre_classifier.*", "classifier.*")
# Old files, converted from TensorFlow, call a normalisation's parameters so.
_OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # fmt: skip


class Dialect(NamedTuple):
  """What a library's BERT calls its parts.

  Attributes:
    block: before the names of a block, with a place for its number.
    projections: of queries, keys and values.
    parts: name by layer of our block.
    pooler: the dense layer before the classifier.
    head: the classifier.
  """

  block: str
  projections: tuple[str, str, str]
  parts: Mapping[str, str]
  pooler: str = "pooler.dense"
  head: str = "classifier"


BERT = Dialect(
  block="encoder.layer.{}.",
  projections=tuple(
    f"attention.self.{part}" for part in ("query", "key", "value")
  ),
  parts={
    "attention/out": "attention.output.dense",
    "norm_0": "attention.output.LayerNorm",
    "mlp/dense_0": "intermediate.dense",
    "mlp/dense_1": "output.dense",
    "norm_1": "output.LayerNorm",
  },
)
ROBERTA = BERT._replace(pooler="classifier.dense", head="classifier.out_proj")
DISTILBERT = Dialect(
  block="transformer.layer.{}.",
  projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
  parts={
    "attention/out": "attention.out_lin",
    "norm_0": "sa_layer_norm",
    "mlp/dense_0": "ffn.lin1",
    "mlp/dense_1": "ffn.lin2",
    "norm_1": "output_layer_norm",
  },
  pooler="pre_classifier",
)


def from_hugging_face(
  tensors: Mapping[str, np.ndarray], model: Bert
) -> dict[str, Any]:
  """Turns the tensors of a `BertModel` into parameters of `bert`.

  Accepts the bare encoder's names, those below `bert.` and those with a
  wrapper's name in front of all (`module.` and the like). A pooler, or a head
  of the training task, is left out where the model has none.

  Args:
    tensors: arrays by published name, as a safetensors file holds them.
    model: the module that the parameters are for.

  Returns:
    Nested dict, float32, for `model.apply({"params": ...}, tokens)`. Without
    "head" if the tensors have none: that is to be trained.
  """
  prefix = common_prefix(tensors)
  present = present_names(
    {name.removeprefix(prefix): value for name, value in tensors.items()},
  )
  present = {name.removeprefix("bert."): x for name, x in present.items()}
  table = bert_table(model, BERT)
  if "classifier.weight" not in present:
    table = [one for one in table if not one.targets[0].startswith("head/")]
  shapes = shapes_of(model)["params"]
  return read_parameters(table, present, shapes, ignored=OPTIONAL)


def present_names(
  tensors: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """Puts today's names in the place of those from TensorFlow.

  Example:
    >>> list(present_names({"embeddings.LayerNorm.gamma": 0}))
    ['embeddings.LayerNorm.weight']
  """
  today = {}
  for name, value in tensors.items():
    for old, new in _OLD.items():
      name = name.replace(old, new)
    today[name] = value
  return today


def bert_table(model: Bert, dialect: Dialect, prefix: str = "") -> list[Tensor]:
  """Returns the table of an encoder's published tensors.

  Args:
    prefix: before the names of the body.

  Example:
    >>> bert_table(Bert(5, 4, 0, 2, 8, positions=3, classes=0), BERT)[0].source
    'embeddings.word_embeddings.weight'
  """
  words = {"word": "tokens", "position": "positions", "token_type": "segments"}
  if not model.segments:
    words.pop("token_type")
  table = [
    embedding(f"embeddings.{name}_embeddings", f"stem/{part}")
    for name, part in words.items()
  ]
  table += norm("embeddings.LayerNorm", "stem/norm_0", bias=True)
  for i in range(model.depth):
    source, target = dialect.block.format(i), f"stage_{i}/"
    for theirs, part in zip(
      dialect.projections, ("query", "key", "value"), strict=True
    ):
      table += linear(source + theirs, f"{target}attention/{part}", bias=True)
    for part, theirs in dialect.parts.items():
      if part.startswith("norm"):
        table += norm(source + theirs, target + part, bias=True)
        continue
      inputs = 2 if part == "attention/out" else 1
      table += linear(source + theirs, target + part, bias=True, inputs=inputs)
  head = []
  if model.pool == "pooler":
    pooler = linear(dialect.pooler, "pooler", bias=True)
    # BERT's is a part of its body, the others' of their classifiers.
    if dialect.pooler == BERT.pooler:
      table += pooler
    else:
      head += pooler
  if model.classes:
    head += linear(dialect.head, "head", bias=True)
  return [*(x._replace(source=prefix + x.source) for x in table), *head]


def modernbert_table(model: ModernBert) -> list[Tensor]:
  """Returns the table of a ModernBERT's published tensors."""
  config, bias = model.config, model.config.norm_bias
  table = [embedding("embeddings.tok_embeddings", "stem/tokens")]
  table += norm("embeddings.norm", "stem/norm", bias=bias)
  for i in range(len(config.layers)):
    source, target = f"layers.{i}.", f"stage_{i}/"
    projections = [
      f"{target}attention/{part}" for part in ("query", "key", "value")
    ]
    table += norm(f"{source}attn_norm", f"{target}norm_0", bias=bias) * (i > 0)
    table += norm(f"{source}mlp_norm", f"{target}norm_1", bias=bias)
    table += linear(
      f"{source}attn.Wqkv", projections, bias=config.projection_bias
    )
    table += linear(
      f"{source}attn.Wo",
      f"{target}attention/out",
      bias=config.out_bias,
      inputs=2,
    )
    table += linear(
      f"{source}mlp.Wi",
      [f"{target}mlp/gate", f"{target}mlp/dense_0"],
      bias=config.mlp_bias,
    )
    table += linear(
      f"{source}mlp.Wo", f"{target}mlp/dense_1", bias=config.mlp_bias
    )
  table += norm("final_norm", "norm", bias=bias)
  table = [one._replace(source=f"model.{one.source}") for one in table]
  if model.classes:
    table += linear("head.dense", "head_dense", bias=model.head_bias)
    table += norm("head.norm", "head_norm", bias=bias)
    table += linear("classifier", "head", bias=True)
  return table


def has_classifier(names: Collection[str]) -> bool:
  """Says whether a file has a classifier of whole texts.

  Example:
    >>> has_classifier({"classifier.out_proj.weight"}), has_classifier({"x"})
    (True, False)
  """
  return bool({"classifier.weight", "classifier.out_proj.weight"} & set(names))
