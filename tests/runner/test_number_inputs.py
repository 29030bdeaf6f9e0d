"""Numbers to predict: bad inputs end in one clear line before anything compiles."""

import numpy as np
import pytest
from wrong_files import arrays_of, cell, column, named, refused, table_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).round(3)
Y = RNG.normal(size=(40, 2)).round(3)
HEAD = ["a", "b", "c", "label_height", "label_width"]
ROWS = [[*x, *y] for x, y in zip(X.tolist(), Y.tolist(), strict=True)]


def table(change=None, head=HEAD):
  return table_of(head, ROWS, change)


def arrays(**change):
  return arrays_of({"x": X.astype(np.float32), "y": Y} | change)


PLAIN = table()
NUMBER = "a label of numbers is a decimal number"
NOTHING = "there is nothing to predict; leave it out"

# What makes the file, what stands behind its path in table(...), and what is said.
FILES = [
  (table(cell(3, 3, "tall")), "", f"column 'label_height', line 5, has 'tall'; {NUMBER}"),
  (table(cell(0, 4, "1_000")), "", f"line 2, has '1_000'; {NUMBER}"),
  (table(cell(0, 4, "0x10")), "", f"has '0x10'; {NUMBER}"),
  (table(cell(9, 3, "inf")), "", f"line 11, has 'inf'; {NUMBER}"),
  (table(cell(9, 3, "-inf")), "", f"has '-inf'; {NUMBER}"),
  (table(cell(9, 3, "1e39")), "", f"has '1e39'; {NUMBER}"),
  (table(cell(9, 3, "1,5")), "", f"has '1,5'; {NUMBER}"),
  (table(cell(9, 3, "yes")), "", f"has 'yes'; {NUMBER}"),
  (table(cell(9, 3, "\x07")), "", NUMBER),
  (table(cell(2, 0, "")), "", "column 'a', line 4, is empty"),
  (table(cell(2, 0, "x")), "", "has 'x', which is no number"),
  (table(column(3, 1.5)), "", f"label 'height' is 1.5 of every training example: {NOTHING}"),
  (table(column(4, "")), "", f"label 'width' is not known of every training example: {NOTHING}"),
  (table(column(4, "nan")), "", "label 'width' is not known"),
  (table(lambda rows: rows[:3]), "", "which has 3"),
  (table(lambda rows: []), "", "has no row"),
  (table(head=[*HEAD[:4], "label_height"]), "", "two columns are called"),
  (table(lambda rows: [row[3:] for row in rows], HEAD[3:]), "", "has no column besides"),
  (table(head=["image", *HEAD[1:]]), "", "a list of images has the columns image"),
  (table(lambda rows: [[row[0], *row[3:]] for row in rows], ["image", *HEAD[3:]]),
   "", "there is no file"),
  (table(lambda rows: [[*row, "train"] for row in rows], [*HEAD, "split"]), "",
   "no example is test"),
  (table(lambda rows: [[*row, "dev"] for row in rows], [*HEAD, "split"]), "",
   "has 'dev'; it must be train or test"),
  (table(lambda rows: [[*row[:4], "" if i % 5 == 4 else row[4],
                        "test" if i % 5 == 4 else "train"]
                       for i, row in enumerate(rows)], [*HEAD, "split"]), "",
   "label 'width' is not known of any test example"),
  (PLAIN, "label='height'", "has no column 'height', but"),
  (PLAIN, "label=()", "names no columns"),
  (PLAIN, "label=('label_height', 'label_height')", "names 'label_height' twice"),
  (PLAIN, "label=('label_height', 'depth')", "has no column 'depth', but"),
  (PLAIN, "leave_out=('label_width',)", "column 'label_width' has the classes, and leave_out"),
  (PLAIN, "positive_weight=2", "positive_weight=2 is for labels of yes and no"),
  (PLAIN, "huber=1", "there is no argument 'huber'"),
  (arrays(y=Y.astype(str)), "", "labels of numbers are (N,) or (N, C)"),
  (arrays(y=Y[..., None]), "", "labels of numbers are (N,) or (N, C)"),
  (arrays(y=np.full((40, 2), np.inf)), "", f"example 0 has inf for label 0; {NUMBER}"),
  (arrays(y=np.full((40, 2), 1e300)), "", "example 0 has 1e+300 for label 0"),
  (arrays(y=np.zeros(40)), "", f"label '0' is 0 of every training example: {NOTHING}"),
  (arrays(y=np.full(40, np.nan)), "", "label '0' is not known of every"),
  (arrays(y=Y[:5]), "", "40 inputs, but 5 labels"),
  (arrays(y=None), "", "give x and y"),
  (arrays(label_names=np.array(["height"])), "", "1 label_names for 2 labels"),
  (arrays(), "label=('a', 'b')", "several names of labels are for tables"),
  (arrays(y=None, x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5, :1], x=None),
   "", "the labels have the widths [2, 1]"),
]  # fmt: skip
FLAGS = [
  ("--task=regresion", "unknown task 'regresion'; did you mean 'regression'"),
  ("--task=", "it is empty"),
  ("--task=3", "must begin with a name"),
  ("--task=regression(", "cannot read"),
  ("--task=regression(huber=0)", "huber= takes a number > 0, or None; got 0"),
  ("--task=regression(hubert=1)", "did you mean 'huber'"),
  ("--task=regression(3)", "regression(3) reads targets of the shape"),
  ("--task=regression(target_scale=0)", "target_scale= takes a number > 0"),
  ("--task=regression(target_mean=(1, 2, 3))", "target_mean= takes a number, or 2"),
  ("--task=gaussian_regression(huber=1)", "there is no argument 'huber'"),
  ("--task=classification", "has no column 'label'"),
  ("--task=multilabel", "a label is 1 for yes, 0 for no"),
  ("--task=lm", "language models learn by lm"),
  ("--dataset=digits", "answers that are categories, and the task's are values"),
  ("--distillation=kd", "kd reads categories and binary; methods that fit are"),
  ("--distillation=gaussian_kl", "gaussian_kl reads gaussians"),
  ("--distillation=teacher_bounded(margin=-1)", "margin"),
  ("--distillation=teacher_bounded(margins=1)", "did you mean 'margin'"),
  ("--distillation=teacher_bound", "did you mean 'teacher_bounded'"),
  ("--task=gaussian_regression --distillation=teacher_bounded",
   "teacher_bounded reads values"),
  ("--labels=10", "--labels=10: it is for tasks whose answers are categories"),
  ("--omit_classes=1", "--omit_classes=1: it is for tasks"),
  ("--specialists=2", "--specialists=2: it is for tasks"),
  ("--transfer_dataset=noise_images", "--transfer_dataset=noise_images: it is"),
  ("--shuffled_teacher", "it is for tasks whose answers are categories"),
  ("--dataset=rotated_digits(0)", "degrees must be a number in (0, 180], got 0"),
  ("--dataset=rotated_digits(degrees='x')", "degrees must be a number"),
]  # fmt: skip


@pytest.mark.parametrize(
  ("make", "settings", "says"), FILES, ids=[says for *_, says in FILES]
)
def test_files(tmp_path, capsys, make, settings, says):
  path = make(tmp_path)
  name = named(path, settings)
  call = ("--task=regression", f"--dataset={name}")
  assert says in refused(capsys, tmp_path, *call)


@pytest.mark.parametrize(("flag", "says"), FLAGS, ids=[x for x, _ in FLAGS])
def test_flags(tmp_path, capsys, flag, says):
  given = [f"--{one}" for one in flag[2:].split(" --")]
  usual = (f"--dataset={PLAIN(tmp_path)}", "--task=regression")
  names = {one.partition("=")[0] for one in given}
  kept = [one for one in usual if one.partition("=")[0] not in names]
  assert says in refused(capsys, tmp_path, *kept, "--batch_size=8", *given)
