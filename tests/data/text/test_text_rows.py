"""Rows out of files of text, with their places; what is refused of them."""

import json

import pytest

from kdjax.core.errors import UserError
from kdjax.data.text import (
  Row,
  count_duplicates,
  divide_rows,
  divide_rows_in_three,
  read_rows,
)


def write(folder, files):
  """Files by name; what is no bytes is written as lines of JSON."""
  for name, content in files.items():
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if not isinstance(content, bytes):
      content = "\n".join(map(json.dumps, content)).encode()
    path.write_bytes(content)


def read(folder, pattern="*"):
  rows = read_rows(str(folder / pattern))
  return [
    (dict(row.values), row.place.removeprefix(f"{folder}/")) for row in rows
  ]


@pytest.mark.parametrize(
  ("files", "rows"),
  [
    (
      {"b.txt": b"two", "a.txt": "\ufeffé one\r\n".encode()},
      [({"text": "é one\r\n"}, "a.txt"), ({"text": "two"}, "b.txt")],
    ),
    # Lines that divide a file; what is between two of them may be nothing.
    (
      {
        "a.txt": b"one\n\n\nstill\n<|endoftext|>\n \n\x0c\r\nthree <|endoftext|>"
      },
      [
        ({"text": "one\n\n\nstill\n"}, "a.txt, document 1"),
        ({"text": "three <|endoftext|>"}, "a.txt, document 3"),
      ],
    ),
    (
      {"a.jsonl": b'\n{"text": "\\u2028 a"}\n\n{"text": "b", "id": null}\n'},
      [
        ({"text": "\u2028 a"}, "a.jsonl, line 2"),
        ({"text": "b"}, "a.jsonl, line 4"),
      ],
    ),
    # What only Python takes for the end of a line is a part of it.
    (
      {"a.jsonl": '{"text": "a\u2028b\x85c"}'.encode()},
      [({"text": "a\u2028b\x85c"}, "a.jsonl, line 1")],
    ),
    # Spaces around a completion are a part of it.
    (
      {"a.csv": b'prompt,completion\n2+2=," 4"\n"a\nb",c\n'},
      [
        ({"prompt": "2+2=", "completion": " 4"}, "a.csv, line 2"),
        ({"prompt": "a\nb", "completion": "c"}, "a.csv, line 4"),
      ],
    ),
    (
      {"a.TSV": b"text\tsplit\n1\ttest\n"},
      [({"text": "1", "split": "test"}, "a.TSV, line 2")],
    ),
  ],
)
def test_reads(tmp_path, files, rows):
  write(tmp_path, files)
  assert read(tmp_path) == rows


def test_reads_parquet_with_messages(tmp_path):
  pytest.importorskip("pyarrow")
  import pyarrow
  from pyarrow import parquet

  chats = [
    [{"role": "user", "content": " q"}, {"role": "assistant", "content": "a"}],
    [{"role": "user", "content": "r"}],
  ]
  chats[0][1]["weight"] = 0
  parquet.write_table(
    pyarrow.table({"messages": chats}), tmp_path / "a.parquet"
  )
  assert read(tmp_path) == [
    ({"messages": chats[0]}, "a.parquet, row 1"),
    ({"messages": chats[1]}, "a.parquet, row 2"),
  ]


def test_patterns_and_folders(tmp_path):
  files = {"a.txt": b"a", "in/b.txt": b"b", "in/c.jsonl": [{"text": "c"}]}
  write(tmp_path, files | {"in/d.png": b"\x89"})
  places = lambda rows: [row.place for row in rows]  # noqa: E731
  both = [str(tmp_path / "**" / "*.txt"), tmp_path / "a.txt"]
  assert places(read_rows(both)) == [
    str(tmp_path / "a.txt"),
    str(tmp_path / "in/b.txt"),
  ]
  assert places(read_rows(tmp_path / "in")) == [
    str(tmp_path / "in/b.txt"),
    f"{tmp_path / 'in/c.jsonl'}, line 1",
  ]
  write(tmp_path, {"[x].txt": b"x"})
  assert places(read_rows(str(tmp_path / "[x].txt"))) == [
    str(tmp_path / "[x].txt")
  ]


@pytest.mark.parametrize(
  ("files", "pattern", "said"),
  [
    (
      {"novel.txt": b"a"},
      "novels.txt",
      "no such file; did you mean .*novel.txt",
    ),
    ({}, "*.txt", "no such file"),
    ({"in/x.png": b""}, "in", "folder has no file of text"),
    ({"a.doc": b"a"}, "a.doc", "ends in '.doc' is not read; possible: .txt"),
    ({"a": b"a"}, "a", "ends in 'no suffix' is not read"),
    ({"a.txt": b" \n"}, "a.txt", "there is no row in .*a.txt"),
    ({"a.txt": b"a\nb\xff"}, "a.txt", "a.txt, line 2, is not UTF-8"),
    ({"a.jsonl": b'{"text": "\xe9"}'}, "a.jsonl", "line 1, is not UTF-8"),
    ({"a.jsonl": b'{"text": 1}\n{'}, "a.jsonl", "a.jsonl, line 2, is no JSON"),
    ({"a.jsonl": b"[" * 100_000}, "a.jsonl", "line 1, is no JSON"),
    (
      {"a.jsonl": b'\n["a"]'},
      "a.jsonl",
      "line 2, is a list; it must be an obj",
    ),
    ({"a.csv": b"text,id\na\n"}, "a.csv", "line 2 has 1 cell"),
    ({"a.csv": b"text,text\na,b\n"}, "a.csv", "two columns are called 'text'"),
    ({"a.csv": b""}, "a.csv", "there is no row"),
    ({"a.parquet": b"no"}, "a.parquet", "a.parquet cannot be read"),
  ],
)
def test_files_that_are_refused(tmp_path, files, pattern, said):
  if pattern.endswith("parquet"):
    pytest.importorskip("pyarrow")
  write(tmp_path, files)
  with pytest.raises(UserError, match=said) as caught:
    read_rows(str(tmp_path / pattern))
  assert "\n" not in str(caught.value)


