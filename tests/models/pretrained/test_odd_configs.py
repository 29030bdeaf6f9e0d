"""Configs with any JSON value in any place: a network, or a line that refuses them."""

import copy
import json
import pathlib

import pytest

from kdjax.core.errors import UserError
from kdjax.models.pretrained.architectures import architecture_of

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
ODD = (
  None, float("nan"), float("inf"), -1, 0, 0.5, 1e30, 2**70, True, "x", [], [1],
  {}, {"a": 1},
)  # fmt: skip
NAMES = sorted(folder.name for folder in FOLDER.iterdir())


def places(config, beginning=()):
  for name, value in config.items():
    yield (*beginning, name)
    if isinstance(value, dict):
      yield from places(value, (*beginning, name))


@pytest.mark.parametrize("name", NAMES)
def test_any_value_makes_a_network_or_a_line(name):
  published = json.loads((FOLDER / name / "config.json").read_text())
  refused = 0
  for place in places(published):
    for value in ODD:
      config = copy.deepcopy(published)
      inner = config
      for part in place[:-1]:
        inner = inner[part]
      inner[place[-1]] = value
      try:
        architecture_of(config).build(config)
      except UserError as error:
        refused += 1
        assert "\n" not in str(error), (place, value)
  assert refused > 50
