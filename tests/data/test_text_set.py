"""Tables of texts: what is read, divided, shown and cut."""

import json
from functools import partial

import numpy as np
import pytest
from small_texts import reviews, words, write_table

from kdjax import data
from kdjax.core.preprocessing import to_float
from kdjax.data.dataset import empty_examples
from kdjax.data.text_set import by_length, encode, of_texts
from kdjax.models.tokenizers import encode_texts

ROWS = reviews(40)
ENCODE = partial(encode_texts, words())


def csv_file(folder):
  return write_table(folder / "t.csv", ROWS)


def tsv_file(folder):
  return write_table(folder / "t.tsv", ROWS, separator="\t")


def json_lines(folder):
  path = folder / "t.jsonl"
  rows = [json.dumps({"label": y, "text": x}) for x, y in ROWS]
  path.write_text("\n".join(rows))
  return path


def parquet_file(folder):
  import pyarrow
  from pyarrow import parquet

  texts, labels = zip(*ROWS, strict=True)
  table = pyarrow.table({"text": texts, "label": labels})
  parquet.write_table(table, folder / "t.parquet")
  return folder / "t.parquet"


@pytest.mark.parametrize(
  "write", [csv_file, tsv_file, json_lines, parquet_file]
)
def test_every_kind_of_file_is_the_same_data_set(write, tmp_path):
  dataset = data.load(str(write(tmp_path)))
  assert of_texts(dataset) and dataset.class_names == ("bad", "good")
  texts = [*dataset.train.texts, *dataset.test.texts]
  assert sorted(texts) == sorted(text for text, _ in ROWS)
  for split in (dataset.train, dataset.test):
    expected = [dict(ROWS)[text] for text in split.texts]
    assert [dataset.class_names[i] for i in split.labels] == expected
  # Where a text stands does not depend on the others.
  again = data.load(str(write_table(tmp_path / "half.csv", ROWS[:36])))
  assert set(again.test.texts) <= set(dataset.test.texts)


def test_texts_are_as_long_as_the_longest_and_what_is_cut_is_counted(tmp_path):
  rows = [
    ("film " * n, "ab"[n % 2], s)
    for s in ("train", "test")
    for n in range(1, 12)
  ]
  path = write_table(tmp_path / "t.csv", rows, ("text", "label", "split"))
  stored = data.load(str(path))
  whole = encode(stored, ENCODE, 512)
  assert whole.image_shape == {"tokens": (16,), "mask": (16,)}
  assert whole.facts["truncated"] == {"train": 0, "test": 0}
  assert whole.facts["tokens"] == {"train": 88, "test": 88}
  assert whole.facts["longest_text"] == 13
  cut = encode(stored, ENCODE, 10)
  assert cut.image_shape == {"tokens": (10,), "mask": (10,)}
  assert cut.facts["truncated"] == {"train": 3, "test": 3}
  assert "cut to 10 tokens (--sequence_length): 3 of train and 3 of test" in (
    data.summary(cut)
  )
  assert "11 texts both in train and in test" in data.summary(cut)


def test_pairs_are_shown_as_two_texts_and_have_segments(tmp_path):
  rows = [
    (a, b, i % 2)
    for i, ((a, _), (b, _)) in enumerate(zip(ROWS[1:], ROWS[:-1], strict=True))
  ]
  path = write_table(tmp_path / "t.csv", rows, ("text", "text_2", "label"))
  dataset = encode(data.load(str(path)), ENCODE, 64)
  assert [*dataset.image_shape] == ["tokens", "mask", "segments"]
  assert all(" | " in text for text in dataset.test.texts)


def test_several_labels_of_a_text(tmp_path):
  rows = [(text, i % 2, i % 3 == 0) for i, (text, _) in enumerate(ROWS)]
  head = ("text", "label_long", "label_old")
  path = write_table(tmp_path / "t.csv", rows, head)
  assert data.load(str(path)).class_names == ("long", "old")


def test_arrays_by_name_are_selected_read_and_told_apart(tmp_path):
  dataset = encode(data.load(str(csv_file(tmp_path))), ENCODE, 64)
  data.check(dataset)
  some = data.select(dataset.train, np.array([3, 1]))
  for name, x in some.images.items():
    np.testing.assert_array_equal(x, dataset.train.images[name][[3, 1]])
  assert some.texts.tolist() == dataset.train.texts[[3, 1]].tolist()
  other = some._replace(images={**some.images, "mask": ~some.images["mask"]})
  assert data.fingerprint(some) != data.fingerprint(other)
  empty = empty_examples(dataset, 2)
  assert empty["mask"].all() and empty["mask"].dtype == bool
  assert to_float(empty)["tokens"] is empty["tokens"]


@pytest.mark.parametrize(
  ("lengths", "least", "groups"),
  [
    ([3, 60, 20, 2], 2, [[0, 3], [1, 2]]),
    ([3, 60, 20, 2], 1, [[0, 3], [2], [1]]),
    ([3, 60, 20, 2], 5, [[0, 1, 2, 3]]),
    ([64, 64], 1, [[0, 1]]),
    ([16, 17, 32, 33], 1, [[0], [1, 2], [3]]),
  ],
)
def test_texts_of_about_one_length_go_together(lengths, least, groups):
  mask = np.arange(64) < np.array(lengths)[:, None]
  tokens = np.where(mask, 7, 0)
  taken = by_length({"tokens": tokens, "mask": mask}, least=least)
  assert [places.tolist() for places, _ in taken] == groups
  for places, arrays in taken:
    width = arrays["mask"].shape[1]
    assert not mask[places, width:].any()
    np.testing.assert_array_equal(arrays["tokens"], tokens[places, :width])


def test_a_hole_in_a_text_shortens_nothing():
  mask = np.array([[True, False, False, True, False, False, False, False]])
  ((_, arrays),) = by_length({"mask": mask}, least=1)
  assert arrays["mask"].shape == (1, 4)


def test_images_are_one_group():
  images = np.zeros((3, 2, 2, 1))
  ((places, same),) = by_length(images, least=1)
  assert places.tolist() == [0, 1, 2] and same is images
