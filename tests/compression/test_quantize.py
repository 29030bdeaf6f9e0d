"""Few bits: what a network learns to compute is what is stored."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.compression import pack, quantize
from kdjax.compression.quantize import (
  SCHEMES,
  is_stored,
  learns_in,
  stored,
  stores_in,
)
from kdjax.errors import UserError
from kdjax.models import make_model

IMAGES = jax.random.uniform(jax.random.key(1), (4, 8, 8, 1))
NETWORKS = {
  "dense": make_model("mlp(16)", classes=3),
  "convolution": make_model("lenet(2, 4, hidden=8)", classes=3),
}
CASES = [
  (kind, scheme)
  for kind in NETWORKS
  for scheme in SCHEMES
  if (kind, scheme) != ("convolution", "w4a8")
]


def variables_of(kind):
  return NETWORKS[kind].init(jax.random.key(0), IMAGES, train=False)


@pytest.mark.parametrize(("kind", "scheme"), CASES)
def test_what_is_stored_is_what_was_learnt(kind, scheme):
  """Logits, of two networks side by side; and the file gives them back."""
  network, variables = NETWORKS[kind], variables_of(kind)
  both = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), variables)
  learnt = jax.jit(
    jax.vmap(lambda one: learns_in(network, scheme).apply(one, IMAGES))
  )(both)
  few = jax.vmap(lambda one: stored(network, one, scheme, IMAGES[:1]))(both)
  again = pack.unpacked(pack.packed(few), few)
  apply = stores_in(network, scheme).apply
  answers = jax.jit(jax.vmap(lambda one: apply(one, IMAGES)))(again)
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


def test_weights_are_rounded_by_column_and_gradients_are_not():
  """127.5 steps from zero to the largest of a column, 127 are kept; straight
  through."""
  layer, image = nn.Dense(2, use_bias=False), jnp.array([[1.0, 1.0]])
  kernel = jnp.array([[1.275, 25.5], [0.123, 0.19]])
  quantized = learns_in(layer, "w8")

  def answer(kernel):
    return quantized.apply({"params": {"kernel": kernel}}, image)

  rounded = np.array([[1.27 + 0.12, 25.4 + 0.2]])
  np.testing.assert_allclose(answer(kernel), rounded, rtol=1e-5)
  slope = jax.grad(lambda kernel: answer(kernel).sum())(kernel)
  np.testing.assert_array_equal(slope, np.ones((2, 2)))


@pytest.mark.parametrize(
  ("scheme", "share"), [("w8", 0.27), ("w8a8", 0.27), ("w4", 0.15)]
)
def test_a_file_is_as_small_as_its_bits(scheme, share):
  network = make_model("mlp(100)", classes=10)
  variables = network.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
  few = stored(network, variables, scheme, jnp.zeros((1, 28, 28, 1)))
  assert pack.file_bytes(few) < share * pack.file_bytes(variables)


def test_no_example_depends_on_its_neighbours():
  network, variables = NETWORKS["convolution"], variables_of("convolution")
  apply = learns_in(network, "w8a8").apply
  loud = IMAGES.at[1].multiply(100)
  quiet, beside = (apply(variables, x)[0] for x in (IMAGES, loud))
  np.testing.assert_allclose(quiet, beside, rtol=1e-6)


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
