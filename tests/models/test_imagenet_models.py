"""ImageNet-sized models: published sizes, parts for taps, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model

RESNET = {"stem", "stage_0", "stage_1", "stage_2", "stage_3", "head"}
VGG = {*(f"stage_{i}" for i in range(5)), "fc_0", "fc_1", "head"}
VIT = {"stem", *(f"stage_{i}" for i in range(12)), "norm", "head"}
TINY = "vit(patch=7, width=32, depth=2, heads=2)"


def shapes(text, side=224, channels=3, classes=1000):
  return jax.eval_shape(
    make_model(text, classes=classes).init,
    jax.random.key(0),
    jnp.zeros((1, side, side, channels)),
  )


# Of each family the fast tests take the smallest of each kind of block: the others
# are traced by the same code, more often.
FAST = (
  "alexnet",
  "vgg11",
  "vgg11_bn",
  "resnet18",
  "resnet50",
  "vit_tiny16",
  "deit_tiny",
)


# The numbers of parameters that torchvision and timm publish.
@pytest.mark.parametrize(
  ("text", "parameters", "parts"),
  [
    pytest.param(*row, marks=[pytest.mark.slow] * (row[0] not in FAST))
    for row in [
      ("alexnet", 61_100_840, VGG),
      ("vgg11", 132_863_336, VGG),
      ("vgg13", 133_047_848, VGG),
      ("vgg16", 138_357_544, VGG),
      ("vgg19", 143_667_240, VGG),
      ("vgg11_bn", 132_868_840, VGG),
      ("vgg13_bn", 133_053_736, VGG),
      ("vgg16_bn", 138_365_992, VGG),
      ("vgg19_bn", 143_678_248, VGG),
      ("resnet18", 11_689_512, RESNET),
      ("resnet34", 21_797_672, RESNET),
      ("resnet50", 25_557_032, RESNET),
      ("resnet101", 44_549_160, RESNET),
      ("resnet152", 60_192_808, RESNET),
      ("vit_tiny16", 5_717_416, VIT),
      ("vit_small16", 22_050_664, VIT),
      ("vit_base16", 86_567_656, VIT),
      ("deit_tiny", 5_910_800, VIT | {"head_dist"}),
      ("deit_small", 22_436_432, VIT | {"head_dist"}),
      ("deit_base", 87_338_192, VIT | {"head_dist"}),
    ]
  ],
)
def test_published_sizes_and_parts(text, parameters, parts):
  params = shapes(text)["params"]
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(params)) == parameters
  assert set(params) == parts


@functools.cache
def outputs(text, side, channels=3):
  """The shape of every named part's output, by its path."""
  model = make_model(text, classes=10)
  images = jnp.zeros((2, side, side, channels))

  def run(key):
    # In one go: what is traced is all that this takes.
    _, variables = model.init_with_output(
      key, images, capture_intermediates=True, mutable=True
    )
    return variables["intermediates"]

  flat = jax.tree_util.tree_leaves_with_path(
    jax.eval_shape(run, jax.random.key(0))
  )
  return {
    "/".join(str(key.key) for key in path[:-2]): leaf.shape
    for path, leaf in flat
  }


@pytest.mark.parametrize(
  ("text", "side", "part", "shape"),
  [
    ("alexnet", 224, "stage_0/activation", (2, 55, 55, 64)),
    ("alexnet", 63, "stage_4", (2, 3, 3, 256)),
    pytest.param(
      "vgg11",
      224,
      "stage_0/activation",
      (2, 224, 224, 64),
      marks=pytest.mark.slow,
    ),
    ("vgg16_bn", 32, "stage_4", (2, 2, 2, 512)),
    ("resnet18", 224, "stem", (2, 56, 56, 64)),
    ("resnet18", 64, "stage_3/activation", (2, 2, 2, 512)),
    pytest.param(
      "resnet50", 224, "stage_1", (2, 28, 28, 512), marks=pytest.mark.slow
    ),
    ("resnet50", 33, "stage_3", (2, 2, 2, 2048)),
    ("vit(patch=16, depth=2)", 224, "stage_1", (2, 197, 192)),
    pytest.param(
      "vit_tiny16", 224, "stage_11", (2, 197, 192), marks=pytest.mark.slow
    ),
    ("deit_tiny", 32, "stage_0/attention", (2, 6, 192)),
    ("deit_tiny", 32, "head_dist", (2, 10)),
  ],
)
def test_taps_see(text, side, part, shape):
  assert outputs(text, side)[part] == shape


