"""BERT's published weights by their Hugging Face names, as linen parameters."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from kdjax.core.errors import UserError
from kdjax.models.bert import Bert
from kdjax.models.pretrained.files import common_prefix
from kdjax.models.pretrained.layouts import (
  Entry,
  dense_entries,
  heads_bias,
  heads_kernel,
  joined_heads_kernel,
  norm_entries,
  same,
)

# Not weights, or of the training task: a file may hold them beyond the model's.
_OPTIONAL = re.compile(r"embeddings\.position_ids|(cls|pooler|classifier)\..*")
# Old files, converted from TensorFlow, call a normalisation's parameters so.
_OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # fmt: skip


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
  given = {
    _present_name(name.removeprefix(prefix)): value
    for name, value in tensors.items()
  }
  table = entries(model)
  if "classifier.weight" not in given:
    table = [one for one in table if not one.target.startswith("params/head/")]
  _check_names({one.source for one in table}, given)
  ids = jax.ShapeDtypeStruct((1, 1), np.int32)
  shapes = traverse_util.flatten_dict(
    jax.eval_shape(model.init, jax.random.key(0), ids), sep="/"
  )
  flat = {
    one.target: _lay_out(one, given[one.source], shapes[one.target].shape)
    for one in table
  }
  return traverse_util.unflatten_dict(flat, sep="/")["params"]


def entries(model: Bert) -> list[Entry]:
  """Returns which published tensor fills which parameter.

  Example:
    >>> entries(Bert(5, 4, 0, 2, 8, positions=3, classes=0))[0].source
    'embeddings.word_embeddings.weight'
  """
  words = {
    "word": "tokens",
    "position": "positions",
    "token_type": "segments",
  }
  table = [
    Entry(
      f"embeddings.{name}_embeddings.weight",
      f"params/stem/{part}/embedding",
      same,
    )
    for name, part in words.items()
  ]
  table += norm_entries("embeddings.LayerNorm", "stem/norm_0")
  for i in range(model.depth):
    table += _block_entries(f"encoder.layer.{i}", f"stage_{i}")
  if model.pool == "pooler":
    table += dense_entries("pooler.dense", "pooler")
  if model.classes:
    table += dense_entries("classifier", "head")
  return table


def _block_entries(source, target):
  table = []
  for name in ("query", "key", "value"):
    theirs = f"{source}.attention.self.{name}"
    ours = f"params/{target}/attention/{name}"
    table += [
      Entry(f"{theirs}.weight", f"{ours}/kernel", heads_kernel),
      Entry(f"{theirs}.bias", f"{ours}/bias", heads_bias),
    ]
  joined = f"{source}.attention.output"
  return [
    *table,
    *dense_entries(
      f"{joined}.dense", f"{target}/attention/out", joined_heads_kernel
    ),
    *norm_entries(f"{joined}.LayerNorm", f"{target}/norm_0"),
    *dense_entries(f"{source}.intermediate.dense", f"{target}/mlp/dense_0"),
    *dense_entries(f"{source}.output.dense", f"{target}/mlp/dense_1"),
    *norm_entries(f"{source}.output.LayerNorm", f"{target}/norm_1"),
  ]


def _present_name(name):
  for old, new in _OLD.items():
    name = name.replace(old, new)
  return name.removeprefix("bert.")


def _check_names(needed, given):
  superfluous = [x for x in given if not _OPTIONAL.fullmatch(x)]
  problems = [
    f"{len(names)} tensors {what}: {', '.join(sorted(names)[:5])}"
    for what, names in (
      ("are missing", needed - set(given)),
      ("have no place in the model", set(superfluous) - needed),
    )
    if names
  ]
  if problems:
    raise UserError("; ".join(problems))


def _lay_out(entry, array, shape):
  try:
    laid = entry.layout(np.asarray(array), shape)
  except ValueError:
    laid = None
  if laid is None or laid.shape != shape:
    raise UserError(
      f"{entry.source} has the shape {np.shape(array)}, which does not give"
      f" the {shape} of {entry.target}"
    )
  return np.ascontiguousarray(laid, np.float32)
