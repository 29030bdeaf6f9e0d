"""Tables, lists of images and arrays as data sets; what is refused of them."""

import csv
import sys

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError

ROWS = [[number, 10.0 * (number % 2), "ab"[number % 2]] for number in range(40)]
HEAD = ["width", "height", "label"]


def write(path, rows, head=HEAD):
  """A table of any kind."""
  if path.suffix == ".parquet":
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow import parquet

    columns = zip(*rows, strict=True)
    table = pyarrow.table(dict(zip(head, map(list, columns), strict=True)))
    parquet.write_table(table, path)
    return str(path)
  with open(path, "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
    writer.writerows([head, *rows])
  return str(path)


def inputs(split):
  return split.images[:, 0, :, 0]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "CSV"])
def test_reads_numbers_and_classes(tmp_path, suffix):
  dataset = data.load(write(tmp_path / f"table.{suffix}", ROWS))
  assert dataset.class_names == ("a", "b")
  assert dataset.image_shape == (1, 2, 1)
  assert len(dataset.train.labels) + len(dataset.test.labels) == 40
  assert set(dataset.test.labels) == {0, 1}
  np.testing.assert_allclose(inputs(dataset.train).mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(inputs(dataset.train).std(0), 1, rtol=1e-6)
  # Heights are 0 and 10: what is test was standardised by the same numbers.
  heights = np.unique(inputs(dataset.train)[:, 1])
  assert set(inputs(dataset.test)[:, 1]) == set(heights) and len(heights) == 2
  assert "standardised" in data.summary(dataset)
  assert data.licence(dataset.name) is None


def test_files_of_all_kinds_are_one_data_set(tmp_path):
  kinds = ("csv", "tsv", "parquet")
  opened = [data.load(write(tmp_path / f"t.{kind}", ROWS)) for kind in kinds]
  assert len({data.fingerprint(dataset.train) for dataset in opened}) == 1


def test_settings_name_columns(tmp_path):
  rows = [[number, *row] for number, row in enumerate(ROWS)]
  path = write(tmp_path / "t.csv", rows, ["id", "width", "height", "kind"])
  name = (
    f"table(path={path!r}, label='kind', leave_out='id', standardise=False)"
  )
  dataset = data.load(name)
  assert dataset.name == name
  seen = np.concatenate([inputs(dataset.train), inputs(dataset.test)])
  assert sorted(seen[:, 0].tolist()) == [*range(40)]


@pytest.mark.parametrize(
  ("labels", "names"),
  [
    ([9, 10], ("9", "10")),
    ([-1, 3], ("-1", "3")),
    (["1.0", "0.0"], ("0", "1")),
    (["yes", "no"], ("no", "yes")),
    (["1", "one"], ("1", "one")),
    (["1_0", "10"], ("10", "1_0")),
    (["١", "1"], ("1", "١")),
  ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_classes(tmp_path, suffix, labels, names):
  rows = [[number, labels[number % 2]] for number in range(20)]
  path = tmp_path / f"t.{suffix}"
  if suffix == "parquet":
    rows = [[x, str(label)] for x, label in rows]
  dataset = data.load(write(path, rows, ["x", "label"]))
  assert dataset.class_names == names
  assert sorted(
    dataset.train.labels.tolist() + dataset.test.labels.tolist()
  ) == ([0] * 10 + [1] * 10)


def test_numbers_are_written_in_digits(tmp_path):
  texts = ["1", " 2 ", "+3.", ".5", "-1e3", "1E-2"] * 5
  rows = [[text, "ab"[n % 2]] for n, text in enumerate(texts)]
  path = write(tmp_path / "t.csv", rows, ["x", "label"])
  dataset = data.load(f"table({path!r}, standardise=False)")
  seen = np.concatenate([inputs(dataset.train), inputs(dataset.test)])
  wanted = np.float32([-1000, 0.01, 0.5, 1, 2, 3])
  np.testing.assert_array_equal(np.unique(seen), wanted)


def test_a_column_divides_the_rows(tmp_path):
  rows = [[*row, "test" if row[0] < 5 else "train"] for row in ROWS]
  path = write(tmp_path / "t.csv", rows, [*HEAD, "split"])
  dataset = data.load(f"table({path!r}, standardise=False)")
  assert inputs(dataset.test)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_column_that_is_left_out_divides_nothing(tmp_path):
  rows = [[*row, "left" if row[0] < 5 else "right"] for row in ROWS]
  path = write(tmp_path / "t.csv", rows, [*HEAD, "split"])
  dataset = data.load(f"table({path!r}, leave_out='split')")
  assert len(dataset.test.labels) > 0 and dataset.image_shape == (1, 2, 1)


@pytest.mark.parametrize(
  ("leave_out", "message"),
  [
    ("('label',)", "column 'label' has the classes, and leave_out="),
    ("'id'", "no column 'id', but height, label, width"),
  ],
)
def test_what_cannot_be_left_out_is_told(tmp_path, leave_out, message):
  path = write(tmp_path / "t.csv", ROWS)
  with pytest.raises(UserError, match=message):
    data.load(f"table({path!r}, leave_out={leave_out})")


def test_rows_stay_on_their_side_and_equal_ones_together(tmp_path):
  def tested(rows):
    path = write(tmp_path / "t.csv", rows)
    dataset = data.load(f"table({path!r}, standardise=False)")
    return {x for x, _ in inputs(dataset.test)}, len(dataset.test.labels)

  few, count = tested(ROWS)
  more, _ = tested([*ROWS, [100, 0, "a"], [101, 10, "b"]])
  assert few <= more
  assert tested(ROWS + ROWS) == (few, 2 * count)


def test_a_constant_column_stays_finite(tmp_path):
  rows = [[x, 0.1, label] for x, _, label in ROWS]
  dataset = data.load(write(tmp_path / "t.csv", rows))
  np.testing.assert_allclose(inputs(dataset.train)[:, 1], 0, atol=1e-6)


def images(folder, count=12):
  from PIL import Image

  (folder / "in").mkdir(exist_ok=True)
  for number in range(count):
    array = np.full((4, 6, 3), number, np.uint8)
    Image.fromarray(array).save(folder / "in" / f"{number}.png")
  return [[f"in/{n}.png", ["dog", "cat"][n % 2]] for n in range(count)]


@pytest.mark.parametrize("column", ["image", "path"])
def test_reads_a_list_of_images(tmp_path, column):
  rows = images(tmp_path)
  path = write(tmp_path / "list.csv", rows, [column, "label"])
  dataset = data.load(path, image_size=4)
  assert dataset.class_names == ("cat", "dog")
  assert dataset.image_shape == (4, 4, 3)
  assert len(dataset.train.labels) + len(dataset.test.labels) == 12
  for split in (dataset.train, dataset.test):
    numbers = split.images[:, 0, 0, 0]
    assert (split.labels == (numbers % 2 == 0)).all()
  streamed = data.load(path, image_size=4, resident_bytes=0)
  assert not data.resident(streamed.train)


def test_a_list_divides_images_as_it_says(tmp_path):
  rows = [[*row, "train"] for row in images(tmp_path)]
  rows[3][-1] = "test"
  rows[3][0] = str(tmp_path / rows[3][0])
  path = write(tmp_path / "list.tsv", rows, ["image", "label", "split"])
  assert data.load(path).test.images[0, 0, 0, 0] == 3


X = np.arange(40, dtype=np.float64).reshape(20, 2)
Y = np.arange(20) % 2
PIXELS = np.arange(20 * 16, dtype=np.int64).reshape(20, 4, 4).astype(np.uint8)


@pytest.mark.parametrize(
  ("arrays", "shape", "count"),
  [
    ({"x": X, "y": Y}, (1, 2, 1), 20),
    ({"image": PIXELS, "label": Y}, (4, 4, 1), 20),
    ({"images": X.astype(np.int32), "labels": Y[:, None]}, (1, 2, 1), 20),
    ({"x": X, "y": np.array(["no", "yes"])[Y]}, (1, 2, 1), 20),
    (
      {"x_train": PIXELS, "y_train": Y, "x_test": PIXELS[:3], "y_test": Y[:3]},
      (4, 4, 1),
      23,
    ),
    (
      {"train_images": PIXELS, "train_labels": Y[:, None], "val_images": X,
       "test_images": PIXELS[:2], "test_labels": Y[:2, None]},
      (4, 4, 1),
      22,
    ),
  ],
)  # fmt: skip
def test_reads_arrays(tmp_path, arrays, shape, count):
  np.savez(tmp_path / "a.npz", **arrays)
  dataset = data.load(str(tmp_path / "a.npz"))
  assert dataset.image_shape == shape and dataset.classes == 2
  assert len(dataset.train.labels) + len(dataset.test.labels) == count


def csv_of(text):
  return lambda folder: (folder / "t.csv").write_bytes(text.encode("utf-8"))


def rows_of(rows, head=HEAD, name="t.csv"):
  return lambda folder: write(folder / name, rows, head)


def npz_of(**arrays):
  return lambda folder: np.savez(folder / "t.npz", **arrays)


def listed(change, head=("image", "label")):
  def make(folder):
    rows = images(folder)
    change(rows)
    write(folder / "t.csv", rows, head)

  return make


LIST = ["image", "label", "size"]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda folder: None, "there is no such file"),
    (csv_of(""), "has no row below its line of names"),
    (csv_of("x,label\n"), "has no row below its line of names"),
    (csv_of("x,x,label\n1,2,a\n"), "two columns are called 'x'"),
    (csv_of(",x,label\n1,2,a\n"), "column 1 has no name"),
    (csv_of("x,label\n1,a\n1\n"), "line 3 has 1 cell, the line of names 2"),
    (csv_of('x,label\n"1,a\n'), "cannot be read: Error"),
    (csv_of("x,label\n1,a\n\n,b\n"), "'x', line 4, is empty; leave the row"),
    (csv_of("x,label\nnan,a\n2,b\n"), "line 2, has nan, which is no finite"),
    (csv_of("x,label\n1e99,a\n2,b\n"), "has 1e99, which is no finite number of"),
    (csv_of("x,label\n1,a\nParis,b\n"), "line 3, has 'Paris', which is no num"),
    *(
      (csv_of(f"x,label\n1,a\n{text},b\n"), f"'x', line 3, has '{text}', which is")
      for text in ("1_000", "0x10", "١", "1;5", "1e", "1 0")
    ),
    (csv_of("x,label\n1,a\n2,\n"), "column 'label', line 3, is empty"),
    (csv_of("x,label\n1,0.5\n2,1\n"), "a label is 0.5; classes are whole"),
    (csv_of("x,label\n1,nan\n2,1\n"), "a label is nan; classes are whole"),
    (csv_of("x,y\n1,2\n"), r"no column 'label', but x, y: table\(path='FILE', l"),
    (csv_of("label\na\n"), "has no column besides label, split"),
    (csv_of("x;label\n1;a\n"), "no column 'label', but x;label"),
    (rows_of(ROWS[:8]), "no test example of class 'a', which has 4 examples"),
    (
      rows_of([[1, "a", "val"]], ["x", "label", "split"]),
      "column 'split', line 2, has 'val'; it must be train or test",
    ),
    (rows_of([[1, "a", "train"]], ["x", "label", "split"]), "no example is test"),
    (
      rows_of([[1, "a", "train"], [1, "b", "test"]], ["x", "label", "split"]),
      "class 'b' is in test but not in train",
    ),
    (
      lambda folder: (folder / "t.csv").write_bytes(b"x,label\n\xff,a\n"),
      "cannot be read: UnicodeDecodeError",
    ),
    (
      lambda folder: (folder / "t.parquet").write_bytes(b"1,2"),
      "cannot be read: Arrow",
    ),
    (
      rows_of([[1.0, "a"], [None, "b"]], ["x", "label"], "t.parquet"),
      "column 'x', row 2, is empty",
    ),
    (
      rows_of([["b", "a"], [None, "b"]], ["x", "label"], "t.parquet"),
      "column 'x', row 1, has 'b', which is no number",
    ),
    (
      rows_of([[1, 2.5], [2, 2.5]], ["x", "label"], "t.parquet"),
      "a label is 2.5; classes are whole numbers or names, and --task=regression",
    ),
    (
      listed(lambda rows: rows[4].__setitem__(0, "in/x.png")),
      "column 'image', line 6: there is no file .*x.png",
    ),
    (
      listed(lambda rows: [row.append(1) for row in rows], LIST),
      "has the columns image, label and perhaps split, this one also size",
    ),
    (npz_of(x=X, z=Y), "it has x, z; give x and y, or x_train"),
    (npz_of(x_train=X, y_train=Y), "it has x_train, y_train; give"),
    (npz_of(x=X, y=Y[:3]), "20 inputs, but 3 labels"),
    (npz_of(x=X * np.nan, y=Y), "example 0 is not finite"),
    (npz_of(x=Y, y=Y), r"'x' has the shape \(20,\)"),
    (npz_of(x=X, y=X), "'y': example 1 has 2.0 for label 0; several labels"),
    (npz_of(x=PIXELS.astype(int), y=Y), "pixels are uint8, 0 to 255, or floats"),
    (npz_of(x=X, y=Y.astype(object)), "cannot be read: ValueError: Object arr"),
    (
      npz_of(x_train=X, y_train=Y, x_test=PIXELS, y_test=Y),
      "the inputs have the shapes",
    ),
    (
      lambda folder: (folder / "t.npz").write_bytes(b"1,2"),
      "cannot be read: ",
    ),
  ],
)  # fmt: skip
def test_refuses_in_one_line(tmp_path, make, message):
  make(tmp_path)
  files = [*tmp_path.glob("t.*")] or [tmp_path / "t.csv"]
  with pytest.raises(UserError, match=message) as error:
    data.load(str(files[0]))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"image_size": 8}, "--image_size: the inputs of .*t.csv have the size"),
    ({"train_split": "all"}, "--train_split and --test_split are for TFDS"),
    ({"masks": True}, "says of no object where it is"),
  ],
)
def test_refuses_what_tables_have_not(tmp_path, options, message):
  with pytest.raises(UserError, match=message):
    data.load(write(tmp_path / "t.csv", ROWS), **options)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
  (tmp_path / "t.parquet").write_bytes(b"")
  with pytest.raises(UserError, match="pip install pyarrow"):
    data.load(str(tmp_path / "t.parquet"))


def test_a_table_of_one_class_is_refused_by_runs(tmp_path):
  from kdjax.runner.config import Data
  from kdjax.runner.pipeline.dataset import open_stored

  path = write(
    tmp_path / "t.csv", [[number, "a"] for number in range(20)], ["x", "label"]
  )
  with pytest.raises(UserError, match="all of one class, 'a'"):
    open_stored(Data(dataset=path))
