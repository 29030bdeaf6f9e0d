"""BERT: sizes, padding, pooling, and Hugging Face's numbers from its weights."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.bert import mean_of_real, unit
from kdjax.models.bert_sizes import bert, bert_base, minilm_l6
from kdjax.models.pretrained.bert import from_hugging_face
from kdjax.taps import tapped

TINY = {
  "vocabulary": 40,
  "width": 16,
  "depth": 2,
  "heads": 4,
  "mlp": 24,
  "positions": 12,
}
TOKENS = jnp.array([[3, 7, 11, 2, 5], [9, 39, 4, 0, 0]])
SEGMENTS = jnp.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
# Of transformers 5.23's BertModel, from the weights that `published` makes.
POOLER = [
  [0.878348, -0.218728, -0.698707, 0.996454, 0.990578, -0.979604],
  [0.977493, -0.470081, -0.840372, 0.989453, 0.979786, -0.963837],
]
MEAN_STATES = [
  [-0.454651, -2.486717, -1.134222, 0.18603, 0.359471, 0.241177],
  [1.430207, -2.317845, -1.086375, -0.160834, 0.150316, -0.069239],
]


def seeded(name, shape):
  """The same numbers for a name and shape, here and in the other library."""
  draw = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
  return (0.3 * draw + name.endswith("Norm.weight")).astype(np.float32)


def published(prefix="", pooler=True):
  """The tiny model's tensors, named and laid out as Hugging Face's are."""
  width, hidden = TINY["width"], TINY["mlp"]

  def leaves(name, *weight):
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}

  shapes = {
    "embeddings.word_embeddings.weight": (TINY["vocabulary"], width),
    "embeddings.position_embeddings.weight": (TINY["positions"], width),
    "embeddings.token_type_embeddings.weight": (2, width),
  } | leaves("embeddings.LayerNorm", width)
  for i in range(TINY["depth"]):
    layer = f"encoder.layer.{i}"
    for name in ("self.query", "self.key", "self.value", "output.dense"):
      shapes |= leaves(f"{layer}.attention.{name}", width, width)
    shapes |= leaves(f"{layer}.attention.output.LayerNorm", width)
    shapes |= leaves(f"{layer}.intermediate.dense", hidden, width)
    shapes |= leaves(f"{layer}.output.dense", width, hidden)
    shapes |= leaves(f"{layer}.output.LayerNorm", width)
  if pooler:
    shapes |= leaves("pooler.dense", width, width)
  return {prefix + name: seeded(name, shape) for name, shape in shapes.items()}


def apply(model, tensors, *inputs):
  with jax.default_matmul_precision("highest"):
    return model.apply({"params": from_hugging_face(tensors, model)}, *inputs)


@pytest.mark.parametrize(
  ("model", "parameters"),
  [
    (bert_base(classes=0), 109_482_240),
    (bert(classes=0), 108_891_648),
    (bert_base(classes=2), 109_482_240 + 2 * 768 + 2),
    (minilm_l6(classes=0, pool="pooler"), 22_713_216),
    (minilm_l6(classes=0), 22_565_376),
    (make_model("minilm_l6", classes=3), 22_565_376 + 3 * 384 + 3),
  ],
)
def test_parameter_counts(model, parameters):
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) == parameters


def test_parts_are_named_for_taps():
  model = bert(classes=3, **TINY)
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["params"]
  assert set(shapes) == {"stem", "stage_0", "stage_1", "head"}
  assert set(shapes["stage_0"]) == {"attention", "norm_0", "mlp", "norm_1"}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize(
  ("pool", "expected"), [("pooler", POOLER), ("mean", MEAN_STATES)]
)
def test_stored_golden_case(prefix, pool, expected):
  model = bert(classes=0, pool=pool, **TINY)
  pooled = apply(model, published(prefix), TOKENS, SEGMENTS)
  expected = np.array(expected)
  np.testing.assert_allclose(
    pooled[:, : expected.shape[1]], expected, atol=1e-5
  )


def test_same_as_hugging_face():
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  config = transformers.BertConfig(
    vocab_size=TINY["vocabulary"],
    hidden_size=TINY["width"],
    num_hidden_layers=TINY["depth"],
    num_attention_heads=TINY["heads"],
    intermediate_size=TINY["mlp"],
    max_position_embeddings=TINY["positions"],
  )
  theirs = transformers.BertModel(config).eval()
  with torch.no_grad():
    tokens, segments = (torch.tensor(np.array(x)) for x in (TOKENS, SEGMENTS))
    expected = theirs(
      tokens.long(),
      attention_mask=(tokens != 0).long(),
      token_type_ids=segments.long(),
    ).pooler_output.numpy()
  tensors = {name: x.numpy() for name, x in theirs.state_dict().items()}
  ours = apply(
    bert(classes=0, pool="pooler", **TINY), tensors, TOKENS, SEGMENTS
  )
  np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["cls", "mean", "pooler"])
def test_padding_changes_nothing(pool):
  model = bert(classes=3, pool=pool, **TINY)
  tokens = TOKENS[1:, :3]
  params = jax.jit(model.init)(jax.random.key(0), tokens)
  padded = jnp.pad(tokens, ((0, 0), (0, 6)))
  np.testing.assert_allclose(
    model.apply(params, tokens), model.apply(params, padded), atol=1e-6
  )


def test_padding_gets_no_attention():
  model = bert(classes=3, **TINY)
  head = {"classifier.weight": np.ones((3, 16)), "classifier.bias": np.ones(3)}
  params = {"params": from_hugging_face(published() | head, model)}
  taps = ["stage_0/attention:weights", "stage_1", "head:in"]
  _, found = jax.jit(tapped(model.apply, taps))(params, TOKENS)
  weights = np.asarray(found["stage_0/attention:weights"])
  assert weights.shape == (2, 4, 5, 5)
  np.testing.assert_array_equal(weights[1, ..., 3:], 0)
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
  assert found["stage_1"].shape == (2, 5, 16)
  assert found["head:in"].shape == (2, 16)


@pytest.mark.slow
def test_only_padding_is_finite_with_finite_gradients():
  model = bert(classes=0, pool="mean", normalise=True, **TINY)
  tokens = jnp.zeros((1, 4), jnp.int32)
  params = jax.jit(model.init)(jax.random.key(0), tokens)
  value, slopes = jax.value_and_grad(lambda p: model.apply(p, tokens).sum())(
    params
  )
  assert value == 0
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))


@pytest.mark.slow
def test_dropout_in_training_only():
  model = bert(classes=3, **TINY)
  params = jax.jit(model.init)(jax.random.key(0), TOKENS)
  first, second = (
    model.apply(params, TOKENS, train=True, rngs={"dropout": jax.random.key(i)})
    for i in (1, 2)
  )
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(
    model.apply(params, TOKENS), model.apply(params, TOKENS)
  )


def test_embeddings_of_unit_length():
  model = bert(classes=0, pool="mean", normalise=True, **TINY)
  params = {"params": from_hugging_face(published(pooler=False), model)}
  rows = jax.jit(model.apply)(params, TOKENS)
  np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_pooling_by_hand():
  states = jnp.array([[[1.0, 0.0], [3.0, 4.0], [8.0, 8.0]]])
  mean = mean_of_real(states, jnp.array([[True, True, False]]))
  np.testing.assert_array_equal(mean, [[2, 2]])
  np.testing.assert_allclose(unit(mean), [[0.5**0.5] * 2], rtol=1e-6)


@pytest.mark.parametrize(
  "options",
  [
    "vocabulary=0",
    "width=30, heads=4",
    "depth=1.5",
    "pool='max'",
    "dropout=1",
    "normalise=True",
  ],
)
def test_refused(options):
  with pytest.raises(UserError):
    make_model(f"bert({options})", classes=10)


@pytest.mark.parametrize(
  ("tokens", "says"),
  [
    (jnp.ones((2, 3)), "float32"),
    (jnp.ones((2, 3, 1), jnp.int32), "(2, 3, 1)"),
    (jnp.ones((2, 13), jnp.int32), "T <= 12"),
  ],
)
def test_input_refused(tokens, says):
  with pytest.raises(ValueError, match="token ids") as error:
    jax.jit(bert(classes=3, **TINY).init)(jax.random.key(0), tokens)
  assert says in str(error.value)


def test_a_head_for_the_task_is_left_to_train():
  tensors = published()
  params = from_hugging_face(tensors, bert(classes=3, **TINY))
  assert set(params) == {"stem", "stage_0", "stage_1"}
  head = {
    "classifier.weight": np.ones((3, 16)),
    "classifier.bias": np.ones(3),
    "cls.predictions.bias": np.ones(40),
    "embeddings.position_ids": np.arange(12),
  }
  params = from_hugging_face(tensors | head, bert(classes=3, **TINY))
  assert params["head"]["kernel"].shape == (16, 3)


def test_old_names_of_norms():
  old = {
    name.replace("Norm.weight", "Norm.gamma").replace(
      "Norm.bias", "Norm.beta"
    ): value
    for name, value in published().items()
  }
  model = bert(classes=0, **TINY)
  new, old = (
    traverse_util.flatten_dict(from_hugging_face(tensors, model))
    for tensors in (published(), old)
  )
  assert new.keys() == old.keys()
  for path, value in new.items():
    np.testing.assert_array_equal(value, old[path])


@pytest.mark.parametrize(
  ("options", "change", "says"),
  [
    (
      {},
      lambda t: t.pop("embeddings.LayerNorm.bias"),
      "embeddings.LayerNorm.bias",
    ),
    ({}, lambda t: t.update({"encoder.relative.weight": 1}), "relative"),
    ({"width": 32}, lambda t: None, "(40, 16)"),
    ({"depth": 1}, lambda t: None, "encoder.layer.1."),
    ({"depth": 3}, lambda t: None, "encoder.layer.2."),
    (
      {"pool": "pooler"},
      lambda t: t.pop("pooler.dense.bias"),
      "pooler.dense.bias",
    ),
  ],
)
def test_weights_refused(options, change, says):
  tensors = published()
  change(tensors)
  with pytest.raises(UserError) as error:
    from_hugging_face(tensors, bert(classes=0, **TINY | options))
  assert says in str(error.value)
