"""Embeddings: bad inputs end in one clear line before anything compiles."""

import numpy as np
import pytest
from wrong_files import arrays_of, cell, column, named, refused, table_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).round(3)
Y = RNG.normal(size=(40, 4)).astype(np.float32).round(3)
HEAD = ["a", "b", "c", "label_0", "label_1"]
ROWS = [[*x, *y] for x, y in zip(X.tolist(), Y[:, :2].tolist(), strict=True)]
NAN = np.full_like(Y, np.nan)


def arrays(**change):
  return arrays_of({"x": X.astype(np.float32), "y": Y} | change)


def halves(x_test=X[:5], y_test=Y[:5], **change):
  given = {"x_train": X, "y_train": Y, "x_test": x_test, "y_test": y_test}
  return arrays(x=None, y=None, **given | change)


def table(change=None, head=HEAD):
  return table_of(head, ROWS, change)


PLAIN, BARE = arrays(), arrays(y=None)
# What makes the file, what stands behind its path in table(...), and what is said.
FILES = [
  (arrays(y=Y[:, :1]), "", "its labels are one number, which has no direction"),
  (arrays(y=Y[:, 0]), "", "its labels are one number, which has no direction"),
  (arrays(y=NAN), "", "no training example has a vector that is known"),
  (arrays(y=np.zeros_like(Y)), "", "no training example has a vector"),
  (halves(y_test=NAN[:5]), "", "no test example has a vector that is known"),
  (halves(y_test=Y[:5, :2]), "", "the labels have the widths [4, 2]"),
  (halves(x_test=X[:5, :2]), "", "the inputs have the shapes"),
  (halves(y_test=None), "", "it has x_train, y_train, x_test; give x and y"),
  (arrays(y=Y[:7]), "", "40 inputs, but 7 labels"),
  (arrays(y=Y[..., None]), "", "has the type float32 and the shape (40, 4, 1)"),
  (arrays(y=Y.astype(str)), "", "is"),
  (arrays(y=np.where(Y.max() == Y, np.inf, Y)), "", "has inf for label"),
  (arrays(label_names=np.array(["a"])), "", "1 label_names for 4 labels"),
  (arrays(x=X[:, None, None, None]), "", "inputs are (N, D), (N, H, W)"),
  (arrays(x=np.full_like(X, np.nan)), "", "example 0 is not finite in float32"),
  (arrays(x=X.astype(str)), "", "inputs are numbers"),
  (arrays(), "leave_out=('a',)", "leave_out is for tables"),
  (arrays(), "label=('a', 'b')", "several names of labels are for tables"),
  (arrays(), "positive_weight=2", "positive_weight=2 is for labels of yes and no"),
  (table(cell(3, 3, "x")), "", "column 'label_0', line 5, has 'x'; a label of"),
  (table(cell(3, 3, "1_0")), "", "has '1_0'"),
  (table(cell(3, 3, "inf")), "", "has 'inf'"),
  (table(cell(3, 0, "")), "", "column 'a', line 5, is empty"),
  (table(column(3, "")), "", "no training example has a vector that is known"),
  (table(head=[*HEAD[:3], "label", "d"]), "", "one number, which has no direction"),
  (table(head=[*HEAD[:4], "label_0"]), "", "two columns are called 'label_0'"),
  (table(lambda rows: []), "", "has no row"),
  (table(lambda rows: rows[:3]), "", "class 'all examples', which has 3"),
  (table(lambda rows: [row[3:] for row in rows], HEAD[3:]), "", "has no column besides"),
  (table(), "label=('label_0', 'label_7')", "has no column 'label_7', but"),
  (table(), "label=('label_0', 'label_0')", "names 'label_0' twice"),
  (table(), "label='label_7'", "has no column 'label_7', but"),
]  # fmt: skip
VECTORS = "it has no vectors to train a teacher on: --teacher_from=DIR"
# What makes the file, the flags besides --task=embedding, and what is said.
FLAGS = [
  (PLAIN, "--task=embedding(0)", "size= takes a whole number >= 1; got 0"),
  (PLAIN, "--task=embedding(64)", "reads vectors (B, 64), the batch's are"),
  (PLAIN, "--task=embedding(size='a')", "size= takes a whole number >= 1"),
  (PLAIN, "--task=embeding", "did you mean 'embedding'"),
  (PLAIN, "--task=embedding(width=4)", "there is no argument 'width'"),
  (BARE, "--task=embedding", "has no vectors; say how many numbers"),
  (BARE, "--task=embedding(8)", VECTORS),
  (BARE, "--task=embedding(8) --teacher_cache=nowhere", "a cached teacher has none"),
  (BARE, "--task=embedding(8) --teacher_from=nowhere", "nowhere"),
  (BARE, "--task=regression", "it has x; give x and y"),
  (PLAIN, "--distillation=kd:1", "reads categories and binary; methods that fit are"),
  (PLAIN, "--distillation=dkd", "methods that fit are"),
  (PLAIN, "--distillation=cosin", "did you mean 'cosine'"),
  (PLAIN, "--distillation=cosine(temperature=2)", "no argument 'temperature'"),
  (PLAIN, "--distillation=seed(queue=0)", "queue must be a whole number >= 1"),
  (PLAIN, "--distillation=seed(queue=0.5)", "queue must be a whole number >= 1"),
  (PLAIN, "--distillation=seed(temperature=0)", "temperature"),
  (PLAIN, "--distillation=seed(teacher_temperature=-1)", "teacher_temperature"),
  (PLAIN, "--distillation=rkd(student_tap='nowhere')", "nowhere"),
  (PLAIN, "--labels=10", "--labels=10: it is for tasks whose answers are categories"),
  (PLAIN, "--omit_classes=1", "--omit_classes=1: it is for tasks"),
  (PLAIN, "--specialists=2", "--specialists=2: it is for tasks"),
  (PLAIN, "--shuffled_teacher", "it is for tasks whose answers are categories"),
  (PLAIN, "--transfer_dataset=noise_images", "it is for tasks"),
]  # fmt: skip


@pytest.mark.parametrize(
  ("make", "settings", "says"), FILES, ids=[says for *_, says in FILES]
)
def test_files(tmp_path, capsys, make, settings, says):
  path = make(tmp_path)
  name = named(path, settings)
  flags = f"--dataset={name}", "--task=embedding"
  assert says in refused(capsys, tmp_path, *flags)


@pytest.mark.parametrize(
  ("make", "flags", "says"), FLAGS, ids=[flags for _, flags, _ in FLAGS]
)
def test_flags(tmp_path, capsys, make, flags, says):
  flags = [f"--{one}" for one in flags[2:].split(" --")]
  if not flags[0].startswith("--task"):
    flags = ["--task=embedding", *flags]
  path = make(tmp_path)
  known = f"--dataset={path}", "--batch_size=8"
  assert says in refused(capsys, tmp_path, *known, *flags)