@pytest.mark.parametrize(
  ("text", "state"),
  [
    ("alexnet", set()),
    ("vgg11_bn", {"batch_stats"}),
    ("resnet18", {"batch_stats"}),
    ("resnet50", {"batch_stats"}),
    ("vit(depth=1, dropout=0.1, attention_dropout=0.1)", set()),
  ],
)
def test_training_updates_running_averages_alone(text, state):
  model = make_model(text, classes=10)
  images = jnp.zeros((2, 64, 64, 3))

  def train(key):
    variables = model.init(key, images)
    return variables, model.apply(
      variables, images, train=True, rngs={"dropout": key}, mutable=[*state]
    )

  variables, (logits, changed) = jax.eval_shape(train, jax.random.key(0))
  assert logits.shape == (2, 10)
  assert set(changed) == state == set(variables) - {"params"}


@pytest.mark.slow
def test_pre_activations_are_not_rectified():
  """What a tap at `stage_0/activation:in` sees is the sum before its ReLU."""
  model = make_model("resnet18", classes=2)
  images = jax.random.normal(jax.random.key(1), (1, 16, 16, 3))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  _, seen = jax.jit(
    lambda variables: model.apply(
      variables, images, capture_intermediates=True, mutable=["intermediates"]
    )
  )(variables)
  stage = seen["intermediates"]["stage_0"]
  before, after = (
    stage[name]["__call__"][0] for name in ("block_1", "activation")
  )
  assert before.min() < 0
  np.testing.assert_array_equal(after, jnp.maximum(before, 0))


@pytest.mark.slow
def test_tiny_transformer_learns_from_both_heads():
  images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
  model = make_model(f"{TINY[:-1]}, distilled=True, dropout=0.5)", classes=3)
  variables = jax.jit(model.init)(jax.random.key(1), images)
  key = jax.random.key(2)

  @jax.jit
  def run(variables):
    return model.apply(
      variables,
      images,
      train=True,
      rngs={"dropout": key},
      capture_intermediates=lambda module, _: (
        module.name in ("head", "head_dist")
      ),
    )

  logits, seen = run(variables)
  heads = [
    seen["intermediates"][name]["__call__"][0] for name in ("head", "head_dist")
  ]
  np.testing.assert_allclose(logits, (heads[0] + heads[1]) / 2, rtol=1e-6)
  assert np.abs(heads[0] - heads[1]).max() > 1e-3
  assert not np.allclose(logits, jax.jit(model.apply)(variables, images))


@pytest.mark.slow
def test_standardised_inside():
  """normalise=... is (x - mean) / deviation, and adds no parameters."""
  images = jax.random.uniform(jax.random.key(0), (1, 14, 14, 3))
  plain = make_model(TINY, classes=3)
  inside = make_model(f"{TINY[:-1]}, normalise='imagenet')", classes=3)
  variables = jax.jit(plain.init)(jax.random.key(1), images)
  mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
  outside = jnp.float32((np.asarray(images) - mean) / deviation)
  np.testing.assert_allclose(
    jax.jit(inside.apply)(variables, images),
    jax.jit(plain.apply)(variables, outside),
    rtol=1e-4,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  ("text", "side", "said"),
  [
    ("alexnet", 62, "at least 63 x 63"),
    ("vgg11", 31, "at least 32 x 32"),
    ("vit_tiny16", 28, "do not tile images of 28 x 28"),
    ("resnet18(normalise='half')", 1, None),
    ("resnet18(normalise=((0, 0), (1, 1)))", 32, "has 2 channels"),
  ],
)
def test_image_sizes(text, side, said):
  if said is None:
    assert shapes(text, side)
  else:
    with pytest.raises(ValueError, match=said):
      shapes(text, side)


@pytest.mark.parametrize(
  "text",
  [
    "resnet22",
    "vgg16(dropout=1)",
    "alexnet(dropout=-0.1)",
    "resnet18(normalise='imagnet')",
    "resnet18(normalise=3)",
    "resnet18(normalise=((0,), (0,)))",
    "resnet18(normalise=((0, 0), (1,)))",
    "vit(width=30, heads=4)",
    "vit(patch=0)",
    "vit(depth=2.0)",
    "vit(mlp_width=0)",
    "vit(attention_dropout=1)",
    "vit(epsilon=0)",
  ],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_model(text, classes=10)
