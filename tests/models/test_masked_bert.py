"""BERT with the head of its pretraining, against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from kdjax.models import make_model
from kdjax.models.bert import Bert

SIZES = {"width": 8, "depth": 2, "heads": 2, "mlp": 16, "positions": 12}
MODEL = make_model(
  "masked_bert({})".format(", ".join(f"{k}={v}" for k, v in SIZES.items())),
  classes=20,
)
TOKENS = jnp.array([[5, 7, 9, 11, 0, 0], [6, 8, 3, 4, 2, 1]])
PLACES = jnp.array([[1, 3], [5, 0]])
VARIABLES = jax.jit(MODEL.init)(jax.random.key(0), TOKENS)


@jax.jit
def logits_of(variables, tokens, places):
  return MODEL.apply(variables, tokens, None, None, places)


def body_states():
  """The last states of the same body, by `Bert`, whose mean is of one token each."""
  body = Bert(20, **SIZES, classes=0)
  params = {
    name: x for name, x in VARIABLES["params"].items() if "head" not in name
  }
  _, taps = body.apply(
    {"params": params},
    TOKENS,
    capture_intermediates=True,
    mutable=["intermediates"],
  )
  return np.asarray(taps["intermediates"]["stage_1"]["__call__"][0])


def test_the_head_is_the_words_again():
  params = jax.tree.map(np.asarray, VARIABLES["params"])
  bias = np.linspace(-1, 1, 20).astype(np.float32)
  shifted = {"params": {**VARIABLES["params"], "head_bias": jnp.array(bias)}}
  x = (
    body_states() @ params["head_dense"]["kernel"]
    + params["head_dense"]["bias"]
  )
  x = x * (1 + special.erf(x / np.sqrt(2))) / 2
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
    x.var(-1, keepdims=True) + 1e-12
  )
  expected = x @ params["stem"]["tokens"]["embedding"].T + bias
  np.testing.assert_allclose(
    logits_of(shifted, TOKENS, None), expected, atol=1e-5
  )


def test_places_are_some_of_all():
  whole = np.asarray(logits_of(VARIABLES, TOKENS, None))
  some = logits_of(VARIABLES, TOKENS, PLACES)
  expected = np.take_along_axis(whole, np.asarray(PLACES)[..., None], axis=1)
  np.testing.assert_allclose(some, expected, atol=1e-6)


def test_padding_changes_nothing():
  longer = jnp.pad(TOKENS, ((0, 0), (0, 4)))
  np.testing.assert_allclose(
    logits_of(VARIABLES, longer, PLACES),
    logits_of(VARIABLES, TOKENS, PLACES),
    atol=1e-6,
  )


def test_the_output_layer_is_the_last_product():
  layer = MODEL.output_layer(VARIABLES["params"])
  assert layer["kernel"].shape == (8, 20) and layer["bias"].shape == (20,)


@pytest.mark.parametrize(
  "spec", ["masked_bert(width=9, heads=2)", "masked_bert(depth=0)"]
)
def test_sizes_that_are_refused(spec):
  with pytest.raises(Exception, match=r"heads must divide|depth"):
    make_model(spec, classes=20)
