"""Several yes/no labels: bad inputs end in one clear line before anything compiles."""

import numpy as np
import pytest
from wrong_files import arrays_of, cell, column, named, refused, table_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).round(3)
Y = RNG.integers(0, 2, (40, 2))
HEAD = ["a", "b", "c", "label_red", "label_round"]
ROWS = [[*x, *y] for x, y in zip(X.tolist(), Y.tolist(), strict=True)]


def table(change=None, head=HEAD):
  return table_of(head, ROWS, change)


def arrays(**change):
  return arrays_of({"x": X.astype(np.float32), "y": Y} | change)


PLAIN = table()
BAD_CELL = "a label is 1 for yes, 0 for no, and -1 or nothing"
WEIGHT = "positive_weight= takes a number > 0, or 2 of them"

# What makes the file, what stands behind its path in table(...), further flags, and
# what is said.
FILES = [
  (table(cell(3, 3, "2")), "", f"column 'label_red', line 5, has '2'; {BAD_CELL}"),
  (table(cell(0, 4, "maybe")), "", f"line 2, has 'maybe'; {BAD_CELL}"),
  (table(cell(9, 3, "0.5")), "", f"line 11, has '0.5'; {BAD_CELL}"),
  (table(cell(9, 3, "-2")), "", f"has '-2'; {BAD_CELL}"),
  (table(cell(9, 3, "inf")), "", f"has 'inf'; {BAD_CELL}"),
  (table(cell(9, 3, "1_0")), "", f"has '1_0'; {BAD_CELL}"),
  (table(cell(9, 3, "\x07")), "", "x07'; a label is"),
  (table(cell(2, 0, "")), "", "column 'a', line 4, is empty"),
  (table(cell(2, 0, "x")), "", "has 'x', which is no number"),
  (table(column(3, 1)), "", "label 'red' is yes of every training example"),
  (table(column(3, 0)), "", "label 'red' is no of every training example"),
  (table(column(4, "")), "", "label 'round' is not known of every training"),
  (table(column(4, -1)), "", "label 'round' is not known of every training"),
  (table(lambda rows: rows[:3]), "", "class 'all examples', which has 3"),
  (table(lambda rows: []), "", "has no row"),
  (table(head=[*HEAD[:4], "label_red"]), "", "two columns are called 'label_red'"),
  (table(lambda rows: [row[3:] for row in rows], HEAD[3:]), "",
   "has no column besides label_red, label_round, split"),
  (table(head=["image", *HEAD[1:]]), "", "a list of images has the columns image"),
  (table(lambda rows: [[row[0], *row[3:]] for row in rows], ["image", *HEAD[3:]]),
   "", "there is no file"),
  (table(lambda rows: [[*row, "train"] for row in rows], [*HEAD, "split"]), "",
   "no example is test"),
  (table(lambda rows: [[*row, "dev"] for row in rows], [*HEAD, "split"]), "",
   "has 'dev'; it must be train or test"),
  (PLAIN, "label=()", "names no columns"),
  (PLAIN, "label=(1, 2)", "names no columns"),
  (PLAIN, "label=('label_red', 'label_red')", "names 'label_red' twice"),
  (PLAIN, "label=('label_red', 'label_blue')", "has no column 'label_blue', but"),
  (PLAIN, "label=('label_red', 'b')", "column 'b', line 2, has '-0.132'"),
  (PLAIN, "leave_out=('label_red',)",
   "column 'label_red' has the classes, and leave_out"),
  (PLAIN, "positive_weight=0", WEIGHT),
  (PLAIN, "positive_weight=-1", WEIGHT),
  (PLAIN, "positive_weight=(1, 2, 3)", WEIGHT),
  (PLAIN, "positive_weight=(1, 0)", WEIGHT),
  (PLAIN, "positive_weight='even'", WEIGHT),
  (PLAIN, "label='label_red', leave_out='label_round', positive_weight=2",
   "positive_weight=2 is for labels of yes and no"),
  (arrays(y=Y + 1), "", "has 2 for label"),
  (arrays(y=Y * 0.5), "", "has 0.5 for label"),
  (arrays(y=Y.astype(str)), "", "(N, L) numbers"),
  (arrays(y=Y[:5]), "", "40 inputs, but 5 labels"),
  (arrays(y=Y[..., None]), "", "labels are (N,)"),
  (arrays(y=np.zeros_like(Y)), "", "label '0' is no of every training example"),
  (arrays(label_names=np.array(["red"])), "", "1 label_names for 2 labels"),
  (arrays(), "label=('a', 'b')", "several names of labels are for tables"),
  (arrays(y=None, x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5, :1], x=None),
   "", "the labels have the widths [2, 1]"),
]  # fmt: skip
FLAGS = [
  ("--distillation=binary_kd(positive_weight=-1)", "positive_weight"),
  ("--distillation=binary_kd(gamma=-1)", "gamma"),
  ("--distillation=binary_kd(temperature=0)", "temperature"),
  ("--distillation=binary_kd(pos_weight=2)", "pos_weight"),
  ("--distillation=binary_kd(labels=3)", "labels"),
  ("--distillation=binary_kdd", "did you mean 'binary_kd'"),
  ("--distillation=pskd", "pskd reads categories"),
  ("--labels=10", "--labels=10: it is for tasks whose answers are categories"),
  ("--omit_classes=1", "--omit_classes=1: it is for tasks"),
  ("--teachers=3 --pool=confidence", "--pool=confidence: it is for tasks"),
  ("--specialists=2", "--specialists=2: it is for tasks"),
  ("--transfer_dataset=noise_images", "--transfer_dataset=noise_images: it is"),
  ("--shuffled_teacher", "it is for tasks whose answers are categories"),
  ("--noise_teacher", "it is for tasks whose answers are categories"),
  ("--augment=mixup(0.2)", "--augment: inputs that are mixed"),
  ("--teacher_augment=cutmix(1)", "--teacher_augment: inputs"),
]


@pytest.mark.parametrize(
  ("make", "settings", "says"), FILES, ids=[says for *_, says in FILES]
)
def test_files(tmp_path, capsys, make, settings, says):
  path = make(tmp_path)
  name = named(path, settings)
  assert says in refused(capsys, tmp_path, f"--dataset={name}")


@pytest.mark.parametrize(("flag", "says"), FLAGS, ids=[x for x, _ in FLAGS])
def test_flags(tmp_path, capsys, flag, says):
  path = PLAIN(tmp_path)
  assert says in refused(
    capsys,
    tmp_path,
    f"--dataset={path}",
    "--batch_size=8",
    *(f"--{one}" for one in flag[2:].split(" --")),
  )
