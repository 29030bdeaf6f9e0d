"""Taps of linen networks against the same numbers computed by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tap_networks import (
  JITTED,
  Attention,
  AutoEncoder,
  Branch,
  Child,
  ConvNet,
  Dense,
  Pair,
  Shared,
  Sower,
  Stack,
  Wrapped,
)

from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.taps import COLLECTION, describe, edited, select, tapped

ROWS, IMAGES, TOKENS = (
  np.random.default_rng(1).normal(size=shape).astype(np.float32)
  for shape in ((2, 4), (2, 4, 4, 1), (2, 3, 4))
)
MLP = make_model("mlp(5, 6)", classes=3)

# network, input, taps, shapes of the features
CASES = {
  "mlp": (
    MLP,
    IMAGES,
    ("stage_*", "head:in", "stage_0/dense:in", ":out"),
    {
      "stage_0": (2, 5),
      "stage_1": (2, 6),
      "head:in": (2, 6),
      "stage_0/dense:in": (2, 16),
      ":out": (2, 3),
    },
  ),
  "conv": (
    ConvNet(),
    IMAGES,
    ("stage_?/norm:in", "stage_1:out#0"),
    {
      "stage_0/norm:in": (2, 4, 4, 3),
      "stage_1/norm:in": (2, 4, 4, 3),
      "stage_1": (2, 4, 4, 3),
    },
  ),
  "attention": (
    Attention(),
    TOKENS,
    ("attention:weights", "attention", "attention/out:in"),
    {
      "attention:weights": (2, 2, 3, 3),
      "attention": (2, 3, 4),
      "attention/out:in": (2, 3, 2, 2),
    },
  ),
  "shared": (
    Shared(),
    ROWS,
    ("shared", "shared#1", "shared:in#1"),
    {"shared": (2, 4), "shared#1": (2, 4), "shared:in#1": (2, 4)},
  ),
  "remat": (
    Wrapped(nn.remat(Dense)),
    ROWS,
    ("block", "block#1", "block/dense#1", "last/dense:in"),
    {
      "block": (2, 4),
      "block#1": (2, 4),
      "block/dense#1": (2, 4),
      "last/dense:in": (2, 4),
    },
  ),
  "jit": (
    Wrapped(JITTED),
    ROWS,
    ("block", "block#1", "block/dense#1", "last/dense:in"),
    {
      "block": (2, 4),
      "block#1": (2, 4),
      "block/dense#1": (2, 4),
      "last/dense:in": (2, 4),
    },
  ),
  "scan": (
    Stack((COLLECTION, "params")),
    ROWS,
    ("layers/dense", ":in"),
    {"layers/dense": (3, 2, 4), ":in": (2, 4)},
  ),
  "methods": (
    AutoEncoder(),
    ROWS,
    (".encode", ".encode:in", "layers_0"),
    {".encode": (2, 3), ".encode:in": (2, 4), "layers_0": (2, 3)},
  ),
}


CASES["branch"] = (Branch(), ROWS, ("layer",), {"layer": (2, 4)})


@functools.cache
def made(name):
  network, x, *_ = CASES[name]
  return network, jax.jit(network.init)(jax.random.key(0), x), x


def check_close(a, b):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), a, b
  )


@pytest.mark.parametrize("name", CASES)
def test_taps_give_features_and_leave_the_rest(name):
  network, variables, x = made(name)
  *_, taps, shapes = CASES[name]
  apply = tapped(network.apply, taps)
  (logits, feats), plain = jax.jit(
    lambda *given: (apply(*given), network.apply(*given))
  )(variables, x)
  assert {tap: value.shape for tap, value in feats.items()} == shapes
  check_close(logits, plain)


@pytest.mark.parametrize("name", CASES)
def test_without_taps_the_program_is_the_same(name):
  network, variables, x = made(name)

  def program(apply_fn):
    def step(variables, x):
      return apply_fn(variables, x)

    return jax.jit(step).lower(variables, x).as_text()

  plain = program(network.apply)
  apply = tapped(network.apply, ())
  assert program(lambda *args: apply(*args)[0]) == plain
  assert program(edited(network.apply, {})) == plain


def test_values_are_those_of_the_network_by_hand():
  _, variables, images = made("mlp")
  params = variables["params"]

  def by_hand(params):
    x = images.reshape(2, -1)
    stages = []
    for name in ("stage_0", "stage_1"):
      dense = params[name]["dense"]
      x = nn.relu(x @ dense["kernel"] + dense["bias"][None])
      stages.append(x)
    return tuple(stages)

  def by_taps(params):
    apply = tapped(MLP.apply, "stage_*")
    return select(apply({"params": params}, images)[1], "stage_*")

  check_close(*jax.jit(lambda p: (by_taps(p), by_hand(p)))(params))

  def loss(stages):
    return sum(jnp.sum(jnp.sin(stage)) for stage in stages)

  expected = jax.jit(jax.grad(lambda params: loss(by_hand(params))))(params)
  for transform in (lambda f: f, jax.jit):
    slope = jax.grad(transform(lambda params: loss(by_taps(params))))
    check_close(jax.jit(slope)(params), expected)


def test_gradient_flows_through_remat():
  network, variables, x = made("remat")

  def loss(network):
    apply = tapped(network.apply, "block/dense#1")
    slope = jax.grad(lambda v: jnp.sum(apply(v, x)[1]["block/dense#1"] ** 2))
    return jax.jit(slope)(variables)

  found = loss(network)
  check_close(found, loss(Wrapped(Dense)))
  assert np.any(found["params"]["block"]["dense"]["kernel"])


def test_shared_calls_come_in_order():
  network, variables, x = made("shared")
  layer = nn.Dense(4).bind({"params": variables["params"]["shared"]})
  feats = tapped(network.apply, ("shared#1", "shared"))(variables, x)[1]
  check_close(feats, {"shared": layer(x), "shared#1": layer(layer(x))})


def test_jitted_blocks_share_no_taps():
  """nn.jit keeps traces, for other calls and other modules of a kind."""
  network, variables, x = made("jit")
  plain = Wrapped(Dense).apply
  for taps in (
    ("block/dense",),
    ("last/dense",),
    ("last:in", "block/dense#1"),
    ("block/dense", "last/dense"),
  ):
    for _ in range(2):
      feats = tapped(network.apply, taps)(variables, x)[1]
      check_close(feats, tapped(plain, taps)(variables, x)[1])
  edits = ("block/dense", "block/dense#1", "last:in", "last/dense")
  for tap in edits:
    for function in (jnp.zeros_like, jnp.ones_like):
      found = edited(network.apply, {tap: function})(variables, x)
      check_close(found, edited(plain, {tap: function})(variables, x))
  check_close(network.apply(variables, x), plain(variables, x))


def test_vmap_and_pmap():
  _, variables, x = made("mlp")
  stacked = jax.tree.map(lambda a: np.stack([a, 2 * a]), variables)
  apply = tapped(MLP.apply, ("stage_1", "head:in"))
  alone = jax.jit(apply)
  expected = [
    alone(jax.tree.map(lambda a, i=i: a[i], stacked), x) for i in (0, 1)
  ]
  expected = jax.tree.map(lambda *a: np.stack(a), *expected)
  mapped = jax.jit(jax.vmap(apply, in_axes=(0, None)))
  check_close(mapped(stacked, x), expected)
  devices = jax.devices()[:2]
  parallel = jax.pmap(apply, in_axes=(0, None), devices=devices)
  check_close(parallel(stacked, x), expected)


@pytest.mark.parametrize(
  "mutable",
  [["batch_stats"], "batch_stats", True, nn.DenyList(["params"]), [], False],
)
def test_mutable_collections_are_as_before(mutable):
  network, variables, x = made("conv")
  rngs = {"dropout": jax.random.key(2)}
  options = {"train": True, "mutable": mutable, "rngs": rngs}
  if mutable in ([], False):
    options["train"] = False
  kinds = (
    network.apply,
    tapped(network.apply, "stage_0"),
    edited(network.apply, {"stage_0": lambda x: x}),
  )
  plain, (found, feats), changed = jax.jit(
    lambda *given: [apply(*given, **options) for apply in kinds]
  )(variables, x)
  assert jax.tree.structure(found) == jax.tree.structure(plain)
  check_close(found, plain)
  assert jax.tree.structure(changed) == jax.tree.structure(plain)
  assert feats["stage_0"].shape == (2, 4, 4, 3)


def softmax_by_hand(params, x, mask=None):
  query, key = (
    jnp.einsum("btd,dhk->bthk", x, params[name]["kernel"])
    + params[name]["bias"][None, None]
    for name in ("query", "key")
  )
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(2)
  if mask is not None:
    scores = jnp.where(mask, scores, -1e30)
  return jax.nn.softmax(scores)


@pytest.mark.parametrize(
  ("layer", "masked", "train"),
  [
    (nn.MultiHeadDotProductAttention, False, False),
    (nn.MultiHeadDotProductAttention, True, True),
    # By other names the same layer.
    (nn.SelfAttention, True, True),
    (Child, True, True),
    *(
      pytest.param(*row, marks=pytest.mark.slow)
      for row in (
        (nn.MultiHeadDotProductAttention, True, False),
        (nn.MultiHeadDotProductAttention, False, True),
        (nn.MultiHeadAttention, True, True),
        (Child, False, False),
      )
    ),
  ],
)
def test_attention_weights(layer, masked, train):
  if layer is nn.SelfAttention:
    with pytest.warns(DeprecationWarning, match="SelfAttention"):
      check_attention_weights(layer, masked, train)
  else:
    check_attention_weights(layer, masked, train)


def test_attention_weights_under_remat():
  layer = nn.remat(nn.MultiHeadDotProductAttention)
  check_attention_weights(layer, False, False)


def check_attention_weights(layer, masked, train):
  network = Attention(layer)
  mask = np.tril(np.ones((1, 1, 3, 3), bool)) if masked else None
  _, variables, _ = made("attention")
  rngs = {"dropout": jax.random.key(3)}
  options = {"train": train, "mask": mask, "rngs": rngs}
  apply = tapped(network.apply, "attention:weights")

  def run(variables):
    return apply(variables, TOKENS, **options)

  @jax.jit
  def look(variables):
    def size(variables):
      found, feats = run(variables)
      return jnp.sum(feats["attention:weights"] ** 2), (found, feats)

    (_, seen), grads = jax.value_and_grad(size, has_aux=True)(variables)
    by_hand = softmax_by_hand(variables["params"]["attention"], TOKENS, mask)
    plain = network.apply(variables, TOKENS, **options)
    return seen, grads["params"]["attention"], plain, by_hand

  (found, feats), grads, plain, by_hand = look(variables)
  check_close(found, plain)
  assert list(feats) == ["attention:weights"]
  assert feats["attention:weights"].shape == (2, 2, 3, 3)
  check_close(feats["attention:weights"], by_hand)
  assert np.any(grads["query"]["kernel"])


@pytest.mark.parametrize("sow_weights", [False, True])
def test_the_callers_intermediates_are_his(sow_weights):
  network, variables, x = made("attention")
  options = {"sow_weights": sow_weights, "mutable": ["intermediates"]}
  plain = network.apply(variables, x, **options)
  found, feats = tapped(network.apply, "attention:weights")(
    variables, x, **options
  )
  check_close(found, plain)
  assert bool(plain[1]) == sow_weights
  assert feats["attention:weights"].shape == (2, 2, 3, 3)
  sower = Sower()
  apply = tapped(sower.apply, "head:in")
  variables = jax.jit(sower.init)(jax.random.key(0), ROWS)
  variables = {"params": variables["params"]}
  (_, collections), _ = apply(variables, ROWS, mutable=["intermediates"])
  check_close(collections, {"intermediates": {"own": (ROWS,)}})
  (_, captured), _ = apply(
    variables, ROWS, mutable="intermediates", capture_intermediates=True
  )
  assert sorted(captured["intermediates"]) == ["__call__", "head", "own"]


def test_other_interceptors_still_run():
  _, variables, x = made("mlp")
  met = []

  def note(next_function, args, kwargs, context):
    met.append(context.module.path)
    result = next_function(*args, **kwargs)
    return 2 * result if context.module.path == ("stage_0",) else result

  expected = 2 * tapped(MLP.apply, "stage_0")(variables, x)[1]["stage_0"]
  with nn.intercept_methods(note):
    feats = tapped(MLP.apply, ("stage_0", "stage_1/dense:in"))(variables, x)[1]
  assert ("stage_1", "dense") in met
  check_close(feats["stage_1/dense:in"], expected)


@pytest.mark.parametrize(
  ("name", "tap", "says"),
  [
    ("branch", "layer#1", "layer ran inside a transform, such as nn.cond"),
    ("mlp", "stage_2", "did you mean 'stage_1'.*There is: stage_0, stage_0/d"),
    ("mlp", "stages_*", "tap 'stages_\\*' is not reached.*There is: stage_0"),
    ("mlp", "stage_0.encode", "stage_0 ran __call__, not encode"),
    ("mlp", "stage_0#3", "was called 1 time, so the last call is #0"),
    ("shared", "shared#3", "was called 2 times, so the last call is #1"),
    ("mlp", "head:weights", "head is a Dense, and only the stock attention"),
    ("methods", "layers_3", "did you mean 'layers_[01]'"),
    ("methods", ".decode:in", "without positional input"),
  ],
)
def test_a_miss_says_what_there_is(name, tap, says):
  network, variables, x = made(name)
  with pytest.raises(UserError, match=says):
    tapped(network.apply, (tap,))(variables, x)
  if not tap.endswith("weights"):
    with pytest.raises(UserError, match=says):
      edited(network.apply, {tap: jnp.sin})(variables, x)


def test_a_hidden_layer_says_how_to_show_it():
  network = Stack()
  variables = jax.jit(network.init)(jax.random.key(0), ROWS)
  for use in (
    tapped(network.apply, "layers/*"),
    edited(network.apply, {"layers/dense": jnp.sin}),
  ):
    with pytest.raises(UserError, match="nn.scan.*variable_axes.*taps"):
      use(variables, ROWS)
  shown = Stack(("params", COLLECTION))
  layers = tapped(shown.apply, "layers")(variables, ROWS)[1]["layers"][0]
  assert layers.shape == (3, 2, 4)
  check_close(layers[-1], network.apply(variables, ROWS))


def test_long_lists_are_cut():
  network = make_model(f"mlp({', '.join('2' * 9)})", classes=2)
  variables = jax.eval_shape(network.init, jax.random.key(0), IMAGES)
  with pytest.raises(UserError, match="stage_2/Dropout_0 ... and 25 more"):
    jax.eval_shape(tapped(network.apply, "nowhere"), variables, IMAGES)


def test_other_attention_functions_are_refused():
  def inside(query, key, value, mask=None, **kwargs):
    return nn.dot_product_attention(query, key, value, mask=mask)

  def closed(query, key, value):
    return nn.dot_product_attention(query, key, value)

  variables = made("attention")[1]
  for function in (inside, closed):
    apply = Attention(function=function).apply
    with pytest.raises(UserError, match=f"{function.__name__} keeps its weigh"):
      tapped(apply, "attention:weights")(variables, TOKENS)
    assert tapped(apply, "attention")(variables, TOKENS)[1]
    assert len(describe(apply, variables, TOKENS)) == 6


def test_trees_are_tapped_as_they_are():
  network = Pair()
  variables = jax.jit(network.init)(jax.random.key(0), ROWS)
  feats = tapped(network.apply, "both")(variables, ROWS)[1]
  check_close(feats["both"][1], {"more": jnp.ones((2, 4))})
  with pytest.raises(UserError, match="'both:in'.* without positional input"):
    tapped(network.apply, "both:in")(variables, ROWS)
  rows = {row.tap: row for row in describe(network.apply, variables, ROWS)}
  assert rows["both"].shape == ((2, 4), (2, 4))
  assert rows["both"].dtype == "float32, float32"


def test_methods_that_the_caller_names():
  network, variables, x = made("methods")
  code, feats = tapped(network.apply, (".encode", "layers_0:in"))(
    variables, x, method="encode"
  )
  check_close(feats, {".encode": code, "layers_0:in": x})


def test_edits_change_values_and_pass_gradients():
  _, variables, x = made("mlp")
  head = nn.Dense(3).bind({"params": variables["params"]["head"]})
  features = tapped(MLP.apply, "head:in")(variables, x)[1]["head:in"]

  def logits(scale, tap):
    return edited(MLP.apply, {tap: lambda x: scale * x})(variables, x)

  for tap in ("stage_1", "head:in", "stage_1/Dropout_0"):
    check_close(
      jax.jit(logits, static_argnums=1)(3.0, tap), head(3.0 * features)
    )
    found = jax.grad(lambda scale, tap=tap: jnp.sum(logits(scale, tap)))(3.0)
    kernel = variables["params"]["head"]["kernel"]
    check_close(found, jnp.sum(features @ kernel))
  shared, variables, x = made("shared")
  layer = nn.Dense(4).bind({"params": variables["params"]["shared"]})
  changed = edited(shared.apply, {"shared:in#1": jnp.sin})
  check_close(changed(variables, x), layer(jnp.sin(layer(x))))
  every = edited(MLP.apply, {"stage_*": jnp.zeros_like})
  variables, x = made("mlp")[1:]
  feats = tapped(every, "stage_*")(variables, x)[1]
  check_close(
    feats, {"stage_0": jnp.zeros((2, 5)), "stage_1": jnp.zeros((2, 6))}
  )
  with pytest.raises(UserError, match="can be read, not edited"):
    edited(MLP.apply, {"a:weights": jnp.sin})


def test_description_lists_the_network_in_order():
  network, variables, x = made("attention")
  shapes = jax.eval_shape(lambda: (variables, x))
  rows = describe(network.apply, *shapes, train=False)
  assert [(row.tap, row.shape, row.module) for row in rows] == [
    (":out", (2, 3, 4), "Attention"),
    ("attention", (2, 3, 4), "MultiHeadDotProductAttention"),
    ("attention:weights", (2, 2, 3, 3), "MultiHeadDotProductAttention"),
    ("attention/query", (2, 3, 2, 2), "DenseGeneral"),
    ("attention/key", (2, 3, 2, 2), "DenseGeneral"),
    ("attention/value", (2, 3, 2, 2), "DenseGeneral"),
    ("attention/out", (2, 3, 4), "DenseGeneral"),
  ]
  for name in ("shared", "jit", "scan", "methods", "conv"):
    network, variables, x = made(name)
    taps = [row.tap for row in describe(network.apply, variables, x)]
    feats = tapped(network.apply, taps)(variables, x)[1]
    assert sorted(feats) == sorted(taps)
  taps = [row.tap for row in describe(Stack().apply, *made("scan")[1:])]
  assert taps == [":out"]


class Replaced(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(2, name="out")(nn.Dense(3, name="inside")(x))


def test_a_layer_that_others_compute_anew_is_tapped_all_the_same():
  """As training does with dropout and batch normalisation: its taps are outside."""

  def anew(next_function, args, kwargs, context):
    if context.module.name == "inside" and context.method_name == "__call__":
      return jnp.full((1, 3), 7.0)
    return next_function(*args, **kwargs)

  network = Replaced()
  variables = network.init(jax.random.key(0), jnp.ones((1, 4)))
  with nn.intercept_methods(anew):
    _, features = tapped(network.apply, ["inside", "out:in"])(
      variables, jnp.ones((1, 4))
    )
  assert (features["inside"] == 7).all() and (features["out:in"] == 7).all()
