"""The tables of `launch.py lm`."""

import pytest

from kdjax.runner.report import language_page


def entry(chosen, **scores):
  """A network that tried rates, by what each gave on validation documents."""
  cells = [
    {"learning_rate": float(rate), "validation_nats_per_token": values}
    for rate, values in scores.items()
  ]
  return {"learning_rate": chosen, "cells": cells}


@pytest.mark.parametrize(
  ("student", "baseline", "at_edge"),
  [(1e-3, 1e-3, ""), (1e-2, 1e-3, "Student is"), (1e-2, 1e-4, "Baseline, Student is")],
)  # fmt: skip
def test_rates(student, baseline, at_edge):
  scores = {"1e-3": [1.0, 3.0], "1e-2": [2.0, 2.0], "1e-4": [4.0, 4.0]}
  results = {
    "student": entry(student, **scores),
    "baseline": entry(baseline, **scores),
    "controls": {"untrained": {}},
  }
  table = language_page.rates_table(results)
  assert table.headers == ("Network", "0.0001", "0.001", "0.01")
  assert table.rows[1] == (
    "Student", "4.0000 ± 0.0000", "2.0000 ± 1.4142", "2.0000 ± 0.0000"
  )  # fmt: skip
  assert ("largest" in table.notes[0]) == bool(at_edge)
  assert at_edge in table.notes[0]