def rows_of(*texts, **more):
  return [Row({"text": text} | more, text) for text in texts]


def test_equal_documents_are_on_one_side_and_stay_there():
  rows = rows_of(*(str(number // 2) for number in range(200)))
  train, test = divide_rows(rows, 0.2)
  assert len(train) + len(test) == 200 and 20 <= len(test) <= 60
  assert not count_duplicates(test, train)
  assert count_duplicates(test) == len(test) // 2
  more, held = divide_rows([*rows_of("a", "b", "c"), *rows], 0.2)
  assert all(row in held for row in test) and all(row in more for row in train)
  # What is said about a row does not move it.
  named = [Row(row.values | {"id": 3}, row.place) for row in rows]
  assert [row.place for row in divide_rows(named, 0.2)[1]] == [
    row.place for row in test
  ]


@pytest.mark.parametrize("held_out", [0.001, 0.5, 0.999])
def test_neither_side_is_empty(held_out):
  train, test = divide_rows(rows_of("a", "b", "c"), held_out)
  assert train and test and len(train) + len(test) == 3


def test_rows_that_say_their_split():
  rows = rows_of("a", "b", split="train") + rows_of("c", split="test")
  train, test = divide_rows(rows)
  assert [row.place for row in train] == ["a", "b"]
  assert [row.place for row in test] == ["c"]


@pytest.mark.parametrize("held_out", [0.01, 0.1, 0.49])
@pytest.mark.parametrize("count", [3, 4, 60])
def test_three_parts_of_documents(count, held_out):
  rows = rows_of(*map(str, range(count)))
  parts = divide_rows_in_three([*rows, *rows[:2]], held_out)
  said = [{row.values["text"] for row in part} for part in parts]
  assert all(said) and sum(map(len, said)) == count
  # The documents to measure on are those of a division in two.
  if count == 60:
    two = {row.values["text"] for row in divide_rows(rows, held_out)[1]}
    assert two == said[2] and len(said[1]) == pytest.approx(
      max(1, held_out * count), abs=6
    )


def test_rows_say_their_part_of_three():
  names = ["train", "validation", "test", "train"]
  rows = [
    Row({"text": str(i), "split": name}, str(i)) for i, name in enumerate(names)
  ]
  parts = divide_rows_in_three(rows)
  assert [[row.place for row in part] for part in parts] == [
    ["0", "3"], ["1"], ["2"],
  ]  # fmt: skip
  # Where none is named, what is chosen by comes out of the training's.
  train, chosen, test = divide_rows_in_three([rows[0], *rows[2:]])
  assert sorted(row.place for row in train + chosen) == ["0", "3"] and test == [
    rows[2]
  ]
  with pytest.raises(UserError, match="has no `split`"):
    divide_rows_in_three([*rows, *rows_of("a")])


@pytest.mark.parametrize(
  ("rows", "held_out", "said"),
  [
    (rows_of("a"), 0.1, "1 document, .*divided by document|1 document, no two"),
    (rows_of("a", "a "), 0.1, "2 documents, no two of which differ"),
    (rows_of("a", "b"), 0, r"in \(0, 1\), got 0"),
    (rows_of("a", "b"), 1.0, r"in \(0, 1\), got 1"),
    (rows_of("a", split="test"), 0.1, "no row is train"),
    (rows_of("a", split="val"), 0.1, "a: `split` is 'val'"),
    (rows_of("a", split="test") + rows_of("b"), 0.1, "b, has no `split`"),
  ],
)
def test_divisions_that_are_refused(rows, held_out, said):
  with pytest.raises(UserError, match=said):
    divide_rows(rows, held_out)


def test_duplicates_are_told_by_what_is_said():
  chat = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
  ]
  weighed = [chat[0], chat[1] | {"weight": 0}]
  rows = [
    Row({"messages": chat}, ""),
    Row({"messages": weighed}, ""),
    Row({"prompt": "q", "completion": "a"}, ""),
    Row({"completion": "a", "prompt": "q ", "id": 1}, ""),
    Row({"prompt": "qa", "completion": ""}, ""),
    Row({"text": "qa"}, ""),
  ]
  assert count_duplicates(rows) == 2
  assert count_duplicates(rows[4:], rows[:4]) == 0
  assert count_duplicates(rows[:3], rows[3:]) == 1
