"""What is counted of small networks is summed up for large ones."""

import pytest

from benchmarks import collectives


def counted(student, teacher, texts):
  """A made-up program, of which all is known."""
  return {
    "all-reduce data": 10 + 4 * student,
    "all-gather model": texts * (1 + 2 * student + 3 * teacher),
    "operations": texts * 7 * teacher,
    "held": 100,
  }


PARTS = [
  counted(student, teacher, texts)
  for texts in (1, 2)
  for student, teacher in ((1, 1), (2, 1), (1, 2))
]


@pytest.mark.parametrize("case", [(1, 1, 1), (16, 32, 5), (3, 3, 0)])
def test_blocks_and_texts_add_up(case):
  *blocks, texts = case
  assert collectives.of_networks(PARTS, blocks, texts) == counted(*case)


@pytest.mark.parametrize(
  ("chips", "model", "rates"),
  [
    # Within a host; along one of two axes in it; over hosts with all ports; with one.
    (8, 1, {"data": 450e9}),
    (8, 4, {"data": 450e9, "model": 450e9}),
    (64, 1, {"data": 400e9}),
    (64, 8, {"data": 50e9, "model": 450e9}),
    (64, 4, {"data": 100e9, "model": 450e9}),
  ],
)
def test_messages_take_the_links_that_they_meet(chips, model, rates):
  for axis, rate in rates.items():
    counts = {f"collective-permute {axis}": 9e9, "operations": 0.0, "held": 0}
    found = collectives.estimate(counts, chips, model)
    assert found["seconds_of_messages"] == pytest.approx(9e9 / rate)
