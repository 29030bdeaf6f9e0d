"""Numbers of things, in words."""

import pytest

from kdjax.core.errors import UserError, quantity
from kdjax.runner.config import Experiment, options
from kdjax.runner.pipeline.validate_teachers import check_specialists
from kdjax.runner.report.tables import _networks_caption
from kdjax.train.ensemble import check_weights


@pytest.mark.parametrize(
  ("count", "noun", "several", "said"),
  [
    (0, "image", None, "0 images"),
    (1, "image", None, "1 image"),
    (2, "seed", None, "2 seeds"),
    (1, "class", "classes", "1 class"),
    (3, "class", "classes", "3 classes"),
  ],
)
def test_plurals(count, noun, several, said):
  assert quantity(count, noun, several) == said


@pytest.mark.parametrize(
  ("examples", "said"), [(1, "on 1 test example"), (2, "on 2 test examples")]
)
def test_plurals_of_captions(examples, said):
  entry = {"test_accuracy": [0.5], "test_examples": examples}
  assert _networks_caption({"student": entry}) == f"Results {said}"


def test_plurals_of_errors():
  with pytest.raises(ValueError, match="2 weights for 1 teacher$"):
    check_weights((0.5, 0.5), 1)
  chosen = options.with_flags(Experiment(), {"specialists": "2"})
  with pytest.raises(UserError, match=": 1 class can be shared"):
    check_specialists(chosen, classes=1, inside=False, resident=True)
