"""Tables: the strings in their cells, and the forms in which they are shown."""

import io

import pytest

from kdjax.runner.report import sweep_tables, synthesis_page, tables
from kdjax.runner.report.text import Table, to_markdown, to_text


def test_networks_table(results):
  table = tables.networks_table(results)
  assert table.caption == (
    "Results on 1,000 test examples, mean ± standard deviation over 3 seeds"
  )
  assert table.rows == (
    ("Baseline", "5.60 ± 0.10", "96.00 ± 1.00", "2.00 ± 1.00", "0.200 ± 0.100"),
    ("Student", "4.60 ± 0.10", "96.00 ± 1.00", "2.00 ± 1.00", "0.200 ± 0.100"),
    (
      "Label smoothing",
      "5.10 ± 0.10",
      "96.00 ± 1.00",
      "2.00 ± 1.00",
      "0.200 ± 0.100",
    ),
    (
      "Augmented",
      "4.10 ± 0.10",
      "96.00 ± 1.00",
      "2.00 ± 1.00",
      "0.200 ± 0.100",
    ),
    ("Teacher", "2.20", "–", "2.00 ± 1.00", "0.200 ± 0.100"),
  )


def test_columns_that_nobody_fills_are_left_out():
  minimal = {"student": {"test_accuracy": [0.9]}}
  assert tables.networks_table(minimal).headers == ("Network", "Test error, %")
  assert tables.cost_table(minimal).headers == ("Network",)


def test_cost_table_shows_each_model_once_and_the_saving(results):
  table = tables.cost_table(results)
  assert table.headers == (
    "Network",
    "Parameters",
    "FLOPs",
    "Batch of 1",
    "Batch of 64",
    "Model",
  )
  teacher = "mlp(hidden=(1200, 1200))"
  assert table.rows == (
    ("Teacher", "2,395,210", "4.79 M", "0.4 ms", "4 ms", teacher),
    ("Student", "79,510", "159 k", "0.04 ms", "0.2 ms", "mlp(hidden=(100,))"),
    (
      "Saving",
      "30.1× fewer",
      "30.1× fewer",
      "10.0× faster",
      "20.0× faster",
      "",
    ),
  )
  results["controls"]["augmented"]["model"] = "vgg()"
  rows = tables.cost_table(results).rows
  assert [row[0] for row in rows][2:] == ["Augmented", "Saving"]


@pytest.mark.parametrize(
  ("rounds", "said"),
  [
    ({}, " at once."),  # results that do not say
    ({"1": 50, "64": 50}, " at once, the median of 50 rounds."),
    ({"1": 50, "64": 1}, " at once, the median of 1 to 50 rounds."),
  ],
)
def test_latencies_say_of_how_many_rounds_they_are(rounds, said, results):
  results["teacher"]["latency_rounds"] = rounds
  (note,) = tables.cost_table(results).notes
  assert note.endswith(f"Batch of N: latency of N examples{said}")


def test_without_latencies_there_is_no_column_and_no_word_of_them(results):
  for name in ("teacher", "student"):
    del results[name]["latency_ms"]
  table = tables.cost_table(results)
  assert table.headers == ("Network", "Parameters", "FLOPs", "Model")
  assert table.notes == ("FLOPs: forward pass of one example.",)


def test_comparisons_table(results):
  assert tables.comparisons_table(results).rows == (
    (
      "Student − baseline",
      "−1.00 ± 0.10",
      "−1.07 to −0.93",
      "7e-6",
      "10 of 10",
      "gain",
    ),
    (
      "Student − label smoothing",
      "−0.50 ± 0.10",
      "−0.57 to −0.43",
      "0.30",
      "7 of 10",
      "not shown",
    ),
    (
      "Student − augmented",
      "+0.50 ± 0.10",
      "+0.43 to +0.57",
      "0.001",
      "0 of 10",
      "no gain: student worse",
    ),
  )


def test_sweep_table_over_two_axes(sweep):
  table = tables.sweep_table(sweep)
  assert table.headers[:2] == ("Temperature", "Hard weight 0")
  assert table.rows == (
    ("1", "6.00 ± 0.00", "7.00 ± 0.00", "8.00 ± 0.00"),
    ("4", "* 4.00 ± 0.00", "5.00 ± 0.00", "6.00 ± 0.00"),
  )
  assert table.notes == (
    "Any temperature from 4 on does.",
    "Baseline: 6.00 ± 1.41 %.",
    "* recommended.",
  )


def test_sweep_table_over_one_axis_with_a_missing_value():
  sweep = {"axes": {"temperature": [1, 4]}, "accuracy": [[0.94, None], [None]]}
  sweep["accuracy"][1] = [None, None]
  table = tables.sweep_table(sweep)
  assert table.headers == ("Temperature", "Test error, %")
  assert table.rows == (("1", "6.00"), ("4", "–"))


