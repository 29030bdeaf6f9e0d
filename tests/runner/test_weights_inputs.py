"""Weights, groups and classes alike: bad inputs end in one clear line."""

import numpy as np
import pytest
from wrong_files import arrays_of, cell, column, named, refused, table_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)).round(3)
HEAD = ["a", "b", "label", "weight", "group", "split"]
SPLIT = np.where(np.arange(40) < 30, "train", "test")
ROWS = [
  [*x, i % 2, 1 + i % 3, "sea" if i % 4 else "land", s]
  for i, (x, s) in enumerate(zip(X.tolist(), SPLIT, strict=True))
]


def table(change=None, head=HEAD):
  return table_of(head, ROWS, change)


def arrays(**change):
  given = {"x": X.astype(np.float32), "y": np.arange(40) % 2}
  given |= {"weight": np.ones(40), "group": np.arange(40) % 3}
  return arrays_of(given | change)


HALVES = {
  "x": None, "y": None, "weight": None, "group": None,
  "x_train": X[:30], "y_train": np.arange(30) % 2,
  "x_test": X[30:], "y_test": np.arange(10) % 2,
}  # fmt: skip
PLAIN = table()
MASS = "is not there; there are a, b, group, label, split, weight"
FILES = [
  (table(cell(3, 3, "-1")), "", "column 'weight', line 5, has -1; a weight is >= 0"),
  (table(cell(3, 3, "-0.001")), "", "line 5, has -0.001; a weight is >= 0"),
  (table(cell(3, 3, "")), "", "column 'weight', line 5, is empty"),
  (table(cell(3, 3, "nan")), "", "column 'weight', line 5, has nan"),
  (table(cell(3, 3, "inf")), "", "column 'weight', line 5, has"),
  (table(cell(3, 3, "1e39")), "", "no finite number of float32"),
  (table(cell(3, 3, "much")), "", "has 'much', which is no number"),
  (table(cell(3, 3, "1_0")), "", "has '1_0', which is no number"),
  (table(column(3, 0)), "", "all train examples have the weight 0"),
  (table(column(3, 0, lambda r: r[5] == "test")), "", "all test examples have the weight 0"),
  (table(column(3, 0, lambda r: r[2] == 1)), "", "all train examples of class '1' have the weight 0"),
  (table(cell(7, 4, "")), "", "column 'group', line 9, is empty"),
  (table(column(4, 0.5)), "", "a group is 0.5; groups are whole numbers or names"),
  (table(head=[*HEAD[:4], "weight", "split"]), "", "two columns are called 'weight'"),
  (PLAIN, "weight='mass'", f"weight='mass' {MASS}"),
  (PLAIN, "group='land'", f"group='land' {MASS}"),
  (PLAIN, "weight=3", "weight=3 names no column"),
  (PLAIN, "weight=('a', 'b')", "names no column"),
  (PLAIN, "group=True", "group=True names no column"),
  (PLAIN, "weight='group'", "weight and group both name 'group'"),
  (PLAIN, "weight='label'", "weight='label' names the column of labels"),
  (PLAIN, "group='split'", "group='split' names the column of splits"),
  (PLAIN, "weight='group', group=None", "column 'group', line 2, has 'land', which is no number"),
  (PLAIN, "group=None", "column 'group', line 2, has 'land', which is no number"),
  (PLAIN, "leave_out=('weight',), weight='weigth'", "weight='weigth' is not there"),
  (PLAIN, "wieght='weight'", "did you mean 'weight'"),
  (arrays(weight=-np.ones(40)), "", "example 0 has the weight -1"),
  (arrays(weight=np.full(40, np.nan)), "", "example 0 has the weight nan"),
  (arrays(weight=np.r_[np.ones(39), np.inf]), "", "example 39 has the weight inf"),
  (arrays(weight=np.ones(39)), "", "the array 'weight' has the shape (39,) for 40 examples"),
  (arrays(weight=np.ones((40, 1))), "", "the array 'weight' has the shape (40, 1)"),
  (arrays(weight=np.array(["1"] * 40)), "", "has the type <U1; weights are numbers"),
  (arrays(weight=np.ones(40, complex)), "", "has the type complex128"),
  (arrays(weight=np.zeros(40)), "", "all train examples have the weight 0"),
  (arrays(group=np.zeros(7, int)), "", "the array 'group' has the shape (7,)"),
  (arrays(group=np.full(40, 0.5)), "", "the array 'group' has the type float64"),
  (arrays(**HALVES, weight_train=np.ones(30)), "group=None", "there is no array 'weight_test'"),
  (arrays(**HALVES, test_group=np.zeros(10, int)), "weight=None", "there is no array 'group_train'"),
  (arrays(**HALVES, weight_train=np.ones(30), weight_test=np.ones(9)), "group=None",
   "has the shape (9,) for 10 examples"),
  (arrays(), "weight='mass'", "weight='mass' is not there"),
]  # fmt: skip
NUMBERS = "class_weights= takes 2 numbers > 0, one a class"
TASK = "--task=classification(class_weights="
FLAGS = [
  ("--class_sampling=even", "--class_sampling"),
  ("--class_sampling=balance", "--class_sampling"),
  ("--class_sampling=balanced --labels=10", "--class_sampling=balanced: of 20 of 30 images"),
  ("--class_sampling=balanced --task=regression",
   "--class_sampling=balanced: it is for tasks whose answers are categories"),
  (f"{TASK}(1, 2, 3))", NUMBERS),
  (f"{TASK}(1, 0))", NUMBERS),
  (f"{TASK}(1, -1))", NUMBERS),
  (f"{TASK}2)", NUMBERS),
  (f"{TASK}'even')", NUMBERS),
  ("--task=classification(class_weight=(1, 2))", "did you mean 'class_weights'"),
  ("--task=multilabel(class_weights=(1, 2))", "class_weights"),
  ("--distillation=logit_adjustment(tau=-1)", "tau"),
  ("--distillation=logit_adjustment(tau='x')", "tau"),
  ("--distillation=logit_adjustment(prior=(1, 0))", "prior= takes"),
  ("--distillation=logit_adjustment(prior=3)", "prior= takes"),
  ("--distillation=logit_adjustment(prior=(1, 2, 3))", "prior= takes 2 numbers > 0"),
  ("--distillation=logit_adjusted_kd(side='both')", "side"),
  ("--distillation=logit_adjusted_kd(temperature=0)", "temperature"),
  ("--distillation=logit_adjustmnt", "did you mean 'logit_adjustment'"),
  ("--distillation=logit_adjusted_kd --task=regression", "logit_adjust"),
  ("--distillation=ce(class_weights=(1, 2, 3)):1", NUMBERS),
  ("--distillation=ce(class_weights='balanced'):1", "balanced_class_weights"),
]  # fmt: skip
NAMES = [
  ("long_tailed('digits', imbalance=0.5)", "imbalance=0.5; it is a number >= 1"),
  ("long_tailed('digits', imbalance='much')", "imbalance='much'"),
  ("long_tailed('digits', imbalance=True)", "imbalance=True"),
  ("long_tailed('digits', seed=-1)", "seed= takes"),
  ("long_tailed('digit')", "digit"),
  ("long_tailed(dataset='digits', ratio=3)", "there is no argument 'ratio'"),
  ("long_tailed()", "missing a required argument"),
]  # fmt: skip


