"""Which sentences of a package's documentation are prose."""

import itertools

import pytest

from experiments.text import corpus

SUM = "Returns the sum of all the given values."


@pytest.mark.parametrize(
  ("source", "expected"),
  [
    (f'"""{SUM}"""', 1),
    ('"""Too short to count."""', 0),
    ('"""returns the sum of all the given values."""', 0),
    ('"""Returns the sum of 3 or 4 given values."""', 0),
    ('"""Returns x[i] for all of the given values."""', 0),
    ('"""Returns ------- The sum of all the given values."""', 0),
    (
      '"""Returns the sum of the values.\n\n  Draws the figure on the axes."""',
      2,
    ),
    (
      '"""Returns the sum of the values. It draws all of\n  them on axes."""',
      2,
    ),
    (f'def f():\n  """{SUM}"""', 1),
    (f"x = '{SUM}'", 0),
    ("def f(:", 0),
  ],
)
def test_sentences_of_source(source, expected):
  assert len([*itertools.chain(*corpus.by_docstring(source))]) == expected
