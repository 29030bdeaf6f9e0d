"""SimKD's student: its parts, its sizes, what it refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model

IMAGES = jnp.zeros((2, 16, 16, 3))


def shapes_of(text, images=IMAGES):
  model = make_model(text, classes=5)
  return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


@pytest.mark.parametrize(
  ("backbone", "parts"),
  [
    ("mlp(6, 4)", {"stage_0", "stage_1"}),
    ("lenet(4, 6)", {"stage_0", "stage_1"}),
    ("resnet8", {"stem", "stage_0", "stage_1", "stage_2"}),
    ("wrn(10, 1)", {"stem", "stage_0", "stage_1", "stage_2"}),
    ("cifar_vgg8", {"stem", *(f"stage_{i}" for i in range(4))}),
    ("mobilenet_v2", {"stem", *(f"stage_{i}" for i in range(4))}),
    ("shufflenet_v1", {"stem", "stage_0", "stage_1", "stage_2"}),
    ("shufflenet_v2(0.5)", {"stem", "stage_0", "stage_1", "stage_2"}),
  ],
)
def test_parts(backbone, parts):
  """The backbone has its stages under their own names, and nothing after."""
  params = shapes_of(f"projected({backbone}, width=12, factor=3)")
  assert set(params) == {"backbone", "projector", "head"}
  assert set(params["backbone"]) == parts
  own = jax.eval_shape(
    make_model(backbone, classes=5).init, jax.random.key(0), IMAGES
  )["params"]
  assert params["backbone"] == {part: own[part] for part in parts}
  assert params["head"]["kernel"].shape == (12, 5)


@pytest.mark.parametrize(
  ("backbone", "kernels"),
  [
    ("mlp(6)", {"dense_0": (6, 4), "dense_1": (4, 4), "dense_2": (4, 8)}),
    (
      "lenet(6)",
      {"conv_0": (1, 1, 6, 4), "conv_1": (3, 3, 4, 4), "conv_2": (1, 1, 4, 8)},
    ),
  ],
)
def test_projector(backbone, kernels):
  projector = shapes_of(f"projected({backbone}, width=8)")["projector"]
  made = {
    name: part["kernel"].shape
    for name, part in projector.items()
    if "kernel" in part
  }
  assert made == kernels
  assert not any("bias" in projector[name] for name in kernels)


def test_head_reads_the_mean_of_the_projector():
  model = make_model("projected(lenet(4), width=6)", classes=3)
  images = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  logits, seen = model.apply(
    variables, images, capture_intermediates=True, mutable=["intermediates"]
  )
  features = seen["intermediates"]["projector"]["__call__"][0]
  assert features.shape == (2, 4, 4, 6) and features.min() >= 0
  head = variables["params"]["head"]
  np.testing.assert_allclose(
    logits,
    features.mean((1, 2)) @ head["kernel"] + head["bias"].reshape(1, -1),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("projected(lenet, width=0)", "width must be a whole number >= 1"),
    ("projected(lenet, width=8, factor=0)", "factor must be"),
    ("projected(lenet, width=8, factor=9)", "at most the width 8"),
    ("projected(3, width=8)", "the backbone must be a model"),
    ("projected('lenet', width=8)", "the backbone must be a model"),
    ("projected(lenett, width=8)", "did you mean 'lenet'"),
    ("projected(lenet(0), width=8)", "a width must be a whole number >= 1"),
    (
      "projected(projected(lenet, width=8), width=8)",
      "cannot be a backbone: it ends in its head",
    ),
    ("projected(lenet)", "width"),
    ("projected(width=8)", "backbone"),
  ],
)
def test_refused(text, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_model(text, classes=10)
