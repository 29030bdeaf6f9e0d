"""Groups of equal bytes: by hand, and their properties on tokenizations drawn at random."""

import numpy as np
import pytest

from kdjax.data.text.align import align

BY_HAND = {
  "equal": ([b"a", b" b"], [b"a", b" b"], [0, 1], [0, 1]),
  "one of two": ([b"un", b"like"], [b"unlike"], [0, 0], [0]),
  "crossing": ([b"ab", b"cd", b"e"], [b"a", b"bc", b"d", b"e"], [0, 0, 1], [0, 0, 0, 1]),
  "one-sided beginning": ([b"a", b"b"], [None, b"a", b"b"], [0, 1], [-1, 0, 1]),
  "both ends": ([b"a", None], [b"a", None], [0, 1], [0, 1]),
  "what stands behind an end": ([b"a", None, b""], [b"a", None], [0, -1, 0], [0, -1]),
  "split emoji": (
    [b"\xf0\x9f", b"\x98\x80", b"x"],
    [b"\xf0", b"\x9f", b"\x98", b"\x80", b"x"],
    [0, 1, 2],
    [0, 0, 1, 1, 2],
  ),
  "added space": ([b"the", b" cat"], [b" the", b" cat"], [0, 1], [0, 1]),
  "an added space alone": ([b"the"], [b" ", b"the"], [0], [0, 0]),
  "a space and an added one": ([b" a", b"b"], [b" ", b" a", b"b"], [0, 1], [0, 0, 1]),
  "other white space": ([b"\n", b"a"], [b" a"], [0, 0], [0]),
  "special within": ([b"a", None, b"b"], [b"a", b"b"], [0, -1, 1], [0, 1]),
  "normalised": (
    [b"a", b"\xc3\xa9", b"b", b"c"], [b"a", b"e", b"\xcc\x81", b"bc"],
    [0, -1, 1, 1], [0, -1, -1, 1],
  ),
  "ends alone": ([None], [None, None], [0], [-1, 0]),
  "special before an end": ([b"a", None, None], [b"a", None], [0, -1, 1], [0, 1]),
  "one-sided end": ([b"a", None], [b"a"], [0, -1], [0]),
  "nothing in common": ([b"a"], [b"b"], [-1], [-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
  student, teacher, own, others = BY_HAND[name]
  groups = align(student, teacher)
  assert (groups.student.tolist(), groups.teacher.tolist()) == (own, others)
  assert groups.count == max(*own, *others) + 1


def cut(text, draw):
  """A text in tokens of 1 to 4 bytes."""
  pieces = []
  while text:
    size = int(draw.integers(1, 5))
    pieces, text = [*pieces, text[:size]], text[size:]
  return pieces


@pytest.mark.parametrize("seed", range(20))
def test_groups_tile_both_sides(seed):
  draw = np.random.default_rng(seed)
  text = " ".join(draw.choice(["héllo", "日本", "😀", "a"], 12)).encode()
  sides = [cut(text, draw), [None, *cut(text, draw), None]]
  groups = align(*sides)
  for numbers, pieces in zip(groups[:2], sides, strict=True):
    assert (numbers[[x is not None for x in pieces]] >= 0).all()
    assert (np.diff(numbers[numbers >= 0]) >= 0).all()
  spans = [
    [
      b"".join(pieces[i] for i in np.flatnonzero(numbers == group))
      for group in range(groups.count)
    ]
    for numbers, pieces in zip(groups[:2], sides, strict=True)
  ]
  assert spans[0] == spans[1] and b"".join(spans[0]) == text
  # None can be shorter: both begin a token at the same byte at its edges alone.
  begins = [
    {len(b"".join(x or b"" for x in pieces[:i])) for i in range(len(pieces))}
    for pieces in sides
  ]
  assert groups.count == len((begins[0] & begins[1]) - {len(text)})
