"""ONNX: written by jax2onnx, run by onnxruntime."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import StorageError
from kdjax.core.signature import Signature
from kdjax.core.storage import one_line
from kdjax.models.export import untrusted
from kdjax.taps.calling import nameless

# Messages below an error are about examples that jax2onnx carries along, and
# about shapes that are dropped here.
NOISY = ("jax2onnx", "onnx_ir", "absl")


def write(path: Path, function: Callable, signature: Signature) -> None:
  """Writes a network as one ONNX file, for batches of any size.

  Args:
    function: traceable, an input of the signature, or several by name -> outputs.
  """
  names = [one.name for one in signature.inputs]
  inputs = [
    jax.ShapeDtypeStruct(("batch", *one.shape), np.dtype(one.dtype))
    for one in signature.inputs
  ]

  def positional(*arrays):
    return function(nameless(dict(zip(names, arrays, strict=True))))

  # Its stand-ins for layers broadcast as numpy does.
  with _quiet(), jax.numpy_rank_promotion("allow"):
    import jax2onnx

    model = jax2onnx.to_onnx(
      positional,
      inputs=inputs,
      model_name="network",
      input_names=names,
      output_names=[one.name for one in signature.outputs],
    )
  # Shapes in between are optional, and jax2onnx notes some of another layout.
  del model.graph.value_info[:]
  path.write_bytes(model.SerializeToString())


def load(
  path: Path, content: bytes, *, threads: int = 0
) -> Callable[[Any], np.ndarray]:
  """Reads an ONNX file into onnxruntime, for the CPU.

  Args:
    path: of the file, for messages.
    content: of the file.
    threads: to compute with; 0 for as many as there are cores.

  Returns:
    An input, or several by name -> outputs.

  Raises:
    UserError: for operations that are none of ONNX, or numbers elsewhere.
    StorageError: if it is damaged.
  """
  import onnx
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  # 3: errors only.
  options.log_severity_level = 3
  try:
    model = onnx.ModelProto.FromString(content)
  except Exception as error:  # protobuf raises whatever its C++ does
    raise StorageError(f"cannot read {path}: {one_line(error)}") from error
  untrusted.check_onnx(path, model)
  try:
    session = _session(content, options)
    name = session.get_inputs()[0].name
  except Exception as error:
    raise StorageError(f"cannot read {path}: {one_line(error)}") from error

  def answer(inputs):
    named = inputs if isinstance(inputs, Mapping) else {name: inputs}
    return session.run(None, {**named})[0]

  return answer


def _session(content: bytes, options: Any) -> Any:
  """A session; where onnxruntime cannot move the rounding of int8, it stays."""
  import onnxruntime

  start = partial(
    onnxruntime.InferenceSession,
    content,
    options,
    providers=["CPUExecutionProvider"],
  )
  try:
    return start()
  except Exception:
    # Moved through a pooling's windows, it takes signed numbers for unsigned ones.
    return start(disabled_optimizers=["QDQPropagationTransformer"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  before = {name: logging.getLogger(name).level for name in NOISY}
  for name in NOISY:
    logging.getLogger(name).setLevel(logging.ERROR)
  try:
    with warnings.catch_warnings():
      # Its stand-ins for layers of nnx read them as older flax had them.
      warnings.simplefilter("ignore", DeprecationWarning)
      yield
  finally:
    for name, level in before.items():
      logging.getLogger(name).setLevel(level)


def quantize(path: Path, target: Path, inputs: Any) -> None:
  """Rounds an ONNX network to int8, weights and activations.

  Weights have a scale for each output channel; the ranges of activations are
  those that some images reach.

  Args:
    inputs: (N, H, W, D) stored images, or arrays (N, ...) by name.
  """
  by_name = inputs if isinstance(inputs, Mapping) else {"images": inputs}
  count = len(next(iter(by_name.values())))
  from onnxruntime import quantization

  class Reader(quantization.CalibrationDataReader):
    def __init__(self):
      self._blocks = iter(np.array_split(np.arange(count), max(1, count // 32)))

    def get_next(self):
      rows = next(self._blocks, None)
      if rows is None:
        return None
      return {name: x[rows] for name, x in by_name.items()}

  quantization.quantize_static(path, target, Reader(), per_channel=True)
