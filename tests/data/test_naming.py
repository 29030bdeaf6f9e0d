import json
import os

import pytest

from kdjax.data import load
from kdjax.data.naming import distinct, printable


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("rose", "rose"),
    ("日本 $$ a$b_{", "日本 $$ a$b_{"),
    (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    ("a\tb\n", "a\\x09b\\x0a"),
  ],
)
def test_bytes_that_are_no_text_are_written_out(name, expected):
  assert printable(name) == expected
  assert printable(expected) == expected


def test_names_that_become_equal_stay_distinct():
  one, two = os.fsdecode(b"a\xe9"), "a\\xe9"
  assert distinct([one, two, "b"]) == ("a\\xe9 (2)", "a\\xe9", "b")
  assert distinct([two, one]) == ("a\\xe9", "a\\xe9 (2)")
  assert distinct([one, two, f"{two} (2)"])[0] == "a\\xe9 (3)"


def test_class_folders_that_are_no_utf_8_can_be_encoded(folder):
  name = os.fsdecode(b"caf\xe9")
  path = folder(
    {f"{c}/{n}.png": [[n]] for c in (name, "tea") for n in range(5)}
  )
  dataset = load(str(path))
  assert dataset.class_names == ("caf\\xe9", "tea")
  assert json.dumps(dataset.class_names, ensure_ascii=False).encode()
  assert len(dataset.train.labels) == 8
