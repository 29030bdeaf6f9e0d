"""BERT's published weights by their Hugging Face names, as linen parameters."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from kdjax.errors import UserError, unknown_name
from kdjax.models.bert import Bert

_NORM = {"weight": "scale", "bias": "bias"}
_DENSE = {"weight": "kernel", "bias": "bias"}
_EMBED = {"weight": "embedding"}
# Where a part of the published model is here, and what its leaves are called.
_PARTS = {
  "embeddings.word_embeddings": ("stem/tokens", _EMBED),
  "embeddings.position_embeddings": ("stem/positions", _EMBED),
  "embeddings.token_type_embeddings": ("stem/segments", _EMBED),
  "embeddings.LayerNorm": ("stem/norm_0", _NORM),
  "attention.self.query": ("attention/query", _DENSE),
  "attention.self.key": ("attention/key", _DENSE),
  "attention.self.value": ("attention/value", _DENSE),
  "attention.output.dense": ("attention/out", _DENSE),
  "attention.output.LayerNorm": ("norm_0", _NORM),
  "intermediate.dense": ("mlp/dense_0", _DENSE),
  "output.dense": ("mlp/dense_1", _DENSE),
  "output.LayerNorm": ("norm_1", _NORM),
  "pooler.dense": ("pooler", _DENSE),
  "classifier": ("head", _DENSE),
}
# Not weights, or of a training task that is over.
_IGNORED = re.compile(r"embeddings\.position_ids|cls\..*")
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.*)")
# Old checkpoints, converted from TensorFlow, call a norm's leaves so.
_OLD = {"gamma": "weight", "beta": "bias"}


def from_hugging_face(
  tensors: Mapping[str, np.ndarray], model: Bert
) -> dict[str, Any]:
  """Turns the tensors of a `BertModel` into parameters of `bert`.

  Accepts the bare encoder's names and those below `bert.`. A pooler, or a head
  of the training task, is left out where the model has none.

  Args:
    tensors: name -> array, as a safetensors file holds them.
    model: the module that the parameters are for.

  Returns:
    The tree of parameters, float32, for `model.apply({"params": tree}, ...)`.
    A head that the tensors lack is missing.

  Raises:
    UserError: for a name that BERT does not have, a missing tensor, or one of
      another shape than the model's.

  Example:
    >>> model = Bert(5, 4, 0, 2, 8, positions=3, classes=0)
    >>> tensors = {
    ...   "bert.embeddings.word_embeddings.weight": np.ones((5, 4)),
    ...   "bert.embeddings.position_embeddings.weight": np.ones((3, 4)),
    ...   "bert.embeddings.token_type_embeddings.weight": np.ones((2, 4)),
    ...   "bert.embeddings.LayerNorm.weight": np.ones(4),
    ...   "bert.embeddings.LayerNorm.bias": np.zeros(4),
    ... }
    >>> sorted(from_hugging_face(tensors, model)["stem"])
    ['norm_0', 'positions', 'segments', 'tokens']
  """
  wanted = shapes(model)
  found = {}
  for name, value in tensors.items():
    path = _path(name.removeprefix("bert."))
    if path is None or (path not in wanted and _optional(path)):
      continue
    if path not in wanted:
      raise UserError(f"the model has no place for {name!r} ({path})")
    found[path] = _fit(name, np.asarray(value), wanted[path], path)
  missing = [
    path
    for path in wanted
    if path not in found and path.partition("/")[0] != "head"
  ]
  if missing:
    raise UserError(
      f"{len(missing)} parameters of the model are not among the"
      f" {len(tensors)} tensors, the first is {missing[0]}"
    )
  return _nested(found)


def shapes(model: Bert) -> dict[str, tuple[int, ...]]:
  """Returns the shape of every parameter, by its path.

  Args:
    model: the module.

  Returns:
    "stage_0/attention/query/kernel" -> (width, heads, width / heads), ...

  Example:
    >>> shapes(Bert(5, 4, 0, 2, 8, positions=3, classes=0))["stem/tokens/embedding"]
    (5, 4)
  """
  tokens = jax.ShapeDtypeStruct((1, 1), np.int32)
  tree = jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]
  flat = traverse_util.flatten_dict(tree, sep="/")
  return {path: leaf.shape for path, leaf in flat.items()}


def _path(name):
  """Returns our path of a published name; None for what is no weight."""
  if _IGNORED.fullmatch(name):
    return None
  layer = _LAYER.fullmatch(name)
  part, _, leaf = (layer[2] if layer else name).rpartition(".")
  leaf = _OLD.get(leaf, leaf)
  if part not in _PARTS:
    raise unknown_name("tensor of BERT", name, _PARTS)
  place, leaves = _PARTS[part]
  if leaf not in leaves:
    raise unknown_name(f"leaf of {part}", leaf, leaves)
  stage = f"stage_{layer[1]}/" if layer else ""
  return f"{stage}{place}/{leaves[leaf]}"


def _optional(path):
  return path.partition("/")[0] in ("pooler", "head")


def _fit(name, value, shape, path):
  """Transposes a dense kernel and splits heads, where the sizes agree."""
  if path.endswith("kernel"):
    value = value.T
  split = "/attention/" in path and value.size == np.prod(shape)
  if value.shape != shape and not split:
    raise UserError(
      f"{name!r} has the shape {value.shape}, but the model's {path} is {shape}"
    )
  return value.reshape(shape).astype(np.float32)


def _nested(flat):
  return traverse_util.unflatten_dict(flat, sep="/")
