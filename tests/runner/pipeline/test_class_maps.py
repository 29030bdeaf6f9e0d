"""A teacher's classes are the data's, or it is said which is which."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.pipeline import class_maps


@pytest.mark.parametrize(
  ("theirs", "ours"),
  [(["a", "b"], ("a", "b")), (None, ("a", "b"))],
)
def test_the_same_classes_in_the_same_order_teach(theirs, ours):
  class_maps.check_same("runs/a", theirs, ours)


@pytest.mark.parametrize(
  ("theirs", "ours", "said"),
  [
    ("abc", "acb", r"class 1 is 'b' .* 'c' in the data: the same classes in"
     r" another order; --teacher_classes=name"),
    ("ab", "xb", r"class 0 is 'a' .* 'x' in the data: other names;"
     r" --teacher_classes=FILE"),
    ("abc", "ab", "class 2 is 'c' for the teacher and none .*: a part"),
    ("ab", "abc", "class 2 is none for the teacher and 'c' .*: other"),
  ],
)  # fmt: skip
def test_classes_of_other_names_or_order_are_refused(theirs, ours, said):
  with pytest.raises(UserError, match=said):
    class_maps.check_same("runs/a", list(theirs), list(ours))


@pytest.mark.parametrize(
  ("text", "theirs", "expected"),
  [
    ("name", "cab", [1, 2, 0]),
    ("name", "xcyab", [3, 4, 1]),
    ("order", "xyz", [0, 1, 2]),
    ("a,x\nb,y\nc,z\n", "zyx", [2, 1, 0]),
    ("b, 0\nc, 2\n\na, 1", None, [1, 0, 2]),
    ("\ufeffa,x\r\nb,y\r\n  \r\nc,z\r\n", "xyz", [0, 1, 2]),
    ("a,0\nb,1\nc,x", ["a", "a", "x"], [0, 1, 2]),
    ('a,"x, y"\nb,b\nc,4\n', ["b", "x, y", "1", "2", "3"], [1, 0, 4]),
  ],
)
def test_classes_are_mapped_by_name_order_or_file(
  tmp_path, text, theirs, expected
):
  chosen = text
  if "," in text:
    (tmp_path / "map.csv").write_text(text)
    chosen = str(tmp_path / "map.csv")
  known = 3 if theirs is None else len(theirs)
  found = class_maps.read_map(chosen, ["a", "b", "c"], theirs, known)
  assert found.tolist() == expected


@pytest.mark.parametrize(
  ("text", "theirs", "said"),
  [
    ("name", None, "does not say what its classes are called"),
    ("name", "abd", "unknown class of the teacher's 'c'"),
    ("name", ["a", "b", "c", "a"], "'a' is what .* calls its classes 0 and 3"),
    ("a,x\nb,y\nc,y", "xyy", "'y' is what .* calls its classes 1 and 2"),
    ("a,0\nb,1\nc," + "9" * 5000, None, "is no class of .* 0 to 2"),
    ("a,0\nb,1\nc," + "x" * 200_000, None, "neither name, order nor a file"),
    (",,\n", "xyz", "lacks 3 classes"),
    ("order", "ab", "knows 2 classes, the data set has 3"),
    ("nowhere", "abc", "neither name, order nor a file"),
    ("a,x\nb,y", "xyz", "lacks 1 class of the data set, such as 'c'"),
    ("a,x\na,y\nb,z\nc,x", "xyz", "'a' stands there twice"),
    ("a,x\nb,x\nc,y", "xyz", "'a' and 'b' are both the teacher's class 0"),
    ("a,x\nd,y\nc,z", "xyz", "unknown class in .*'d'"),
    ("a,x\nb\nc,z", "xyz", "a comma and the teacher's; found 'b'"),
    ("a,0\nb,1\nc,3", None, "'3' is no class of the teacher's; .* 0 to 2"),
  ],
)
def test_maps_that_do_not_hold(tmp_path, text, theirs, said):
  chosen = text
  if "," in text:
    (tmp_path / "map.csv").write_text(text)
    chosen = str(tmp_path / "map.csv")
  known = 3 if theirs is None else len(theirs)
  with pytest.raises(UserError, match=said):
    class_maps.read_map(chosen, ["a", "b", "c"], theirs, known)


def test_a_class_that_is_called_by_a_number_is_mapped_by_its_name():
  read = class_maps.read_map
  assert read("name", ["0", "1"], ["1", "0"], 2).tolist() == [1, 0]
  with pytest.raises(UserError, match="unknown class of the teacher's '0'"):
    read("name", ["0", "1"], ["zero", "one"], 2)


def test_outputs_change_their_places_and_nothing_else():
  kernel = np.arange(6.0).reshape(2, 3)
  before = {
    "params": {
      "head": {"kernel": kernel, "bias": np.arange(3.0)},
      "stage_0": {"bias": np.arange(3.0)},
    },
    "batch_stats": {"norm": np.ones(1)},
  }
  after = class_maps.in_order(before, np.array([2, 0]))
  images = np.ones((1, 2))
  np.testing.assert_array_equal(
    images @ after["params"]["head"]["kernel"], (images @ kernel)[:, [2, 0]]
  )
  assert after["params"]["head"]["bias"].tolist() == [2, 0]
  assert after["params"]["stage_0"] is before["params"]["stage_0"]
  assert after["batch_stats"] is before["batch_stats"]
  with pytest.raises(UserError, match="no classifier called 'head'"):
    class_maps.in_order({"params": {}}, np.array([0]))


@pytest.mark.parametrize(("kind", "zero"), [("drop", True), ("new", False)])
def test_a_classifier_of_other_classes_is_left_out(kind, zero):
  before = {
    "params": {
      "head": {"kernel": np.ones((2, 3)), "bias": np.ones(3)},
      "stage_0": {"bias": np.ones(3)},
    }
  }
  after = class_maps.without_head(before, 5, kind)["params"]
  assert after["head"]["kernel"].shape == (2, 5)
  assert (not after["head"]["kernel"].any()) is zero
  assert after["head"]["bias"].tolist() == [0] * 5
  assert after["stage_0"] is before["params"]["stage_0"]