def test_omitted_class_table():
  omitted = {
    "class": 3,
    "recall": [0.5],
    "accuracy": [0.9],
    "recall_corrected": [0.89],
    "accuracy_corrected": [0.94],
    "baseline_recall": [0.0],
  }
  assert tables.omitted_class_table(omitted).rows == (
    ("Baseline", "0.0", "–"),
    ("Student", "50.0", "90.0"),
    ("Student, bias shifted", "89.0", "94.0"),
  )


def test_training_table_takes_the_last_epoch_and_the_median_speed(history):
  row = tables.training_table(history).rows[1]
  # Last loss 1/3 and 1.2/3; training errors 2 % and 1 %; speeds 1, 2, 3 k.
  assert row == (
    "Student",
    "3",
    "96",
    "0.3667 ± 0.0471",
    "1.50 ± 0.71",
    "2,000",
  )


class Stream(io.StringIO):
  def __init__(self, tty, encoding):
    super().__init__()
    self._tty, self._encoding = tty, encoding

  @property
  def encoding(self):
    return self._encoding

  def isatty(self):
    return self._tty


@pytest.mark.parametrize(
  ("tty", "encoding", "has", "lacks"),
  [
    (False, "utf-8", "x[net]   −1.0 ± 0.1\ny                 5\n", "\x1b"),
    (True, "utf-8", "\x1b[1m", "+-"),
    (True, "ascii", "x[net]   -1.0 +- 0.1\ny                  5\n", "\x1b"),
  ],
)
def test_text_suits_the_stream(tty, encoding, has, lacks):
  rows = (("x[net]", "−1.0 ± 0.1"), ("y", "5"))
  table = Table("Errors", ("Network", "%"), rows)
  text = to_text(table, Stream(tty, encoding))
  assert has in text
  assert lacks not in text
  assert "x[net]" in text  # brackets are no markup
  text.encode(encoding)


def test_markdown_escapes_its_own_sign():
  table = Table("Errors", ("A", "B"), (("a|b", "1"),), ("Note.", ""))
  assert to_markdown(table) == (
    "**Errors**\n\n| A | B |\n| :-- | --: |\n| a\\|b | 1 |\n\nNote.\n"
  )


def test_cells_of_one_seed_have_no_p_value():
  beside = {"mean": -1.0, "holm_p_value": None}
  cells = [
    {"temperature": 1.0, "accuracy": [0.9]}
    | {"versus_best": None, "versus_baseline": beside},
    {"temperature": 4.0, "accuracy": [0.8]}
    | {"versus_best": beside, "versus_baseline": beside},
  ]
  sweep = {"axes": {"temperature": [1.0, 4.0]}, "cells": {"student": cells}}
  assert sweep_tables.cells_table(sweep).headers == (
    "Temperature", "Test error, %", "− best", "− baseline",
  )  # fmt: skip


def test_differences_of_one_seed_have_neither_interval_nor_p_value():
  one = {"student": "student", "control": "baseline", "mean": -1.0,
         "standard_deviation": None, "p_value": None, "wins": 1,
         "pairs": 1}  # fmt: skip
  table = tables.comparisons_table({"comparisons": [one]})
  assert table.headers == (
    "Comparison", "Test error, points", "Seeds better", "Verdict",
  )  # fmt: skip
  assert table.rows[0][-1] == "not shown: one seed"
  assert table.notes == ("Negative: the student errs less.",)


def kind(networks):
  return {
    "model": "mlp(8)", "test_examples": 100, "images_per_class": 2,
    "steps": 3, "rate": 0.1, "each": [[0.5] * networks],
    "test_accuracy": [0.5], "negative_log_likelihood": [1.0],
  }  # fmt: skip


def test_one_set_of_images_and_one_network_are_called_that():
  results = {"student": kind(1), "baseline": kind(1),
             "synthesis": {"classes": 2, "real_images": 90,
                           "networks": 1}}  # fmt: skip
  table = synthesis_page.accuracies_table(results)
  assert "Between networks" not in table.headers
  assert table.caption == "mlp(8) on 100 test images, 1 set of images"
  assert table.notes[0].startswith("Of each set a fresh network of an unseen")
  results["synthesis"]["networks"] = 2
  results["student"] = kind(2)
  table = synthesis_page.accuracies_table(results)
  assert "Between networks" in table.headers
  assert [row[0] for row in table.rows] == [
    "Random real images", "Learned images",
  ]  # fmt: skip


def test_the_students_method_is_named_where_one_was_chosen():
  results = {"student": {"test_accuracy": [0.9], "method": "dkd"}}
  (_, described) = tables.networks_table(results).notes
  assert described == "Student: trained by dkd, the method that was chosen."
