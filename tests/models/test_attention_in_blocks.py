"""Attention of long texts, whose queries come in blocks."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import grouped_attention
from kdjax.models.decoder import Decoder
from kdjax.models.places import Visibility, find_places
from kdjax.models.transformer_config import Layer, TransformerConfig

LENGTH = 11
PADDED = np.arange(LENGTH)[None] >= np.array([[0], [4]])
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 0], [1] * 6 + [2] * 5])
VISIBILITIES = {
  "all before": {},
  "a window": {"window": 3},
  "both ways": {"causal": False},
  "a window both ways": {"window": 3, "causal": False},
  "padding in front": {"mask": PADDED},
  "documents": {"segments": SEGMENTS, "window": 4},
}


def arrays(length=LENGTH, seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  shapes = (2, length, 4, 3), (2, 2, length, 3), (2, 2, length, 3)
  return [
    jax.random.normal(key, shape)
    for key, shape in zip(keys, shapes, strict=True)
  ]


def visibility_of(length=LENGTH, mask=None, segments=None, **sight):
  places = find_places(jnp.zeros((2, length), int), mask, segments)
  return Visibility(places, places, **sight)


@pytest.mark.parametrize("cap", [None, 2.0], ids=["plain", "capped"])
@pytest.mark.parametrize("name", VISIBILITIES)
def test_blocks_are_the_whole(name, cap, monkeypatch):
  visibility = visibility_of(**VISIBILITIES[name])

  def loss(*of_heads):
    mixed = grouped_attention.attend(*of_heads, visibility, cap=cap)
    return jnp.sum(mixed * jnp.cos(jnp.arange(mixed.size)).reshape(mixed.shape))

  slopes = jax.value_and_grad(loss, argnums=(0, 1, 2))
  whole = slopes(*arrays())
  monkeypatch.setattr(grouped_attention, "LONGEST", 4)
  monkeypatch.setattr(grouped_attention, "BLOCK", 3)
  in_blocks = slopes(*arrays())
  for one, other in zip(*map(jax.tree.leaves, (in_blocks, whole)), strict=True):
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def shapes_in(jaxpr):
  """The shapes of all values of a program, those of its inner ones too."""
  for equation in jaxpr.eqns:
    yield from (value.aval.shape for value in equation.outvars)
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      yield from shapes_in(inner)


@pytest.mark.parametrize(
  ("length", "square"), [(1024, True), (1025, False), (3000, False)]
)
def test_no_array_of_all_pairs_of_tokens_of_a_long_text(length, square):
  """Neither scores nor masks nor their gradients, with packed documents too."""
  config = TransformerConfig(
    11, 8, (Layer(64, None, 0.5), Layer(None, None, 0.5)), 4, 2, 2, 16, 4096
  )
  module, tokens = Decoder(config), jnp.ones((1, length), int)
  variables = jax.eval_shape(module.init, jax.random.key(0), tokens)

  def loss(variables, tokens, segments):
    return module.apply(variables, tokens, None, segments).sum()

  program = jax.make_jaxpr(jax.grad(loss))(variables, tokens, tokens)
  pairs = [
    shape
    for shape in shapes_in(program.jaxpr)
    if sum(size >= length for size in shape) > 1
  ]
  assert bool(pairs) == square
