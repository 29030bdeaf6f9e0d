"""A network of a user's own leaves as a program, and answers alike."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from flax import nnx
from jax import export as jax_export

import kdjax
from kdjax.core.errors import StorageError, UserError
from kdjax.models.export import formats


class Texts(nn.Module):
  """Two inputs, one of them whole numbers and one of truths."""

  @nn.compact
  def __call__(self, tokens, mask, deterministic=True):
    x = nn.Embed(8, 4)(tokens)
    x = nn.Dropout(0.5)(x, deterministic)
    return nn.Dense(3)(x.mean(1, where=mask[..., None]))


class Normed(nnx.Module):
  def __init__(self):
    self.norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
    self.layers = nnx.List([nnx.Linear(4, 3, rngs=nnx.Rngs(1))])

  def __call__(self, x):
    return self.layers[0](self.norm(x))


TEXTS = {
  "tokens": np.arange(10).reshape(2, 5) % 8,
  "mask": np.arange(10).reshape(2, 5) % 3 > 0,
}
IMAGES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def linen():
  network = kdjax.from_linen(Texts())
  return network, jax.jit(network.init)(jax.random.key(0), TEXTS), TEXTS


def nnx_module():
  network, variables = kdjax.from_nnx(Normed())
  moved = {"norm": {"mean": jnp.full(4, 0.5), "var": jnp.full(4, 2.0)}}
  return network, {**variables, "batch_stats": moved}, IMAGES


def bare_function():
  """Variables that are a list, as a program in no framework may have them."""

  def apply(variables, images, *, train, rngs):
    kernel, bias = variables
    return images @ kernel + bias[None]

  kernel = jnp.arange(12.0).reshape(4, 3)
  return kdjax.from_apply(apply), [kernel, jnp.ones(3)], IMAGES


NETWORKS = [
  linen,
  *(
    pytest.param(x, marks=pytest.mark.slow) for x in (nnx_module, bare_function)
  ),
]


@pytest.mark.parametrize("make", NETWORKS)
def test_files_answer_as_the_network_does(make, tmp_path):
  network, variables, inputs = make()
  files = kdjax.export(network, variables, inputs, tmp_path, format="all")
  assert {*files} == {*formats.FORMATS}
  assert sorted(tmp_path.iterdir()) == sorted(files.values())
  # Of another length than those that it was exported with.
  more = jax.tree.map(lambda x: np.concatenate([x, x[::-1]]), inputs)
  expected = network.apply(variables, more)[0]
  session = onnxruntime.InferenceSession(files["onnx"])
  named = more if isinstance(more, dict) else {"inputs": more}
  types = {x.name: np.int32 if "int32" in x.type else None
           for x in session.get_inputs()}  # fmt: skip
  named = {name: np.asarray(x, types[name]) for name, x in named.items()}
  (answers,) = session.run(["outputs"], named)
  np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
  program = jax_export.deserialize(
    bytearray(files["stablehlo"].read_bytes())
  ).call
  np.testing.assert_allclose(program(more), expected, rtol=1e-5, atol=1e-6)


def test_a_signature_names_inputs_and_outputs(tmp_path):
  network, variables, images = nnx_module()
  signature = kdjax.tasks.classification(3).signature(images[0], 3)
  files = kdjax.export(network, variables, signature, tmp_path)
  session = onnxruntime.InferenceSession(files["onnx"])
  (given,), (made,) = session.get_inputs(), session.get_outputs()
  assert (given.name, made.name) == ("images", "logits")


def wrong_variables(network, variables, folder):
  return network, {"params": {}}, IMAGES, folder, {}


def wrong_inputs(network, variables, folder):
  return network, variables, IMAGES[:, :2], folder, {}


def one_example(network, variables, folder):
  return network, variables, IMAGES[0], folder, {}


def wrong_width(network, variables, folder):
  signature = kdjax.tasks.classification(7).signature(IMAGES[0], 7)
  return network, variables, signature, folder, {}


def wrong_format(network, variables, folder):
  return network, variables, IMAGES, folder, {"format": "onx"}


def no_network(network, variables, folder):
  return Normed(), variables, IMAGES, folder, {}


def no_arrays(network, variables, folder):
  return bare_function()[0], ["w", "b"], IMAGES, folder, {}


def nothing_known(network, variables, folder):
  def unknown(variables, images, *, train, rngs):
    shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
    return jax.pure_callback(np.sin, shape, images)

  network = kdjax.from_apply(unknown)
  return network, [], IMAGES, folder, {"format": "stablehlo"}


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (wrong_variables, "batch_stats/norm/mean is missing"),
    (wrong_inputs, r"does not take inputs \(3, 2\)"),
    (one_example, r"got inputs \(4,\), and the outputs are \(3,\)"),
    (wrong_width, r"logits has the shape \(7,\), the network's .* \(3,\)"),
    (wrong_format, "unknown format 'onx'; did you mean 'onnx'"),
    (no_network, "from_linen, from_nnx or from_apply; got Normed"),
    (no_arrays, "params/0 is a str, and no array"),
    (nothing_known, "format=stablehlo cannot hold the network"),
  ],
)
def test_what_does_not_fit_writes_nothing(change, said, tmp_path):
  network, variables, _ = nnx_module()
  *given, options = change(network, variables, tmp_path)
  with pytest.raises(UserError, match=said):
    kdjax.export(*given, **options)
  assert not any(tmp_path.iterdir())


def test_what_is_there_is_kept(tmp_path):
  network, variables, images = bare_function()
  (tmp_path / "network.stablehlo").write_text("mine")
  with pytest.raises(UserError, match="network.stablehlo is there already"):
    kdjax.export(network, variables, images, tmp_path, format="stablehlo")
  assert (tmp_path / "network.stablehlo").read_text() == "mine"


def test_a_file_that_answers_otherwise_is_none(tmp_path, monkeypatch):
  network, variables, images = bare_function()
  stablehlo = formats.FORMATS["stablehlo"]
  broken = stablehlo._replace(
    load=lambda *known: lambda x: 1.01 * stablehlo.load(*known)(x)
  )
  monkeypatch.setitem(formats.FORMATS, "stablehlo", broken)
  with pytest.raises(StorageError, match="answers differ by 1.0e-02"):
    kdjax.export(network, variables, images, tmp_path, format="stablehlo")
  assert not any(tmp_path.iterdir())
