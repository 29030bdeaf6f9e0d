"""The experiments' page: written from their results, and up to date."""

import json
import pathlib
import re

import pytest

from kdjax.core.errors import StorageError
from kdjax.runner.config.experiments import all_experiments
from kdjax.runner.report import overview

HOME = pathlib.Path(__file__).parents[3] / "experiments"


def test_page_is_what_the_results_say():
  found = overview.read_results(HOME / "results")
  makefile = (HOME.parent / "Makefile").read_text()
  runs = re.search(r"^RUNS := \\\n((?:  .*\n)+)", makefile, re.MULTILINE)
  names = re.findall(r"\w+:(\w+)", runs[1])
  assert set(names) == set(found)
  assert set(names) <= set(all_experiments())
  assert (HOME / "README.md").read_text() == overview.overview(found)


def test_missing_controls_leave_a_dash(results):
  found = results | {
    "command": "python launch.py",
    "environment": {
      "devices": ["cpu"], "processors": 2, "jax": "0", "git": "abc",
    },
    "seconds": {"total": 61.0},
    "controls": {},
    "comparisons": [],
  }  # fmt: skip
  page = overview.overview({"one": found})
  row = next(line for line in page.splitlines() if line.startswith("| [one]"))
  assert row.count("–") == 6
  assert "    python launch.py" in page and "`abc`" in page


def test_damaged_results_are_named(tmp_path):
  (tmp_path / "one.json").write_text(json.dumps({})[:-1])
  with pytest.raises(StorageError, match="one.json"):
    overview.read_results(tmp_path)
