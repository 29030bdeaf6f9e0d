"""Published encoders as specs, and students that have some of their blocks."""

import pathlib

import jax
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model, read_model
from kdjax.models.pretrained.cut import kept_parameters
from kdjax.models.pretrained.load import load
from kdjax.models.pretrained.named import spec_of, with_blocks

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/language_models"
FAMILIES = ("bert", "roberta", "distilbert", "modernbert", "modernbert_mean")
TOKENS = np.array([[3, 5, 7, 2, 9, 4], [4, 6, 2, 1, 1, 1]], np.int32)
INPUTS = {"tokens": TOKENS, "mask": TOKENS > 1}


@pytest.mark.parametrize(
  "family",
  [
    pytest.param(x, marks=[pytest.mark.slow] * (x != "roberta"))
    for x in FAMILIES
  ],
)
def test_a_spec_builds_the_published_network_again(family):
  network, variables, *_ = load(GOLDEN / family)
  module = network.module
  again = read_model(str(spec_of(module))).make(classes=module.classes)
  answers = again.apply(variables, **INPUTS)
  np.testing.assert_array_equal(answers, module.apply(variables, **INPUTS))


def test_blocks_that_are_kept_are_those_of_a_network_of_as_many():
  text = "bert(width=8, depth={}, heads=2, vocabulary=11)"
  whole, fewer = (make_model(text.format(n), classes=2) for n in (3, 2))
  assert with_blocks(whole, (0, 2)) == fewer
  params = {"stem": 0, "stage_0": 1, "stage_1": 2, "stage_2": 3, "head": 4}
  expected = {"stem": 0, "stage_0": 1, "stage_1": 3, "head": 4}
  assert kept_parameters(params, (0, 2)) == expected


def test_windows_follow_their_blocks():
  whole = make_model(
    "modernbert(width=8, depth=4, heads=2, vocabulary=11)", classes=2
  )
  student = with_blocks(whole, (0, 2, 3))
  layers = whole.config.layers
  assert student.config.layers == (layers[0], layers[2], layers[3])
  with pytest.raises(UserError, match="keep block 0"):
    with_blocks(whole, (1, 2))


def test_other_networks_have_no_name():
  with pytest.raises(UserError, match="is no encoder that has a name"):
    spec_of(make_model("mlp(3)", classes=2))


def test_modernbert_reads_pairs_by_what_is_between_them():
  model = make_model(
    "modernbert(width=8, depth=1, heads=2, vocabulary=11, positions=8)",
    classes=2,
  )
  tokens = np.array([[5, 7, 3, 6, 3]], np.int32)
  pair = {"tokens": tokens, "mask": tokens > 0, "segments": tokens > 6}
  variables = model.init(jax.random.key(0), **pair)
  np.testing.assert_array_equal(
    model.apply(variables, **pair), model.apply(variables, tokens, tokens > 0)
  )
