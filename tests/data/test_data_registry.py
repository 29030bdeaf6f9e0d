"""Data sets that functions make: named, given what they take, refused the rest."""

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data.registry import MAKERS, register


@pytest.fixture
def squares():
  """A set of one's own, which takes a number and --image_size."""
  before = dict(MAKERS)

  @register("squares")
  def squares(count=4, *, image_size=None):
    """Grey squares."""
    if count < 2:
      raise ValueError(f"count must be at least 2, got {count}")
    size = image_size or 5
    labels = np.arange(count, dtype=np.int32) % 2
    split = data.Split(np.zeros((count, size, size, 1), np.uint8), labels)
    return data.Dataset("?", 2, ("a", "b"), (size, size, 1), split, split)

  yield squares
  MAKERS.clear()
  MAKERS.update(before)


@pytest.mark.parametrize(
  ("name", "options", "count", "size"),
  [
    ("squares", {}, 4, 5),
    ("squares(6)", {"image_size": 8}, 6, 8),
    (" squares( count = 2 )", {"data_dir": "nowhere"}, 2, 5),
  ],
)
def test_a_registered_set_is_opened_by_name(
  squares, name, options, count, size
):
  made = data.load(name, **options)
  assert made.name == name and len(made.train.labels) == count
  assert made.image_shape == (size, size, 1)
  assert data.licence(name) is None


@pytest.mark.parametrize(
  ("name", "options", "said"),
  [
    ("squares(1)", {}, "data set squares(1): count must be at least 2, got 1"),
    ("squares(size=3)", {}, "no argument 'size'. squares takes (count=4)"),
    ("squares", {"test_split": "x"}, "squares has no splits besides"),
    ("squares", {"masks": True}, "squares says of no object where it is"),
    ("square(2)", {}, "unknown data set 'square'; did you mean 'squares'?"),
    ("square", {"data_dir": "x"}, "did you mean 'squares'?"),
    ("mnist5k(2)", {}, "mnist5k takes no arguments"),
  ],
)
def test_what_is_wrong_is_one_line(squares, name, options, said):
  with pytest.raises(UserError) as error:
    data.load(name, **options)
  assert said in str(error.value) and "\n" not in str(error.value)


def test_listed_with_what_is_built_in(squares):
  assert data.available()["squares(count=4)"] == "Grey squares."
  assert "mnist5k" in data.available()
  for name in ("squares", "digits", "image_folder", "noise_images"):
    with pytest.raises(ValueError, match=f"data set '{name}' is registered"):
      register(name)(lambda: None)


def test_of_the_wrong_size_is_refused(squares, monkeypatch):
  monkeypatch.setitem(MAKERS, "squares", lambda: squares())
  with pytest.raises(UserError, match="--image_size: the images of squares"):
    data.load("squares", image_size=7)
