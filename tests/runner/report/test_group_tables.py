"""The tables of classes and groups."""

from kdjax.runner.report import group_tables, page, record

CLASSES = {"examples": [8, 2], "accuracy": [0.75, 0.5]}
GROUPS = {"examples": [7, 3], "accuracy": [0.9, None]}


def entry(shift):
  return {
    "test_accuracy": [0.7 + shift],
    "balanced_accuracy": [0.625 + shift],
    "worst_class_accuracy": [0.5 + shift],
    "per_class": CLASSES | {"accuracy": [0.75, 0.5 + shift]},
    "worst_group_accuracy": [0.9 + shift],
    "mean_group_accuracy": [0.9 + shift],
    "per_group": GROUPS,
  }


RESULTS = {
  "task": "classification",
  "class_names": ["cat", "dog"],
  "group_names": ["day", "night"],
  "student": entry(0.0),
  "baseline": entry(-0.1),
  "teacher": entry(0.1),
}


def test_each_class_has_a_row_with_the_students_gap():
  whole, one = group_tables.class_tables(RESULTS)
  assert ("Student", "62.50", "50.00") in whole.rows
  assert one.headers == (
    "Class", "Examples", "Baseline", "Student", "Teacher", "Student − teacher",
  )  # fmt: skip
  assert one.rows[1] == ("dog", "2", "40.00", "50.00", "60.00", "−10.00")


def test_each_group_has_a_row():
  whole, one = group_tables.group_tables(RESULTS)
  assert whole.headers[1] == "Worst group accuracy, %"
  assert ("Teacher", "100.00", "100.00") in whole.rows
  assert one.rows[0] == ("day", "7", "90.00", "90.00", "90.00", "0.00")
  assert one.rows[1] == ("night", "3", "–", "–", "–", "–")


def test_of_many_classes_the_worst_are_shown():
  count = 40
  per_class = {
    "examples": [5] * count,
    "accuracy": [i / count for i in range(count)][::-1],
  }
  results = {
    "task": "classification",
    "class_names": [f"c{i}" for i in range(count)],
    "student": {"per_class": per_class, "test_accuracy": [0.5]},
  }
  _, one = group_tables.class_tables(results)
  assert len(one.rows) == 30 and one.rows[0][0] == "c39"
  assert "30 of 40" in one.notes[0]


def test_results_without_them_have_no_table():
  results = {"task": "classification", "student": {"test_accuracy": [0.5]}}
  assert group_tables.class_tables(results) == []
  assert group_tables.group_tables(results) == []
  assert "classes" not in page.table_makers(results)


def test_the_terminal_leaves_the_classes_to_the_page():
  shown = record.summary(RESULTS)
  assert "Worst group" in shown and "dog" not in shown
