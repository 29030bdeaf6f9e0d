"""When pruning begins and ends, from the settings."""

import pytest

from kdjax.runner.config import Compression
from kdjax.runner.pipeline.pruning_settings import pruning_of


@pytest.mark.parametrize(
  ("settings", "steps", "begin", "end"),
  [
    ({}, 100, 0, 50),
    ({"pruning_begin": 0.25, "pruning_end": 1.0}, 100, 25, 99),
    ({"pruning_begin": 0.9, "pruning_end": 1.0}, 1, 0, 0),
  ],
)
def test_the_sparsity_is_reached_within_the_training(
  settings, steps, begin, end, monkeypatch
):
  made = []
  monkeypatch.setattr("kdjax.train.pruning.magnitude_pruning", made.append)
  pruning_of(Compression(sparsity=0.5, **settings), steps)
  assert (made[0].begin, made[0].end) == (begin, end)
