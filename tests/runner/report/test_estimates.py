"""How long a command of many trainings will take."""

import pytest

from kdjax.runner.report import estimates


def test_beforehand_counts_trainings_and_networks():
  said = estimates.beforehand("compress", trainings=3, networks=1, epochs=40)
  assert said == (
    "compress: a teacher, then 3 trainings of 1 network in all, 40 epochs each;"
    " how long they take is said after the first"
  )


@pytest.mark.parametrize(
  ("done", "total", "seconds", "said"),
  [
    (1, 3, 30.0, "1 of 3 trainings in 30.0 s: some 1 min 0 s for the others"),
    (2, 4, 3600.0, "2 of 4 trainings in 1 h 0 min: some 1 h 0 min for the"),
    (3, 3, 30.0, ""),
    (1, 1, 30.0, ""),
  ],
)
def test_the_rest_takes_as_long_as_the_beginning(done, total, seconds, said):
  found = estimates.underway("training", done, total, seconds)
  assert found.startswith(said) and bool(found) == bool(said)
