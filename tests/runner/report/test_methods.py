"""The table of many methods: in order, corrected, and plain about failures."""

import pytest

from kdjax.runner.report import methods, page, verdicts


def versus(mean, p_value, holm):
  return {
    "mean": mean, "standard_deviation": 0.1, "p_value": p_value,
    "holm_p_value": holm, "wins": 3, "pairs": 3,
  }  # fmt: skip


def arm(errors, **more):
  cells = [{"learning_rate": 0.01, "accuracy": [0.9]}] * 2
  accuracy = [1 - error / 100 for error in errors]
  return {"test_accuracy": accuracy, "cells": cells, "seconds": 12.3} | more


@pytest.fixture
def table(results):
  settings = {"learning_rate": 0.003, "method_weight": 10.0}
  results["baseline"] |= arm([5.5, 5.6, 5.7])
  results["controls"] = {
    "label_smoothing": arm(
      [5.0, 5.1, 5.2], versus_baseline=versus(-0.5, 0.02, 0.04)
    )
  }
  results["methods"] = {
    "kd": arm([4.5, 4.6, 4.7], versus_baseline=versus(-1.0, 1e-4, 3e-4)),
    "rkd": arm(
      [5.2, 5.3, 5.4],
      versus_baseline=versus(-0.3, 0.03, 0.06),
      versus_kd=versus(0.7, 0.01, 0.02),
      settings=settings,
    ),
    "vkd": arm([5.4, 5.5, 5.6], versus_baseline=versus(-0.1, 0.5, 0.5)),
    "nst": arm(
      [6.5, 6.6, 6.7],
      versus_baseline=versus(1.0, 1e-4, 3e-4),
      versus_kd=versus(2.0, 1e-4, 2e-4),
    ),
  }
  results["left_out"] = {"vitkd": "needs tokens"}
  return methods.methods_table(results)


def test_what_is_left_out_has_a_table_of_reasons(results):
  results["left_out"] = {"vitkd": "needs tokens", "kd": "reads scores"}
  table = methods.left_out_table(results)
  assert table.rows == (("vitkd", "needs tokens"), ("kd", "reads scores"))
  assert "left_out" in page.table_makers(results | {"methods": {}})
  assert "left_out" not in page.table_makers(results | {"left_out": {}})


def test_rows_are_in_order_of_the_error(table):
  names = ["kd", "Label smoothing", "rkd", "vkd", "Baseline", "nst"]
  assert [row[0] for row in table.rows] == names


def test_a_row_says_it_all(table):
  expected = (
    "rkd", "5.30 ± 0.10", "−0.30", "0.030", "0.060", "+0.70", "0.010", "0.020",
    "only uncorrected", "rate 0.003, weight ×10", "2", "12",
  )  # fmt: skip
  assert table.rows[2] == expected


def test_notes_name_what_does_not_help(table):
  notes = " ".join(table.notes)
  assert "correction): 1 of 4 methods, kd." in notes
  assert "more seeds would have to tell: rkd." in notes
  assert "A gain is not shown: vkd." in notes
  assert "Harm: nst." in notes
  assert "None is shown to be better than kd (0 have" in notes
  assert "tried 2 settings with 1 seed " in notes
  assert "Only 3 paired seeds" in notes and "vitkd" in notes


def test_examples_are_called_what_they_are(table, results):
  notes = methods.methods_table(results | {"data": {"noun": "text"}}).notes
  assert "on training texts held out" in notes[0]
  assert "scored on the test texts." in notes[0]


def test_page_shows_the_table(table, results):
  found = page.render(results, page.content(results, []), {})
  assert "Against baseline" in found and "ard labels:" not in found


def test_the_headline_names_the_chosen_method_and_how_many_help(table, results):
  results["student"]["method"] = "rkd"
  assert verdicts.headline(results).startswith(
    "1 of 4 methods is shown to help against the baseline (p < 0.05 after Holm's"
    " correction); the one chosen, on held-out images, is rkd. Distillation takes"
  )
