"""Published weights go to their places one by one, and never whole."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tiny_language_models import tiny_folder

import kdjax
from kdjax.models.pretrained.files import load_safetensors, write_safetensors

TYPES = [np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.int64, bool]


def on_disk(array):
  """Says whether an array is a part of a file that is not read yet."""
  while array is not None and not isinstance(array, np.memmap):
    array = array.base
  return array is not None


@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_of_every_type_stay_in_the_file_or_leave_it(tmp_path, mapped):
  # Odd lengths: what follows does not begin at a multiple of its size.
  arrays = {
    f"x{i}": np.arange(3 * (i + 1)).reshape(3, -1).astype(kind)
    for i, kind in enumerate(TYPES)
  }
  arrays |= {"none": np.zeros((0, 2), np.float32)}
  write_safetensors(tmp_path / "model.safetensors", arrays)
  read = load_safetensors(tmp_path, mapped=mapped)
  assert {*read} == {*arrays}
  for name, array in arrays.items():
    assert read[name].dtype == array.dtype
    np.testing.assert_array_equal(read[name], array)
    assert on_disk(read[name]) == mapped


def test_a_network_lies_where_rules_say(tmp_path):
  folder = tiny_folder(
    tmp_path / "net", None, vocab_size=20, num_hidden_layers=2,
    torch_dtype="bfloat16",
  )  # fmt: skip
  mesh = jax.make_mesh((4,), ("model",), devices=jax.devices()[:4])
  placement = kdjax.sharded(
    mesh,
    [("mlp/.*kernel", PartitionSpec(None, "model"))],
    batch=PartitionSpec(),
  )
  sizes = []

  def put(tree):
    (array,) = jax.tree.leaves(tree)
    sizes.append(array.nbytes)
    return placement.put(tree)

  whole = kdjax.pretrained.load(folder)
  loaded = kdjax.pretrained.load(folder, put=put)
  jax.tree.map(np.testing.assert_array_equal, loaded.variables, whole.variables)
  assert len(sizes) == len(jax.tree.leaves(whole.variables))
  kernel = loaded.variables["params"]["stage_0"]["mlp"]["dense_0"]["kernel"]
  assert {x.data.shape for x in kernel.addressable_shards} == {(16, 6)}
  tokens = {"tokens": jnp.array([[3, 1, 4]])}
  one, other = (
    jax.jit(x.network.apply)(x.variables, tokens)[0] for x in (whole, loaded)
  )
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_loaded_outlives_its_file(tmp_path):
  folder = tiny_folder(tmp_path / "net", None, vocab_size=20)
  before = kdjax.pretrained.load(folder).variables
  loaded = kdjax.pretrained.load(folder).variables
  path = folder / "model.safetensors"
  with path.open("r+b") as file:
    file.seek(-4096, 2)
    file.write(bytes(4096))
  again = kdjax.pretrained.load(folder).variables
  jax.tree.map(np.testing.assert_array_equal, loaded, before)
  assert not all(
    np.array_equal(x, y)
    for x, y in zip(*map(jax.tree.leaves, (again, before)), strict=True)
  )
