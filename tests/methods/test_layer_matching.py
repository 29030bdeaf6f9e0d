"""Layers in pairs, by hand."""

import pytest

from kdjax.methods._layer_matching import pair_layers


@pytest.mark.parametrize(
  ("students", "teachers", "expected"),
  [
    (1, 1, ((0, 0),)),
    (3, 3, ((0, 0), (1, 1), (2, 2))),
    (2, 3, ((0, 1), (1, 2))),
    (4, 12, ((0, 2), (1, 5), (2, 8), (3, 11))),
    (3, 1, ((2, 0),)),
  ],
)
def test_pairs(students, teachers, expected):
  assert pair_layers(students, teachers) == expected


@pytest.mark.parametrize("layers", [(0, 3), (3, 0)])
def test_nothing_to_pair(layers):
  with pytest.raises(ValueError, match="layers to pair"):
    pair_layers(*layers)
