"""Yes/no labels that an example's class says."""

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data.class_attributes import class_attributes
from kdjax.data.dataset import Dataset, Split

SPLIT = Split(np.zeros((4, 1, 1, 1), np.uint8), np.int32([0, 1, 2, 2]))
WHOLE = Dataset("toy", 3, tuple("abc"), (1, 1, 1), SPLIT, SPLIT)


def test_each_class_has_its_attributes():
  asked = class_attributes(WHOLE, {"even": (0, 2), "last": 2})
  assert asked.class_names == ("even", "last") and asked.classes == 2
  want = [[1, 0], [0, 0], [1, 1], [1, 1]]
  assert asked.train.labels.tolist() == want == asked.test.labels.tolist()


def test_by_name():
  name = "class_attributes('digits', even=(0, 2, 4, 6, 8), prime=(2, 3, 5, 7))"
  asked, digits = data.load(name), data.load("digits")
  np.testing.assert_array_equal(
    asked.test.labels[:, 0], digits.test.labels % 2 == 0
  )
  assert "2 yes/no labels" in data.summary(asked)


@pytest.mark.parametrize(
  ("attributes", "says"),
  [
    ({}, "name the classes"),
    ({"odd": (1, 3)}, "some of the classes 0 to 2"),
    ({"odd": ()}, "some of the classes"),
    ({"odd": (0, 1, 2)}, "and not all"),
    ({"odd": "1"}, "odd='1'"),
    ({"odd": (1.0,)}, "some of the classes"),
    ({"odd": (True,)}, "some of the classes"),
  ],
)
def test_refused(attributes, says):
  with pytest.raises(UserError, match=says):
    class_attributes(WHOLE, attributes)
