"""Networks that answer at every pixel: shapes, taps, values by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from kdjax.core.errors import UserError
from kdjax.models import dense, make_model
from kdjax.taps.network import from_linen

# Name, stages, and the parts besides.
NETWORKS = [
  ("unet(4, 2)", 5, {"head"}),
  ("unet(4, 3, 1)", 7, {"head"}),
  ("fcn('resnet8')", 3, {"head", "stem", "score_0", "score_1"}),
  ("fcn('mobilenet_v2(0.25)', skips=0)", 4, {"head", "stem"}),
  ("fcn('resnet18')", 4, {"head", "stem", "score_1", "score_2"}),
  ("deeplab('resnet8', 8)", 3, {"head", "stem", "fine", "decoder", "pyramid"}),
  ("deeplab('wrn(10, 1)', 8, (1,))", 3,
   {"head", "stem", "fine", "decoder", "pyramid"}),
]  # fmt: skip


@pytest.mark.parametrize(
  ("name", "stages", "others"),
  [
    pytest.param(*row, marks=[pytest.mark.slow] * (number not in (0, 2)))
    for number, row in enumerate(NETWORKS)
  ],
)
def test_answers_are_as_large_as_images_whatever_their_size(
  name, stages, others
):
  network = make_model(name, classes=5)
  for size in ((33, 18), (16, 16)):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    logits, variables = jax.eval_shape(
      lambda key, x: network.init_with_output(key, x, train=False),
      jax.random.key(0),
      images,
    )
    assert logits.shape == (2, *size, 5)
  parts = set(variables["params"])
  assert parts == {f"stage_{i}" for i in range(stages)} | others


@pytest.mark.parametrize("name", ["unet(2, 1, 1)", "fcn('resnet8')"])
def test_stages_and_the_classifier_are_found_by_their_names(name):
  network = from_linen(make_model(name, classes=5))
  images = jnp.ones((1, 8, 8, 1))
  variables = jax.eval_shape(network.init, jax.random.key(0), images)
  _, features, _ = jax.eval_shape(
    lambda v, x: network.apply(v, x, taps=("stage_*", "head:in", "head")),
    variables,
    images,
  )
  assert len([tap for tap in features if tap.startswith("stage")]) == 3
  head = jax.eval_shape(network.classifier, variables)
  assert head["kernel"].shape == (features["head:in"].shape[-1], 5)
  assert features["head"].shape[-1] == 5


@pytest.mark.parametrize("size", [(3, 4), (8, 8), (16, 4), (5, 11)])
def test_maps_are_scaled_as_pillow_and_jax_do(size):
  maps = np.random.default_rng(0).normal(size=(1, 4, 8, 1)).astype(np.float32)
  got = dense.resize(jnp.asarray(maps), size)
  want = jax.image.resize(maps, (1, *size, 1), "bilinear", antialias=False)
  np.testing.assert_allclose(got, want, atol=1e-6)
  if size[0] >= 4 and size[1] >= 8:
    image = Image.fromarray(maps[0, ..., 0], "F")
    image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(got[0, ..., 0], np.asarray(image), atol=1e-6)


@pytest.mark.parametrize(
  ("name", "says"),
  [
    ("unet(0)", "width"),
    ("unet(4, 0)", "depth"),
    ("unet(4, convolutions=0)", "convolutions"),
    ("fcn('mlp(4)')", "has stages of the shapes|maps"),
    ("fcn('vit(patch=4, width=8, depth=1, heads=2)')", "has no stages alone"),
    ("fcn('resnet9')", "resnet8"),
    ("fcn(resnet8)", "in quotes"),
    ("fcn('resnet8', skips=-1)", "skips"),
    ("deeplab('resnet8', rates=())", "rates must be numbers"),
    ("deeplab('resnet8', rates=(0,))", "a rate"),
    ("deeplab('resnet8', 0)", "width"),
  ],
)
def test_what_is_wrong_is_named(name, says):
  with pytest.raises((UserError, ValueError), match=says):
    make_model(name, classes=3).init(
      jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False
    )
