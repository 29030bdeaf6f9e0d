"""The sentences: a gain is claimed only where the numbers show one."""

import copy

import pytest

from kdjax.runner.report import verdicts


@pytest.mark.parametrize(
  ("mean", "p", "pairs", "expected"),
  [
    (-0.97, 7e-4, 10, "gain"),
    (-0.97, 0.0499, 10, "gain"),
    (-0.97, 0.05, 10, "not shown"),
    (-3.0, 0.2, 3, "not shown"),
    (0.0, 1.0, 10, "not shown"),
    (0.5, 0.6, 10, "not shown"),
    (0.5, 1e-9, 10, "no gain: student worse"),
    (-0.97, None, 10, "not shown: no p-value"),
    (-0.97, float("nan"), 10, "not shown: no p-value"),
    (-0.97, None, 1, "not shown: one seed"),
    (0.97, 0.01, 1, "not shown: one seed"),
    (None, None, 0, "not shown: nothing measured"),
  ],
)
def test_not_shown_where_p_or_n_does_not_allow_no_gain(
  mean, p, pairs, expected
):
  comparison = {"mean": mean, "p_value": p, "pairs": pairs}
  assert verdicts.verdict(comparison) == expected


@pytest.mark.parametrize(
  ("mean", "spread", "pairs", "expected"),
  [
    # t(0.975) is 12.706 for 1, 2.776 for 4 and 2.262 for 9 degrees of freedom.
    (-1.0, 1.0, 2, "−9.98 to +7.98"),
    (-1.0, 0.5, 5, "−1.62 to −0.38"),
    (0.5, 0.1, 10, "+0.43 to +0.57"),
    (0.5, None, 1, "–"),
    (0.5, 0.0, 5, "–"),
    (None, None, 0, "–"),
  ],
)
def test_interval_of_the_mean_difference(mean, spread, pairs, expected):
  comparison = {"mean": mean, "standard_deviation": spread, "pairs": pairs}
  assert verdicts.written_interval(comparison) == expected


def test_an_interval_of_accuracies_is_turned():
  comparison = {"mean": -1.0, "standard_deviation": 0.5, "pairs": 5}
  assert verdicts.written_interval(comparison, turned=True) == "+0.38 to +1.62"


def test_headline_names_gain_errors_seeds_and_p(results):
  assert verdicts.headline(results) == (
    "Distillation takes 1.00 points off the test error: 4.60 % for the student,"
    " 5.60 % for the baseline, the same network trained on hard labels alone"
    " (better in 10 of 10 paired seeds, p = 7e-6)."
  )


@pytest.mark.parametrize(
  ("change", "start"),
  [
    ({"p_value": 0.05}, "A gain is not shown: test error 4.60 % for"),
    ({"mean": 0.3, "p_value": 0.01}, "No gain: student worse: test error"),
    ({"p_value": None, "pairs": 1}, "A gain is not shown (one seed): test"),
  ],
)
def test_headline_without_gain(results, change, start):
  results["comparisons"][0] |= change
  assert verdicts.headline(results).startswith(start)
  assert "takes" not in verdicts.headline(results)
  assert ("95 % interval" in verdicts.headline(results)) == (
    change.get("p_value") == 0.05
  )
  # A distance towards the teacher would be a claim of gain too.
  assert "of the way" not in " ".join(verdicts.notes(results))


def test_headline_without_baseline_or_test(results):
  untested = copy.deepcopy(results) | {"comparisons": []}
  assert "A gain is not shown" in verdicts.headline(untested)
  results["baseline"] = None
  assert "no gain can be claimed" in verdicts.headline(results)


def test_notes_name_cost_distance_and_each_control(results):
  # (5.6 - 4.6) / (5.6 - 2.2) = 0.294; 2395210 / 79510 = 30.1
  assert verdicts.notes(results) == [
    "The student has 30.1× fewer parameters than its teacher.",
    "The student goes 29 % of the way from its baseline to its teacher (2.20 %"
    " test error).",
    "A gain over the control 'label smoothing' (the same network trained on"
    " smoothed labels) is not shown: difference −0.50 points, 95 % interval −0.57"
    " to −0.43, better in 7 of 10 paired seeds, p = 0.30. Smoothed labels, which"
    " need no teacher, may do as well.",
    "The control 'augmented' (the same network trained on hard labels of augmented"
    " images) beats the student: difference +0.50 points, better in 0 of 10 paired seeds, p ="
    " 0.001. Where the student's own data can be augmented, do that first.",
  ]


def test_notes_warn_of_few_seeds_and_missing_tests(results):
  results["comparisons"] = [results["comparisons"][0] | {"pairs": 2}]
  text = " ".join(verdicts.notes(results))
  assert "Only 2 paired seeds: " in text
  assert "augmented images) has lower test error than the student" in text
  assert "smoothed labels) has no lower test error than the student" in text


def test_notes_say_that_a_sweep_chooses(results):
  assert "sweep" not in " ".join(verdicts.notes(results))
  cells = {"student": [{}] * 6, "label_smoothing": [{}] * 2}
  swept = results | {"sweep": {"cells": cells}}
  assert "student 6, label smoothing 2" in verdicts.notes(swept)[-1]
