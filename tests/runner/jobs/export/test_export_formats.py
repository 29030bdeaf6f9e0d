"""Every family of networks leaves as a program, and answers alike."""

import jax
import numpy as np
import pytest

from kdjax.models import make_model
from kdjax.models.export import agreement, formats
from kdjax.models.export.signature import About, compile_network, forward

# The smallest of each family, and images that are large enough for it.
FAST = {"mlp(4)": (8, 8, 1), "lenet": (28, 28, 1)}
SLOW = {
  "resnet8": (8, 8, 3),
  "wrn(10, 1)": (16, 16, 3),
  "cifar_vgg8": (16, 16, 3),
  "mobilenet_v2": (16, 16, 3),
  "shufflenet_v1": (32, 32, 3),
  "shufflenet_v2": (32, 32, 3),
  "resnet18": (32, 32, 3),
  "vit(patch=8, width=16, depth=1, heads=2)": (16, 16, 3),
}


CASES = [
  pytest.param(model, shape, marks=marks, id=model)
  for table, marks in ((FAST, ()), (SLOW, pytest.mark.slow))
  for model, shape in table.items()
]


def _drawn(random, name, shape):
  drawn = random.uniform(-0.2, 0.3, shape).astype(np.float32)
  return 1 + drawn if "var" in name or "scale" in name else drawn


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_answers_alike(model, shape, tmp_path):
  about = About(model, 3, ("a", "b", "c"), shape, "uint8", None)
  module = make_model(model, classes=3)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), np.zeros((1, *shape), np.float32)
  )
  # Batch statistics, too, that are not the identity.
  random = np.random.default_rng(0)
  variables = jax.tree_util.tree_map_with_path(
    lambda path, x: _drawn(random, jax.tree_util.keystr(path), x.shape), shapes
  )
  images = random.integers(0, 256, (7, *shape), np.uint8)
  expected = compile_network(forward(about, variables))(images)
  for name in ("stablehlo", "onnx"):
    one = formats.FORMATS[name]
    one.write(tmp_path / one.file, about, variables)
    answer = one.load(tmp_path / one.file, about)
    agreement.check(name, answer(images), expected)
  agreement.check(name, answer(images[:2]), expected[:2])
