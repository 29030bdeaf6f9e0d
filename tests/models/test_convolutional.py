"""All convolutional nets for small images, in tables.

Numbers of parameters are those of the distillation literature's code
(RepDistiller, arXiv:1910.10699; SimKD, arXiv:2203.14001) at 100 classes.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model

# Parameters, number of stages, shape of the last one for images of 32 pixels.
PUBLISHED = [
  ("resnet8", 83_892, 3, (8, 8, 64)),
  ("resnet14", 181_108, 3, (8, 8, 64)),
  ("resnet20", 278_324, 3, (8, 8, 64)),
  ("resnet32", 472_756, 3, (8, 8, 64)),
  ("resnet44", 667_188, 3, (8, 8, 64)),
  ("resnet56", 861_620, 3, (8, 8, 64)),
  ("resnet110", 1_736_564, 3, (8, 8, 64)),
  ("resnet8x4", 1_233_540, 3, (8, 8, 256)),
  ("resnet32x4", 7_433_860, 3, (8, 8, 256)),
  ("cifar_resnet(20)", 278_324, 3, (8, 8, 64)),
  ("wrn(16, 1)", 180_916, 3, (8, 8, 64)),
  ("wrn(16, 2)", 703_284, 3, (8, 8, 128)),
  ("wrn(40, 1)", 569_780, 3, (8, 8, 64)),
  ("wrn(40, 2)", 2_255_156, 3, (8, 8, 128)),
  ("wrn(28, 10)", 36_536_884, 3, (8, 8, 640)),
  ("cifar_vgg8", 3_965_028, 4, (4, 4, 512)),
  ("cifar_vgg11", 9_277_284, 4, (4, 4, 512)),
  ("cifar_vgg13", 9_462_180, 4, (4, 4, 512)),
  ("cifar_vgg16", 14_774_436, 4, (4, 4, 512)),
  ("cifar_vgg19", 20_086_692, 4, (4, 4, 512)),
  ("cifar_vgg(13)", 9_462_180, 4, (4, 4, 512)),
  ("mobilenet_v2", 812_836, 4, (2, 2, 160)),
  ("mobilenet_v2(1.0)", 2_353_060, 4, (2, 2, 320)),
  ("shufflenet_v1", 949_258, 3, (4, 4, 960)),
  ("shufflenet_v2", 1_355_528, 3, (4, 4, 464)),
  ("shufflenet_v2(1.5)", 2_580_548, 3, (4, 4, 704)),
]
SLOW = ("resnet110", "mobilenet_v2(1.0)", "shufflenet_v2(1.5)")
# Nets small enough to be run, with the side of images that they are run on.
SMALL = [
  ("lenet(4, 6, hidden=8)", 8),
  ("cifar_resnet(8, (4, 4, 6, 8))", 8),
  ("wrn(10, 1)", 8),
  ("projected(lenet(4, 6), width=8)", 8),
]


def outline(text, images, classes=100):
  """(shapes of the variables, {path: (input's, output's shape)} of the calls)."""
  model = make_model(text, classes=classes)
  calls = {}

  def note(next_function, args, kwargs, context):
    result = next_function(*args, **kwargs)
    if context.method_name == "__call__":
      path = "/".join(context.module.path)
      calls[path] = (args[0].shape, result.shape)
    return result

  def init(key, images):
    with nn.intercept_methods(note):
      return model.init(key, images)

  return jax.eval_shape(init, jax.random.key(0), images), calls


@pytest.mark.parametrize(
  ("text", "parameters", "stages", "last"),
  # Slow to trace.
  [
    pytest.param(*row, marks=[pytest.mark.slow] * (row[0] in SLOW))
    for row in PUBLISHED
  ],
  ids=[row[0] for row in PUBLISHED],
)
def test_published_nets(text, parameters, stages, last):
  shapes, calls = outline(text, jnp.zeros((2, 32, 32, 3)))
  leaves = jax.tree.leaves(shapes["params"])
  assert sum(math.prod(x.shape) for x in leaves) == parameters
  assert all(x.dtype == jnp.float32 for x in leaves)

  assert calls[""][1] == calls["head"][1] == (2, 100)
  assert len(calls["head"][0]) == 2
  names = {f"stage_{i}" for i in range(stages)}
  assert names == {x for x in shapes["params"] if x.startswith("stage")}
  assert calls[f"stage_{stages - 1}"][1] == (2, *last)
  for name in names:
    size = calls[name][1]
    assert calls[f"{name}/activation"] == (size, size)


@pytest.mark.slow
@pytest.mark.parametrize(
  "text", ["lenet", "resnet8", "wrn(10, 2)", "projected(resnet8, width=32)"]
)
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_images_of_all_sizes(text, shape):
  calls = outline(text, jnp.zeros((3, *shape)), classes=7)[1]
  assert calls[""][1] == (3, 7)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("text", "side", "last"),
  [
    ("cifar_vgg8", 28, (3, 3, 512)),
    ("cifar_vgg8", 64, (4, 4, 512)),
    ("shufflenet_v1", 28, (4, 4, 960)),
    ("shufflenet_v2", 64, (8, 8, 464)),
    ("mobilenet_v2", 64, (4, 4, 160)),
  ],
)
def test_other_sizes_of_the_larger_nets(text, side, last):
  calls = outline(text, jnp.zeros((1, side, side, 1)))[1]
  stages = [
    path for path in calls if path.startswith("stage") and "/" not in path
  ]
  assert calls[max(stages)][1] == (1, *last)


@pytest.mark.parametrize(
  ("text", "side", "least"),
  [
    ("lenet(4, 4, 4)", 7, 8),
    ("cifar_vgg8", 7, 8),
    ("mobilenet_v2", 8, 16),
    ("shufflenet_v1", 7, 8),
    ("shufflenet_v2", 7, 8),
  ],
)
def test_too_small_images(text, side, least):
  with pytest.raises(ValueError, match=f"at least {least} x {least}"):
    outline(text, jnp.zeros((1, side, side, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(("text", "side"), SMALL)
def test_training_step(text, side):
  """Finite slopes that reach every part, and statistics that move."""
  model = make_model(text, classes=3)
  images = jax.random.normal(jax.random.key(1), (4, side, side, 1))
  labels = jnp.array([0, 1, 2, 0])
  variables = jax.jit(model.init)(jax.random.key(0), images)
  rest = {key: variables[key] for key in variables if key != "params"}

  @jax.jit
  def step(params):
    def loss(params):
      logits, state = model.apply(
        {"params": params, **rest}, images, train=True, mutable=["batch_stats"]
      )
      return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, labels
      ).mean(), state

    return jax.grad(loss, has_aux=True)(params)

  grads, state = step(variables["params"])
  for part, tree in grads.items():
    leaves = jax.tree.leaves(tree)
    assert all(np.isfinite(x).all() for x in leaves), part
    assert any(np.any(x) for x in leaves), part
  for old, new in zip(
    jax.tree.leaves(rest), jax.tree.leaves(dict(state)), strict=True
  ):
    assert not np.array_equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize(("text", "side"), SMALL)
def test_evaluation_repeats_and_looks_at_one_image_at_a_time(text, side):
  model = make_model(text, classes=3)
  images = jax.random.normal(jax.random.key(1), (4, side, side, 1))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  logits = jax.jit(model.apply)(variables, images)
  assert np.array_equal(logits, jax.jit(model.apply)(variables, images))
  np.testing.assert_allclose(
    logits[::-1],
    jax.jit(model.apply)(variables, images[::-1]),
    rtol=1e-4,
    atol=1e-5,
  )
  assert logits.dtype == jnp.float32 and np.ptp(logits) > 0


@pytest.mark.parametrize(
  "text",
  [
    "lenet(0)", "lenet(2.5)", "lenet(4, hidden=0)", "lenet(kernel=4)",
    "lenet(kernel=0)", "lenet(dropout=1)", "lenet(4, depth=2)",
    "cifar_resnet", "cifar_resnet(2)", "cifar_resnet(18)", "cifar_resnet(20.0)",
    "cifar_resnet(20, (16, 32))", "cifar_resnet(20, 16)",
    "cifar_resnet(20, (16, 16, 32, 0))", "resnet20(4)", "resnet9",
    "wrn(40)", "wrn(4, 1)", "wrn(20, 1)", "wrn(16, 0)", "wrn(16, 1.5)",
    "wrn(16, 1, dropout=1)",
    "cifar_vgg", "cifar_vgg(9)", "cifar_vgg('8')", "cifar_vgg8(8)", "cifar_vgg7",
    "mobilenet_v2(0.05)", "mobilenet_v2('a')", "mobilenet_v2(True)",
    "mobilenet_v2(expansion=0)",
    "shufflenet_v1(3)", "shufflenet_v2(0.3)", "shufflenet_v2(True)",
    "shufflenet_v2((1, 2))",
  ],
)  # fmt: skip
def test_refused(text):
  with pytest.raises(UserError):
    make_model(text, classes=10)


@pytest.mark.parametrize(
  ("text", "normalised"),
  [
    pytest.param(
      "cifar_resnet(8, (4, 4, 6, 8))",
      "cifar_resnet(8, (4, 4, 6, 8), {})",
      marks=pytest.mark.slow,
    ),
    ("wrn(10, 1)", "wrn(10, 1, {})"),
    pytest.param("cifar_vgg8", "cifar_vgg8({})", marks=pytest.mark.slow),
    pytest.param("mobilenet_v2", "mobilenet_v2({})", marks=pytest.mark.slow),
    pytest.param("shufflenet_v1", "shufflenet_v1({})", marks=pytest.mark.slow),
    pytest.param("shufflenet_v2", "shufflenet_v2({})", marks=pytest.mark.slow),
  ],
)
def test_normalise_standardises_first(text, normalised):
  """normalise=... is (x - mean) / deviation, and adds no parameters."""
  images = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
  plain = make_model(text, classes=3)
  variables = jax.jit(plain.init)(jax.random.key(1), images)
  inside = make_model(normalised.format("normalise='cifar100'"), classes=3)
  mean = jnp.array([0.5071, 0.4867, 0.4408]).reshape(1, 1, 1, 3)
  deviation = jnp.array([0.2675, 0.2565, 0.2761]).reshape(1, 1, 1, 3)
  np.testing.assert_allclose(
    jax.jit(inside.apply)(variables, images),
    jax.jit(plain.apply)(variables, (images - mean) / deviation),
    rtol=1e-4,
    atol=1e-5,
  )
