"""A useless teacher is what a report says first."""

import pytest

from kdjax.runner.report import (
  compression_page,
  knowledge_tables,
  teachers,
  verdicts,
)


def entry(accuracy, examples=None, chance=None, **more):
  return {
    "test_accuracy": accuracy, "test_examples": examples, "chance": chance,
  } | more  # fmt: skip


GOOD = entry([0.9, 0.94])
# P(X >= 12 of 100 | 0.1) = 0.297, P(X >= 20 of 100 | 0.1) = 0.002;
# P(X = 4 of 4 | 0.5) = 1 / 16; P(X >= 60 of 100 | 0.6) = 0.543.
CHANCE = "cannot be told from chance"
WORSE = "errs more than the baseline"


@pytest.mark.parametrize(
  ("teacher", "baseline", "said"),
  [
    (entry([0.95], 100, 0.1), GOOD, ""),
    (entry([0.92], 100, 0.1), GOOD, ""),  # equal on average
    (entry([0.91], 100, 0.1), GOOD, WORSE),
    (entry([0.20], 100, 0.1), GOOD, WORSE),  # bad, but not chance
    (entry([0.12], 100, 0.1), GOOD, CHANCE),
    (entry([0.12], 100, 0.1), entry([0.11]), CHANCE),
    (entry([1.00], 4, 0.5), entry([0.5]), CHANCE),
    (entry([0.60], 100, 0.6), entry([0.5]), CHANCE),  # the majority's share
    (entry([0.12], 100, 0.1), None, CHANCE),
    (entry([0.5]), None, ""),
    (entry([0.5]), GOOD, WORSE),  # results that do not say what chance is
    (entry([0.5, 0.6], ensemble={"test_accuracy": [0.95]}), GOOD, ""),
    (entry([0.96, 0.97], ensemble={"test_accuracy": [0.7]}), GOOD, WORSE),
    (entry([0.5, 0.6]), GOOD, "average teacher errs more than the baseline"),
    (entry(None), GOOD, ""),  # a cache that does not say
    (None, GOOD, ""),
  ],
)
def test_a_useless_teacher_is_the_reports_first_sentence(
  teacher, baseline, said, results, capsys
):
  results |= {"teacher": teacher, "baseline": baseline}
  remark = teachers.remark(results)
  assert said in remark and bool(said) == bool(remark)
  assert verdicts.headline(results).startswith(remark)
  teachers.warn(results)
  found = capsys.readouterr()
  assert (
    found.out == "" and remark in found.err and bool(found.err) == bool(said)
  )


def test_a_useless_teacher_leads_the_other_commands_pages(monkeypatch):
  rows = {"teacher": entry([0.4]), "baseline": entry([0.5])}
  assert WORSE in teachers.remark({"table": {"rows": rows}})
  monkeypatch.setattr(
    compression_page, "shown", lambda results: results["table"]["rows"]
  )
  one = {"test_accuracy": [0.5], "bytes": [1000]} | {"control": False}
  rows = dict.fromkeys(("student", "int8", "pruned", "baseline"), one)
  rows["teacher"] = one | {"test_accuracy": [0.4]}
  headline = compression_page.headline(
    {"table": {"rows": rows, "sparsity": 0.8}}
  )
  assert headline.startswith("The teacher errs more")
  found = {"comparisons": [], "threshold": 0.2}
  headline = knowledge_tables.headline(
    {"quantify": found, "teacher": entry([0.4]), "baseline": entry([0.5])}
  )
  assert headline.startswith("The teacher errs more")


@pytest.mark.parametrize(
  ("student", "said"),
  [
    ([0.8, 0.9], ""),
    ([0.09, 0.11], "The student cannot be told from chance: the error is 90"),
  ],
)
def test_so_is_a_student_that_guesses(student, said, results):
  results |= {
    "teacher": entry([0.95], 100, 0.1),
    "baseline": entry([0.08]),
    "student": entry(student),
  }
  remark = teachers.remark(results)
  assert said in remark and bool(said) == bool(remark)
