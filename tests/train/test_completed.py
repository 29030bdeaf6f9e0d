"""What a network begins with where a part of it was trained before."""

import jax
import jax.numpy as jnp
import numpy as np

import kdjax
from kdjax.models import make_model
from kdjax.train.completed import completed

NETWORK = kdjax.from_linen(make_model("mlp(4)", classes=3))
INPUTS = jnp.ones((2, 5))
WHOLE = NETWORK.init(jax.random.key(0), INPUTS)
BODY = {"params": {k: x for k, x in WHOLE["params"].items() if k != "head"}}


def test_layers_that_are_lacking_are_drawn_from_the_key():
  one, other = (
    completed(NETWORK, BODY, jax.random.key(i), INPUTS)["params"]
    for i in (0, 1)
  )
  jax.tree.map(np.testing.assert_array_equal, one, WHOLE["params"])
  assert set(other) == set(one)
  assert not np.array_equal(other["head"]["kernel"], one["head"]["kernel"])
  for name in BODY["params"]:
    jax.tree.map(np.testing.assert_array_equal, other[name], one[name])


def test_whole_networks_and_those_of_others_stay_as_they_are():
  key = jax.random.key(1)
  strange = {"params": {"elsewhere": {"kernel": jnp.ones((2, 2))}}}
  for variables in (WHOLE, strange, {}, "no variables"):
    assert completed(NETWORK, variables, key, INPUTS) is variables
