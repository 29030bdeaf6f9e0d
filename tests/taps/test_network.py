"""Networks of any framework behind one signature: twins in linen and nnx."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.taps.network import describe, from_apply, from_linen

ROWS = jax.random.normal(jax.random.key(1), (6, 4))


class Flagged(nn.Module):
  """Reads its flag under one of its names, and drops half where it trains."""

  def drop(self, x, train):
    return nn.Dropout(0.5)(nn.Dense(8, name="head")(x), deterministic=not train)


class Train(Flagged):
  @nn.compact
  def __call__(self, x, train):
    return self.drop(x, train)


class Training(Flagged):
  @nn.compact
  def __call__(self, x, *, training=True):
    return self.drop(x, training)


class Deterministic(Flagged):
  @nn.compact
  def __call__(self, x, deterministic=False):
    return self.drop(x, not deterministic)


class Encoder(nn.Module):
  """Takes several inputs by name."""

  width: int = 8
  answers: type = jnp.asarray

  @nn.compact
  def __call__(self, tokens, mask, deterministic=True):
    x = nn.Embed(11, self.width, name="embed")(tokens)
    x = nn.Dropout(0.5)(nn.Dense(self.width, name="block")(x), deterministic)
    x = nn.Dense(3, name="out")(x.mean(1, where=mask[..., None]))
    return self.answers(x)


class Normalised(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
    return nn.Dense(2, name="head")(x)


TOKENS = {
  "tokens": jnp.ones((2, 5), jnp.int32),
  "mask": jnp.ones((2, 5), bool),
}


def start(module, inputs=ROWS, **how):
  network = from_linen(module, **how)
  return network, jax.jit(network.init)(jax.random.key(0), inputs)


@pytest.mark.parametrize("module", [Train(), Training(), Deterministic()])
def test_every_spelling_of_the_train_flag(module):
  network, variables = start(module)
  plain, _, _ = network.apply(variables, {"image": ROWS})
  noisy, _, _ = network.apply(
    variables, ROWS, train=True, rngs={"dropout": jax.random.key(0)}
  )
  assert not (plain == 0).any()
  assert (noisy == 0).any()


def test_several_inputs_go_by_their_names():
  network, variables = start(Encoder(), TOKENS, classifier="out")
  outputs, _, _ = network.apply(variables, TOKENS)
  expected = Encoder().apply(variables, **TOKENS)
  np.testing.assert_array_equal(outputs, expected)
  head = network.classifier(variables)
  assert {name: x.shape for name, x in head.items()} == {
    "kernel": (8, 3),
    "bias": (3,),
  }


@pytest.mark.parametrize(
  ("path", "shape"),
  [("head", (4, 8)), ("none", None), ("head/kernel", None), (None, None)],
)
def test_classifier_is_the_layer_at_a_path(path, shape):
  network, variables = start(Train(), classifier=path)
  layer = network.classifier(variables)
  assert layer["kernel"].shape == shape if shape else layer is None


class Noisy(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    noise = jax.random.normal(self.make_rng("noise"), x.shape) if train else 0
    return nn.Dropout(0.5)(nn.Dense(2, name="head")(x + noise), not train)


def test_streams_of_other_names_have_keys_too():
  network, variables = start(Noisy())
  rngs = {"dropout": jax.random.key(0)}
  first, features, _ = network.apply(
    variables, ROWS, taps="head", train=True, rngs=rngs
  )
  noise = {"noise": jax.random.key(2), "dropout": rngs["dropout"]}
  second, _, _ = network.apply(variables, ROWS, train=True, rngs=noise)
  assert ((first == 0) == (second == 0)).all()
  assert (features["head"] != network.apply(variables, ROWS)[0]).all()


def test_collections_move_on_only_where_it_trains():
  network, variables = start(Normalised())
  assert network.apply(variables, ROWS)[2] is variables
  outputs, features, moved = network.apply(
    variables, ROWS, taps=["norm:in"], train=True
  )
  assert (features["norm:in"] == ROWS).all()
  assert set(moved) == {"params", "batch_stats"}
  assert moved["params"] is variables["params"]
  assert (
    moved["batch_stats"]["norm"]["mean"]
    != variables["batch_stats"]["norm"]["mean"]
  ).all()


def pair(apply, variables, inputs, *, train, **kw):
  both = apply(variables, **inputs, deterministic=not train, **kw)
  return both[1]


def test_call_says_how_it_is_called_and_picks():
  module = Encoder(answers=lambda x: (x, 2 * x))
  network, variables = start(module, TOKENS, call=pair)
  single, _ = start(Encoder(), TOKENS)
  outputs, features, _ = network.apply(variables, TOKENS, taps="block")
  assert features["block"].shape == (2, 5, 8)
  np.testing.assert_allclose(outputs, 2 * single.apply(variables, TOKENS)[0])
  _, _, moved = network.apply(
    variables, TOKENS, train=True, rngs={"dropout": jax.random.key(0)}
  )
  assert moved.keys() == variables.keys()


def test_equal_modules_make_equal_networks():
  assert from_linen(Encoder(4)) == from_linen(Encoder(4))
  assert hash(from_linen(Encoder(4))) == hash(from_linen(Encoder(4)))
  assert from_linen(Encoder(4)) != from_linen(Encoder(5))
  assert from_linen(Encoder(4)) != from_linen(Encoder(4), classifier="out")


def scaled(variables, inputs, *, train, rngs):
  """Counts its calls in training."""
  outputs = inputs * variables["params"]["scale"]
  count = variables["state"]["count"] + train
  return outputs, {**variables, "state": {"count": count}}


def test_a_function_is_a_network():
  start = {
    "params": {"scale": jnp.ones((1, 4))},
    "state": {"count": jnp.int32(0)},
  }
  network = from_apply(scaled, init=lambda key, inputs: start)
  variables = jax.jit(network.init)(jax.random.key(0), ROWS)
  outputs, features, same = network.apply(variables, {"image": ROWS})
  assert (outputs == ROWS).all()
  assert (features, same) == ({}, variables)
  _, _, moved = network.apply(variables, ROWS, train=True, rngs={})
  assert moved["state"]["count"] == 1
  assert network.classifier(variables) is None
  assert from_apply(scaled) == from_apply(scaled)


def test_any_tree_of_arrays_is_parameters():
  tree = [jnp.ones((4, 2)), jnp.ones(2)]
  network = from_apply(
    lambda variables, x, *, train, rngs: x @ variables[0] + variables[1][None]
  )
  by_name = network.collections(tree)
  assert by_name["params"] is tree
  assert network.native(by_name) is tree
  for variables in (tree, by_name):
    assert network.apply(variables, ROWS)[0].shape == (6, 2)


def both(x):
  return {"logits": x, "hidden": x}


@pytest.mark.parametrize(
  ("run", "words"),
  [
    (lambda: from_linen(Encoder), "Encoder(...)"),
    (lambda: from_linen(3), "takes a linen module; got 3"),
    (lambda: start(Encoder(answers=lambda x: (x, x)), TOKENS), "**kw)[0]"),
    (lambda: start(Encoder(answers=both), TOKENS), "**kw)['logits']"),
    (lambda: start(Encoder(), ROWS), "missing a required argument: 'mask'"),
    (
      lambda: start(Encoder(), {"tokens": 1, "maks": 2}),
      "did you mean 'mask'? It takes: tokens, mask, deterministic",
    ),
    (
      lambda: from_linen(Train()).apply(start(Normalised())[1], ROWS),
      "has shape (4, 2)",
    ),
    (lambda: from_linen(Train()).apply({}, ROWS), "Train: "),
    (
      lambda: from_linen(Noisy()).apply(start(Noisy())[1], ROWS, train=True),
      'needs PRNG for "noise"',
    ),
    (
      lambda: from_linen(Train()).apply(start(Train())[1], ROWS, taps="heat"),
      "did you mean 'head'?",
    ),
    (
      lambda: from_apply(scaled).apply({"params": {}}, ROWS, taps="head"),
      "nothing can be tapped ('head')",
    ),
    (lambda: describe(from_apply(scaled), {}, ROWS), "nothing can be tapped"),
    (lambda: from_apply(scaled).init(None, ROWS), "init=None"),
    (
      lambda: from_apply(lambda *_, **__: (1, 2, 3)).apply({}, ROWS),
      "gives a tuple of 3",
    ),
  ],
)  # fmt: skip
def test_misfits_end_in_one_line(run, words):
  with pytest.raises(UserError) as caught:
    run()
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


def test_describe_lists_all_taps():
  network, variables = start(Encoder(), TOKENS)
  rows = {row.tap: row.shape for row in describe(network, variables, TOKENS)}
  assert rows == {
    ":out": (2, 3),
    "embed": (2, 5, 8),
    "block": (2, 5, 8),
    "Dropout_0": (2, 5, 8),
    "out": (2, 3),
  }
