"""Few bits: what a network learns to compute is what is stored."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model, packed
from kdjax.models import quantized as quantize
from kdjax.models.quantized import (
  SCHEMES,
  is_stored,
  learns_in,
  quantize_variables,
  stores_in,
)
from kdjax.taps.network import from_linen
from kdjax.train.precision import as_network, with_precision

IMAGES = np.float32(np.random.default_rng(1).random((4, 8, 8, 1)))
NETWORKS = {
  "dense": make_model("mlp(16)", classes=3),
  "convolution": make_model("lenet(2, 4, hidden=8)", classes=3),
}
CASES = [
  *(("dense", scheme) for scheme in SCHEMES),
  ("convolution", "w8a8"),
  ("convolution", "w4"),
]


def variables_of(network, images=IMAGES):
  """Random ones; to initialise takes longer."""
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: np.float32(rng.normal(size=x.shape) / 4), shapes
  )


@pytest.mark.parametrize(("kind", "scheme"), CASES)
def test_what_is_stored_is_what_was_learnt(kind, scheme):
  """Logits, of two networks side by side."""
  network = NETWORKS[kind]
  both = jax.tree.map(lambda x: np.stack([x, 2 * x]), variables_of(network))

  @jax.jit
  @jax.vmap
  def made(one):
    few = quantize_variables(network, one, scheme, IMAGES[:1])
    return learns_in(network, scheme).apply(one, IMAGES), few

  learnt, few = made(both)
  apply = stores_in(network, scheme).apply
  answers = jax.jit(jax.vmap(lambda one: apply(one, IMAGES)))(few)
  np.testing.assert_allclose(answers, learnt, rtol=1e-5, atol=1e-6)
  kernels = [
    leaf
    for leaf in jax.tree.leaves(few["params"], is_leaf=is_stored)
    if is_stored(leaf)
  ]
  assert len(kernels) == (2 if kind == "dense" else 4)
  assert {str(leaf.array.qvalue.dtype) for leaf in kernels} == {
    SCHEMES[scheme].weights
  }


class Tied(nn.Module):
  """Its output layer is its embedding."""

  @nn.compact
  def __call__(self, tokens):
    table = nn.Embed(5, 4)
    return table.attend(nn.Dense(4)(table(tokens)))


@pytest.mark.parametrize(
  "scheme",
  [
    # Bits of activations as well, and of weights alone.
    pytest.param(x, marks=[pytest.mark.slow] * (x not in ("w8a8", "w4")))
    for x in SCHEMES
  ],
)
def test_embeddings_stay_float32_also_where_they_are_the_output_layer(scheme):
  network, tokens = Tied(), np.array([[1, 4, 2]])
  variables = variables_of(network, tokens)

  @jax.jit
  def all_of_it(variables):
    few = quantize_variables(network, variables, scheme, tokens)
    answers = stores_in(network, scheme).apply(few, tokens)
    return few, answers, learns_in(network, scheme).apply(variables, tokens)

  few, answers, learnt = all_of_it(variables)
  np.testing.assert_allclose(answers, learnt, rtol=1e-5, atol=1e-6)
  assert is_stored(few["params"]["Dense_0"]["kernel"])
  table = few["params"]["Embed_0"]["embedding"]
  np.testing.assert_array_equal(
    table, variables["params"]["Embed_0"]["embedding"]
  )


DECODERS = {
  "tied, in groups": "decoder(width=8, depth=2, heads=4, groups=2)",
  "gpt2": "decoder(family='gpt2', width=8, depth=1, heads=2)",
  "a head": "decoder(family='qwen3', width=8, depth=1, heads=2, tied=False)",
}
TOKENS = np.array([[1, 4, 2, 7, 3, 5], [2, 2, 8, 1, 9, 3]], np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("scheme", ["w8", "w4a8"])
def test_decoders(kind, scheme):
  """Linear layers of blocks alone; a cache, the future and what is stored."""
  module = make_model(DECODERS[kind], classes=11)
  variables = variables_of(module, TOKENS)
  network = from_linen(learns_in(module, scheme))

  @jax.jit
  def all_of_it(variables):
    few = quantize_variables(module, variables, scheme, TOKENS[:1])
    cache = network.decoding.start(variables, 2, 6)
    everywhere = np.ones_like(TOKENS, bool)
    return {
      "few": few,
      "stored": stores_in(module, scheme).apply(few, TOKENS),
      "learnt": network.apply(variables, {"tokens": TOKENS})[0],
      "begins": network.apply(variables, {"tokens": TOKENS[:, :3]})[0],
      "rounded": module.apply(
        quantize.rounded_variables(module, variables, scheme, TOKENS[:1]),
        TOKENS,
      ),
      "cached": network.decoding.read(variables, TOKENS, everywhere, cache)[0],
      "float32": module.apply(variables, TOKENS),
    }

  found = all_of_it(variables)
  learnt, close = found["learnt"], {"rtol": 1e-5, "atol": 1e-5}
  np.testing.assert_allclose(found["stored"], learnt, **close)
  np.testing.assert_allclose(found["cached"], learnt[:, -1], **close)
  np.testing.assert_allclose(found["begins"], learnt[:, :3], **close)
  assert np.abs(found["float32"] - learnt).max() > 1e-4
  if scheme == "w8":
    np.testing.assert_allclose(found["rounded"], learnt, **close)
  leaves = jax.tree_util.tree_leaves_with_path(
    found["few"]["params"], is_leaf=is_stored
  )
  for path, leaf in leaves:
    names = [key.key for key in path]
    linear = names[0].startswith("stage") and names[-1] == "kernel"
    assert is_stored(leaf) == linear, names


def test_a_network_knows_that_it_is_trained():
  """Its statistics move on, as they do in float32."""

  class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
      return nn.BatchNorm(use_running_average=not train)(nn.Dense(2)(x))

  x = np.float32(np.random.default_rng(0).normal(size=(4, 3)))
  found = {}
  for remat in (False, True):
    module = with_precision(learns_in(Normalised(), "w8"), remat=remat)
    network = as_network(module)
    variables = network.init(jax.random.key(0), x)
    found[remat] = network.apply(variables, x, train=True)[2]["batch_stats"]
    mean = found[remat]["BatchNorm_0"]["mean"]
    assert (mean != variables["batch_stats"]["BatchNorm_0"]["mean"]).all()
  jax.tree.map(np.testing.assert_array_equal, found[False], found[True])


def test_gradients_pass_the_pooling_of_whole_numbers():
  """Unoptimised programs compute what is pooled twice, and round otherwise."""
  network = NETWORKS["convolution"]
  apply = learns_in(network, "w8a8").apply
  slopes = jax.jit(jax.grad(lambda x: jnp.sum(apply(x, IMAGES))))(
    variables_of(network)
  )
  for slope in jax.tree.leaves(slopes):
    assert np.isfinite(slope).all() and np.any(slope != 0)


def test_weights_are_rounded_by_column_and_gradients_are_not():
  """127.5 steps from zero to the largest of a column, 127 are kept; straight
  through."""
  layer, image = nn.Dense(2, use_bias=False), np.float32([[1.0, 1.0]])
  kernel = np.float32([[1.275, 25.5], [0.123, 0.19]])
  quantized = learns_in(layer, "w8")

  def answer(kernel):
    found = quantized.apply({"params": {"kernel": kernel}}, image)
    return found.sum(), found

  rounded = np.array([[1.27 + 0.12, 25.4 + 0.2]])
  slope, found = jax.jit(jax.grad(answer, has_aux=True))(kernel)
  np.testing.assert_allclose(found, rounded, rtol=1e-5)
  np.testing.assert_array_equal(slope, np.ones((2, 2)))


@pytest.mark.parametrize(("scheme", "share"), [("w8a8", 0.27), ("w4", 0.15)])
def test_a_file_is_as_small_as_its_bits(scheme, share):
  network, sample = (
    make_model("mlp(100)", classes=10),
    np.ones((1, 20, 20, 1), np.float32),
  )
  variables = variables_of(network, sample)
  few = jax.jit(lambda one: quantize_variables(network, one, scheme, sample))(
    variables
  )
  assert packed.file_bytes(few) < share * packed.file_bytes(variables)


def test_no_example_depends_on_its_neighbours():
  network = NETWORKS["convolution"]
  variables = variables_of(network)
  apply = jax.jit(learns_in(network, "w8a8").apply)
  loud = IMAGES * np.float32([1, 100, 1, 1]).reshape(4, 1, 1, 1)
  quiet, beside = (apply(variables, x)[0] for x in (IMAGES, loud))
  np.testing.assert_allclose(quiet, beside, rtol=1e-6)


@pytest.mark.parametrize("makes", [learns_in, stores_in])
def test_arrays_of_numpy_are_weights_too(makes):
  network = NETWORKS["dense"]
  variables = variables_of(network)
  if makes is stores_in:
    variables = jax.jit(
      lambda one: quantize_variables(network, one, "w4a8", IMAGES[:1])
    )(variables)
  apply = makes(network, "w4a8").apply
  given = jax.jit(apply)(variables, IMAGES)
  known = jax.device_get(variables)
  np.testing.assert_allclose(
    jax.jit(lambda images: apply(known, images))(IMAGES), given, rtol=1e-5
  )


def test_no_grey_value_is_in_the_middle_between_two_steps():
  """Where programs differ in the last bit, of about 127 * 1e-7."""
  factor = float(quantize.CALIBRATION.split(",")[1])
  steps = np.arange(256) * 127.5 / (255 * factor)
  assert np.abs(steps % 1 - 0.5).min() > 4e-5
  assert 127 <= steps.max() < 127.5


def test_four_bits_do_not_meet_eight_in_a_convolution():
  sample = IMAGES[:1]
  with pytest.raises(UserError, match="quantization=w4a8.*w8a8, or w4"):
    quantize.check(NETWORKS["convolution"], "w4a8", sample)
  for kind, scheme in [*CASES, ("convolution", "none")]:
    quantize.check(NETWORKS[kind], scheme, sample)


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, "qwix", None)
  assert learns_in(NETWORKS["dense"], "none") is NETWORKS["dense"]
  with pytest.raises(UserError, match="pip install 'qwix"):
    learns_in(NETWORKS["dense"], "w8")
