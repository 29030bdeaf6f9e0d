"""Every pair of docs/recipes.md shows the features that its weights belong to.

Side and channels at 32 x 32 pixels, as in the models of RepDistiller
(arXiv:1910.10699; `models/*.py`, `feats[1:-1]` and `feats[-1]`), which its own
`train_student.py` pairs in order, and in ReviewKD's `CIFAR-100/model/reviewkd.py`
(arXiv:2104.09044; `in_channels`, `out_channels`, at most 512 between).
"""

import functools

import jax
import jax.numpy as jnp
import pytest

from experiments.cifar100 import EXPERIMENTS
from kdjax import taps
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import MAKERS
from kdjax.models import make_model
from kdjax.taps.calling import linear_layer

SMALL = ((32, 16), (16, 32), (8, 64))
WIDE = ((32, 64), (16, 128), (8, 256))
VGG = ((16, 128), (8, 256), (4, 512), (4, 512))
# The maps of the stages, and the width of what the classifier takes.
PUBLISHED = {
  "resnet20": (SMALL, 64),
  "resnet32": (SMALL, 64),
  "resnet56": (SMALL, 64),
  "resnet110": (SMALL, 64),
  "resnet8x4": (WIDE, 256),
  "resnet32x4": (WIDE, 256),
  "wrn16_2": (((32, 32), (16, 64), (8, 128)), 128),
  "wrn40_1": (SMALL, 64),
  "wrn40_2": (((32, 32), (16, 64), (8, 128)), 128),
  "vgg8": (VGG, 512),
  "vgg13": (VGG, 512),
  "mobilenet_v2": (((16, 12), (8, 16), (4, 48), (2, 160)), 1280),
  "shufflenet_v1": (((16, 240), (8, 480), (4, 960)), 960),
  "shufflenet_v2": (((16, 116), (8, 232), (4, 464)), 1024),
}
# What each method matches, all maps or what the classifiers take.
MAPS = [
  *("attention_transfer", "nst", "vid", "kdsvd", "fsp", "ab", "ofd"),
  *("sp", "factor_transfer", "fitnets", "review_kd"),
]
VECTORS = ("cc", "rkd", "pkt", "crd")
STAGE_TAPS = ("stage_*", "stage_*/activation:in")


def names_of(pair):
  """The published names of teacher and student: `cifar100/vgg13_vgg8`."""
  for teacher in PUBLISHED:
    student = pair.removeprefix(f"cifar100/{teacher}_")
    if student in PUBLISHED:
      return teacher, student
  return None


# Other experiments there are these with a method's own weight.
PAIRS = {pair: names_of(pair) for pair in EXPERIMENTS if names_of(pair)}
# ResNet-110 has the blocks of ResNet-56.
# Each family of networks once; the pairs have nothing of their own.
QUICK = (
  "resnet56_resnet20", "wrn40_2_wrn16_2", "vgg13_mobilenet_v2",
  "resnet32x4_shufflenet_v1",
)  # fmt: skip
TESTED = [
  pytest.param(pair, marks=[pytest.mark.slow] * (not pair.endswith(QUICK)))
  for pair in PAIRS
]


@functools.cache
def shown(text):
  """All that the tested methods may ask of a network, in shapes alone."""
  network = make_model(text, classes=100)
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(network.init, jax.random.key(0), images)
  places = (*STAGE_TAPS, "stage_*/activation", "pool:in", "head:in")
  tapped = taps.tapped(network.apply, places)
  outputs = Outputs(*jax.eval_shape(tapped, variables, images))
  return outputs, linear_layer(variables["params"], "head")


def inputs_of(pair):
  experiment = EXPERIMENTS[pair]
  teacher, head = shown(experiment.teacher.model)
  student, own = shown(experiment.student.model)
  integers = jax.ShapeDtypeStruct((2,), jnp.int32)
  return Inputs(
    student,
    teacher,
    integers,
    jax.ShapeDtypeStruct((), jnp.int32),
    index=integers,
    head=head,
    student_head=own,
  )


def test_every_network_of_the_pairs_is_here():
  assert len(PAIRS) == 11
  assert {name for pair in PAIRS.values() for name in pair} == set(PUBLISHED)


def sizes(outputs, tap):
  return tuple(
    (x.shape[1], x.shape[-1]) if x.ndim == 4 else x.shape[-1]
    for x in taps.select(outputs.feats, tap)
  )


def made(name, inputs):
  known = {"crd": {"examples": 40}}.get(name, {})
  method = MAKERS[name](**known)
  return jax.eval_shape(method.init, jax.random.key(0), inputs)[0]


@pytest.mark.parametrize("name", [*MAPS, *VECTORS])
@pytest.mark.parametrize("pair", TESTED)
def test_taps_are_the_published_features(pair, name):
  inputs, method = inputs_of(pair), MAKERS[name]()
  for outputs, patterns, network in (
    (inputs.teacher, method.teacher_taps, PAIRS[pair][0]),
    (inputs.student, method.student_taps, PAIRS[pair][1]),
  ):
    maps, width = PUBLISHED[network]
    assert sizes(outputs, patterns[0]) == (maps if name in MAPS else (width,))
    assert len(patterns) == 1 or sizes(outputs, patterns[1]) == (width,)


@pytest.mark.parametrize("pair", TESTED)
def test_review_kd_fuses_the_published_channels(pair):
  (shapes_t, width_t), (shapes_s, width_s) = map(PUBLISHED.get, PAIRS[pair])
  params = made("review_kd", inputs_of(pair))["review"]
  reduced = [
    params[f"fusion_{i}"]["reduce"]["dense"]["kernel"].shape
    for i in range(len(params))
  ]
  middle = min(512, width_s)
  assert reduced == [
    (width, middle) for width in (*(c for _, c in shapes_s), width_s)
  ]
  assert [
    params[f"fusion_{i}"]["conv"]["kernel"].shape[-1]
    for i in range(len(params))
  ] == [*(channels for _, channels in shapes_t), width_t]


@pytest.mark.parametrize("pair", TESTED)
def test_ab_and_ofd_connect_every_pair(pair):
  stages = [PUBLISHED[name][0] for name in PAIRS[pair]]
  unlike = [
    f"regressor_{i}"
    for i, (t, s) in enumerate(zip(*stages, strict=True))
    if t != s
  ]
  assert sorted(made("ab", inputs_of(pair))) == unlike
  assert len(made("ofd", inputs_of(pair))) == len(stages[0])


@pytest.mark.parametrize("pair", TESTED)
def test_cat_kd_takes_every_pair(pair):
  """Also the pair of its defaults, whose student ends in a 1 x 1 convolution."""
  inputs, method = inputs_of(pair), MAKERS["cat_kd"]()
  for outputs, network in zip(
    (inputs.teacher, inputs.student), PAIRS[pair], strict=True
  ):
    maps, width = PUBLISHED[network]
    assert sizes(outputs, method.student_taps[0]) == ((maps[-1][0], width),)
  jax.eval_shape(lambda inputs: method.apply((), (), inputs)[0], inputs)
