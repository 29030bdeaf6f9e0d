"""Files that could run code when they are read: refused, wherever one is read.

What is read is numbers (safetensors, orbax, npy without objects) or a graph of
known operations (ONNX, StableHLO). Pickles and what contains them, modules of
other frameworks that marshal functions, operations that nobody but the file's
author knows, and graphs that open further files are turned away.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdjax.core.errors import UserError

# By ending, whatever is inside.
PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"}
# Keras marshals lambdas; a saved model of TensorFlow may read and write files.
MODULES = {".keras", ".h5", ".hdf5", ".pb", ".mar", ".nemo", ".py", ".pyc"}
ZIP, HDF5 = b"PK\3\4", b"\x89HDF"
# ONNX's own operations, and those that onnxruntime brings.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
EXTERNAL = 1
# What jax.export writes besides StableHLO's own operations.
CUSTOM_CALLS = {
  "Sharding",
  "SPMDFullToShardShape",
  "SPMDShardToFullShape",
  "mhlo.erf",
  "mhlo.topk",
  "shape_assertion",
  "stablehlo.dynamic_approx_top_k",
  "stablehlo.dynamic_reduce_window",
  "stablehlo.dynamic_rng_bit_generator",
  "stablehlo.dynamic_top_k",
}


def check_file(path: Path, head: bytes) -> None:
  """Refuses files that could run code when they are read.

  Args:
    head: its first 9 bytes, or more.
  """
  ending = path.suffix.lower()
  if ending in MODULES or head[:4] == HDF5:
    raise UserError(
      f"{path} is a module of another framework: reading it could run any code."
      " Write its arrays as safetensors where you trust the file"
    )
  # A safetensors header of 640 bytes begins like a pickle, but goes on with {.
  pickled = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
  pickled = pickled and head[8:9] != b"{"
  if pickled or head[:4] == ZIP or ending in PICKLES:
    target = path.with_suffix(".safetensors")
    raise UserError(
      f"{path} is a pickle or an archive of one: reading it could run any code."
      " Convert it where you have torch and trust the file:\n"
      '  python -c "import torch; from safetensors.torch import save_file;'
      f" save_file(torch.load('{path}', weights_only=True),"
      f" '{target}')\""
    )


def check_onnx(path: Path, model: Any) -> None:
  """Refuses ONNX graphs of operations of their own, or that open other files."""
  for graph in (model.graph, *model.functions):
    for node in _nodes(graph):
      if node.domain not in DOMAINS and not _is_local(node, model.functions):
        raise UserError(
          f"{path}: the operation {node.domain}.{node.op_type} is none of ONNX;"
          " code of its own would run"
        )
    for tensor in _tensors(graph):
      if tensor.data_location == EXTERNAL:
        raise UserError(
          f"{path}: {tensor.name or 'a constant'} is in another file; write the"
          " graph with its numbers inside"
        )


def check_stablehlo(path: Path, text: str) -> None:
  """Refuses StableHLO that calls anything beside it, such as Python."""
  called = set(re.findall(r'custom_call\s+@"?([\w.$-]+)', text))
  called |= set(re.findall(r'call_target_name\s*=\s*"([^"]+)"', text))
  for name in sorted(called - CUSTOM_CALLS):
    raise UserError(f"{path} calls {name}; code of its own would run")


def _nodes(graph: Any) -> Iterator[Any]:
  for node in graph.node:
    yield node
    for inner in _graphs(node):
      yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
  """All numbers of a graph: a function has none but its nodes'."""
  yield from getattr(graph, "initializer", ())
  for sparse in getattr(graph, "sparse_initializer", ()):
    yield from (sparse.values, sparse.indices)
  for node in graph.node:
    for attribute in node.attribute:
      yield from (attribute.t, *attribute.tensors)
      for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    for inner in _graphs(node):
      yield from _tensors(inner)


def _graphs(node: Any) -> Iterator[Any]:
  for attribute in node.attribute:
    if attribute.HasField("g"):
      yield attribute.g
    yield from attribute.graphs


def _is_local(node: Any, functions: Any) -> bool:
  """Whether an operation is made of others, in the file itself."""
  names = {(one.domain, one.name) for one in functions}
  return (node.domain, node.op_type) in names