def weighed(path, settings=""):
  """The file's data set, whose columns of weights and groups are named."""
  usual = [f"{x}={x!r}" for x in ("weight", "group") if f"{x}=" not in settings]
  return named(path, ", ".join(filter(None, [settings, *usual])))


def rows(table):
  """The rows of a table, three of four of which are slow: they are of one kind."""
  return [
    pytest.param(*row, id=str(row[-1 if callable(row[0]) else 0]),
                 marks=[pytest.mark.slow] * bool(i % 4))
    for i, row in enumerate(table)
  ]  # fmt: skip


@pytest.mark.parametrize(("make", "settings", "says"), rows(FILES))
def test_files(tmp_path, capsys, make, settings, says):
  path = make(tmp_path)
  name = weighed(path, settings)
  assert says in refused(capsys, tmp_path, f"--dataset={name}")


@pytest.mark.parametrize(("flag", "says"), rows(FLAGS))
def test_flags(tmp_path, capsys, flag, says):
  name = weighed(PLAIN(tmp_path))
  flags = [f"--{one}" for one in flag[2:].split(" --")]
  assert says in refused(
    capsys, tmp_path, f"--dataset={name}", "--batch_size=8", *flags
  )


@pytest.mark.parametrize(("name", "says"), rows(NAMES))
def test_names(tmp_path, capsys, name, says):
  assert says in refused(capsys, tmp_path, f"--dataset={name}")
