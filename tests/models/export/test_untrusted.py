"""What could run code is turned away; what is only numbers is not."""

import re
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kdjax.core.errors import StorageError, UserError
from kdjax.models.export import formats, untrusted

PICKLED = b"\x80\4\x95\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
  ("name", "head"),
  [
    ("a.pt", bytes(9)),
    ("a.pth", bytes(9)),
    ("a.ckpt", bytes(9)),
    ("a.joblib", bytes(9)),
    ("a.keras", bytes(9)),
    ("a.h5", bytes(9)),
    ("a.pb", bytes(9)),
    ("a.onnx", PICKLED),
    ("a.safetensors", untrusted.ZIP + bytes(5)),
    ("a.safetensors", untrusted.HDF5 + bytes(5)),
  ],
)
def test_files_by_kind(name, head):
  with pytest.raises(UserError, match="could run any code"):
    untrusted.check_file(Path(name), head)


def graph(domain="", external=False, nested=False):
  """y = relu(x) + w, the relu perhaps somebody's own, perhaps in a branch."""
  w = helper.make_tensor("w", TensorProto.FLOAT, [2], np.zeros(2))
  if external:
    w.ClearField("float_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value="/etc/hostname")
  node = helper.make_node("Relu", ["x"], ["z"], domain=domain)
  value = helper.make_tensor_value_info
  shape = TensorProto.FLOAT, [2]
  if nested:
    branch = helper.make_graph([node], "branch", [], [value("z", *shape)])
    node = helper.make_node(
      "If", ["c"], ["z"], then_branch=branch, else_branch=branch
    )
  inputs = [value("x", *shape), value("c", TensorProto.BOOL, [])]
  nodes = [node, helper.make_node("Add", ["z", "w"], ["y"])]
  main = helper.make_graph(nodes, "main", inputs, [value("y", *shape)], [w])
  opsets = [helper.make_opsetid("", 20), helper.make_opsetid(domain, 1)]
  return helper.make_model(main, opset_imports=opsets[: 1 + bool(domain)])


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"domain": "evil"}, "evil.Relu is none of ONNX"),
    ({"domain": "evil", "nested": True}, "evil.Relu is none of ONNX"),
    ({"external": True}, "w is in another file"),
  ],
)
def test_graphs_of_their_own(options, said, tmp_path):
  path = tmp_path / "network.onnx"
  path.write_bytes(graph(**options).SerializeToString())
  with pytest.raises(UserError, match=re.escape(said)):
    formats.FORMATS["onnx"].load(path, None)
  untrusted.check_onnx(path, graph(nested=True))
  assert onnx.checker.check_model(graph()) is None


def test_stablehlo_that_calls_python(tmp_path):
  """Export refuses it, unless it is told not to; loading refuses it always."""

  def evil(x):
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda x: x, shape, x)

  program = jax.jit(evil).lower(np.zeros(2, np.float32)).as_text()
  with pytest.raises(UserError, match="calls xla_"):
    untrusted.check_stablehlo(Path("a.stablehlo"), program)


@pytest.mark.parametrize("name", ["stablehlo", "onnx", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no such thing", PICKLED])
def test_damaged_files(name, content, tmp_path):
  path = tmp_path / formats.FORMATS[name].file
  path.write_bytes(content)
  with pytest.raises((StorageError, UserError)) as raised:
    formats.FORMATS[name].load(path, None)
  assert (raised.type is UserError) is (content == PICKLED)
