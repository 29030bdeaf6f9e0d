"""Networks in bfloat16 and with remat: what stays float32, what stays equal."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.task import batch_of
from kdjax.core.teacher import observe, teacher_head
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.taps import tapped
from kdjax.train.devices.batch_norm import over_the_batch
from kdjax.train.precision import full_precision, with_precision
from kdjax.train.teacher import live_teacher

CLASSES, IMAGES = 4, jax.random.uniform(jax.random.key(1), (6, 8, 8, 3))
VIT = "vit(patch=4, width=16, depth=2, heads=2)"
# Logits: share of their standard deviation; gradients: cosine with float32's.
# bfloat16 has 8 bits: a hundredth after some layers. A network with batch
# normalisation of six images divides by their small deviations, layer by layer.
PARITY = [
  ("mlp(16, 16)", 0.05, 0.999),
  pytest.param(VIT, 0.05, 0.999, marks=pytest.mark.slow),
  pytest.param("resnet8", 0.15, 0.98, marks=pytest.mark.slow),
]
# One of each family; those for ImageNet on images that are large enough.
FAMILIES = [
  ("mlp(4)", 8), ("lenet", 28), ("resnet8", 8), ("wrn(10, 1)", 8),
  ("cifar_vgg8", 32), ("mobilenet_v2", 32), ("shufflenet_v1", 32),
  ("shufflenet_v2", 32), ("alexnet", 64), ("vgg11", 32), ("vgg11_bn", 32),
  ("resnet18", 32), ("resnet50", 32), (VIT, 8), ("deit_tiny", 32),
  ("projected(lenet(4, 6), width=8)", 8),
]  # fmt: skip


def gradient(network, variables, tap):
  """Gradients of a loss on logits and a feature, as training takes them."""

  def loss(params):
    mask = jnp.ones(len(IMAGES), bool)
    with nn.intercept_methods(over_the_batch(mask)):
      (logits, collections), feats = tapped(network.apply, [tap])(
        {**variables, "params": params},
        IMAGES,
        train=True,
        mutable=[name for name in variables if name != "params"],
      )
    total = jnp.sum(logits**2) + jnp.mean(feats[tap] ** 2)
    return total, (logits, feats[tap], collections)

  return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])


def flat(tree):
  return np.concatenate([np.ravel(x) for x in (*jax.tree.leaves(tree), [])])


@pytest.mark.parametrize(("model", "logits_within", "cosine"), PARITY)
def test_bfloat16_and_remat_beside_float32(model, logits_within, cosine):
  network = make_model(model, classes=CLASSES)
  variables = jax.jit(network.init)(jax.random.key(0), IMAGES)
  tap = "stage_1"
  want, (logits, _, statistics) = gradient(network, variables, tap)
  narrow, aux = gradient(
    with_precision(network, dtype="bfloat16"), variables, tap
  )
  assert {x.dtype for x in jax.tree.leaves((narrow, aux))} == {
    jnp.dtype("float32")
  }
  assert np.isfinite(flat(narrow)).all()
  error = np.abs(aux[0] - logits).max() / np.std(logits)
  assert 0 < error < logits_within
  one, other = flat(narrow), flat(want)
  assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > cosine
  again, aux = gradient(with_precision(network, remat=True), variables, tap)
  np.testing.assert_allclose(flat(again), other, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(flat(aux[2]), flat(statistics), rtol=1e-4)


@pytest.mark.parametrize(
  ("model", "size"),
  [
    pytest.param(*one, marks=[pytest.mark.slow] * (one[1] > 8))
    for one in FAMILIES
  ],
)
def test_every_product_but_the_classifiers_is_narrow(model, size):
  """A single float32 constant on the way would widen all that follows."""
  channels = 1 if model == "lenet" else 3
  images = jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)
  network = make_model(model, classes=CLASSES)
  variables = jax.eval_shape(network.init, jax.random.key(0), images)
  program = jax.make_jaxpr(with_precision(network, dtype="bfloat16").apply)(
    variables, images
  )
  wide = [
    line
    for line in str(program).split("\n")
    if ("dot_general[" in line or "conv_general_dilated[" in line)
    and ":f32" in line.split("=")[0]
  ]
  heads = [name for name in variables["params"] if name.startswith("head")]
  # Cells of an adaptive pooling are means, taken in float32 by two products.
  pooled = 2 * model.startswith(("alexnet", "vgg"))
  assert len(wide) <= len(heads) + pooled


def test_remat_keeps_less_for_the_gradient():
  network = make_model("vit(patch=4, width=8, depth=4, heads=2)", classes=4)
  images = jnp.zeros((64, 8, 8, 3))
  variables = jax.eval_shape(network.init, jax.random.key(0), images)

  def kept(network):
    def pullback(params):
      return jax.vjp(lambda p: network.apply({"params": p}, images), params)[1]

    tree = jax.eval_shape(pullback, variables["params"])
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

  assert kept(with_precision(network, remat=True)) < kept(network) / 2


@pytest.mark.slow
def test_remat_needs_hardly_more_memory_for_more_blocks():
  """On CPUs the gradients of a block end before those of the one below begin."""
  images = jax.ShapeDtypeStruct((64, 8, 8, 3), jnp.float32)
  order = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}

  def temporaries(depth):
    text = f"vit(patch=2, width=8, depth={depth}, heads=2)"
    network = with_precision(make_model(text, classes=4), remat=True)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    step = jax.jit(jax.grad(lambda v, x: network.apply(v, x).sum()))
    compiled = step.lower(variables, images).compile(compiler_options=order)
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporaries(6) < 1.2 * temporaries(2)


def test_teacher_in_bfloat16_says_the_same_in_float32():
  network = make_model("mlp(16)", classes=CLASSES)
  variables = jax.jit(network.init)(jax.random.key(0), IMAGES)
  wide, narrow = (
    live_teacher(full_precision(network), variables, dtype=dtype)
    for dtype in ("float32", "bfloat16")
  )
  params = narrow.arrays["params"]
  assert params["stage_0"]["dense"]["kernel"].dtype == jnp.bfloat16
  assert teacher_head(narrow)["kernel"].dtype == jnp.float32
  batch = batch_of(IMAGES)
  one, other = (observe(x, batch, ["stage_0"]) for x in (wide, narrow))
  assert other.answers.dtype == other.feats["stage_0"].dtype == jnp.float32
  np.testing.assert_allclose(other.answers, one.answers, rtol=0.05, atol=0.02)


@pytest.mark.slow
def test_training_reaches_about_the_same_loss(fit):
  network = make_model("mlp(10, dropout=0.3)", classes=CLASSES)
  losses = [
    fit(
      lambda settings: make_objective("kd"),
      network=with_precision(network, dtype=dtype),
      epochs=8,
      seeds=(0,),
    )[-1].metrics["student"]["loss"][0]
    for dtype in ("float32", "bfloat16")
  ]
  assert losses[0] != losses[1]
  np.testing.assert_allclose(*losses, rtol=0.02)
