"""GPT: sizes, causality, tied logits, and Hugging Face's numbers."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.gpt import gpt, gpt2

TINY = {"width": 16, "depth": 2, "heads": 4, "mlp": 24, "positions": 12}
TOKENS = jnp.array([[3, 7, 11, 0, 5, 39]])
# Of transformers 5.23's GPT2LMHeadModel, from the weights that `seeded` makes:
# the first five logits at each token.
LOGITS = [
  [0.071214, 0.061988, 1.243703, -0.566503, 0.368488],
  [0.107725, -0.014217, 1.472234, -0.236005, 0.385484],
  [0.209463, 0.047682, 1.187758, -0.522892, 0.385460],
  [-0.135337, 0.034098, 1.386719, -0.414434, 0.420704],
  [0.117414, 0.019792, 1.350500, -0.318646, 0.329764],
  [0.124790, 0.016452, 1.318167, -0.460676, 0.668199],
]


def seeded(model):
  """Parameters that depend on their path and shape only."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["params"]
  flat = {
    path: 0.3
    * np.random.default_rng(zlib.crc32(path.encode())).normal(size=leaf.shape)
    for path, leaf in traverse_util.flatten_dict(shapes, sep="/").items()
  }
  tree = traverse_util.unflatten_dict(flat, sep="/")
  return {"params": jax.tree.map(jnp.float32, tree)}


@pytest.mark.parametrize(
  ("model", "parameters"),
  [
    (gpt2(classes=50257), 124_439_808),
    (gpt(classes=40, **TINY), 40 * 16 + 12 * 16 + 2 * 1_960 + 32),
    (gpt(classes=40, tied=False, **TINY), 2 * 640 + 192 + 2 * 1_960 + 32),
  ],
)
def test_parameter_counts(model, parameters):
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) == parameters


@pytest.mark.parametrize(
  ("tied", "parts"),
  [
    (True, {"stem", "stage_0", "stage_1", "norm"}),
    (False, {"stem", "stage_0", "stage_1", "norm", "head"}),
  ],
)
def test_parts_are_named_for_taps(tied, parts):
  model = gpt(classes=40, tied=tied, **TINY)
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["params"]
  assert set(shapes) == parts
  assert set(shapes["stage_0"]) == {"norm_0", "attention", "norm_1", "mlp"}


def test_stored_golden_case():
  model = gpt(classes=40, **TINY)
  with jax.default_matmul_precision("highest"):
    logits = jax.jit(model.apply)(seeded(model), TOKENS)
  np.testing.assert_allclose(logits[0, :, :5], LOGITS, atol=1e-5)


@pytest.mark.slow
def test_no_token_sees_a_later_one():
  model = gpt(classes=40, **TINY)
  params = seeded(model)

  def logits(shift):
    def shifted(call, args, kwargs, context):
      out = call(*args, **kwargs)
      stem = context.module.name == "stem" and context.method_name == "__call__"
      return out + shift if stem else out

    with nn.intercept_methods(shifted):
      return model.apply(params, TOKENS)[0].sum(-1)

  slopes = jax.jacobian(logits)(jnp.zeros((1, 6, 16)))
  seen = np.abs(slopes[:, 0]).max(-1) > 0
  np.testing.assert_array_equal(seen, np.tri(6, dtype=bool))


@pytest.mark.slow
def test_dropout_in_training_only():
  model = gpt(classes=40, **TINY)
  params = seeded(model)
  first, second = (
    model.apply(params, TOKENS, train=True, rngs={"dropout": jax.random.key(i)})
    for i in (1, 2)
  )
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(
    model.apply(params, TOKENS), model.apply(params, TOKENS)
  )


@pytest.mark.parametrize(
  "options", ["width=0", "width=30, heads=4", "depth=1.5", "dropout=1"]
)
def test_refused(options):
  with pytest.raises(UserError):
    make_model(f"gpt({options})", classes=10)


@pytest.mark.parametrize(
  ("tokens", "says"),
  [
    (jnp.ones((2, 3)), "float32"),
    (jnp.ones((2,), jnp.int32), "(2,)"),
    (jnp.ones((2, 13), jnp.int32), "T <= 12"),
  ],
)
def test_input_refused(tokens, says):
  with pytest.raises(ValueError, match="token ids") as error:
    jax.jit(gpt(classes=40, **TINY).init)(jax.random.key(0), tokens)
  assert says in str(error.value)
