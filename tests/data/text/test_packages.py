"""Texts of installed packages, of which small ones are made here."""

import json
import struct
import sys
import zlib

import pytest

from kdjax.core.errors import StorageError, UserError
from kdjax.data.text import packages, read_rows


def r_texts(*lines, version=3, kind=16, item=9):
  """A vector of texts as R's `saveRDS` writes it, and a package stores it."""
  head = struct.pack(">iii", version, 0x040202, 0x030500)
  head += struct.pack(">i5s", 5, b"UTF-8") if version == 3 else b""
  body = struct.pack(">ii", kind, len(lines))
  for line in lines:
    data = b"" if line is None else line.encode()
    size = -1 if line is None else len(data)
    body += struct.pack(">ii", item | 0x8000, size) + data
  content = b"X\n" + head + body
  return struct.pack(">i", len(content)) + zlib.compress(content)


def test_reads_texts_of_r(tmp_path):
  path = tmp_path / "Rdata.rdb"
  path.write_bytes(
    r_texts("Émma", "", "by her")
    + r_texts("a", kind=13)  # numbers
    + r_texts("old", None, version=2)
    + r_texts()
  )
  rows = read_rows(path)
  assert [row.values["text"] for row in rows] == ["Émma\n\nby her\n", "old\n\n"]
  assert rows[1].place == f"{path}, document 2"


@pytest.mark.parametrize(
  "data", [b"no R here", r_texts("a" * 99)[:-9], r_texts("a") + b"\0"]
)
def test_damaged_files_of_r_are_refused(tmp_path, data):
  path = tmp_path / "Rdata.rdb"
  path.write_bytes(data)
  with pytest.raises(StorageError, match="damaged or no file of R"):
    read_rows(path)


def test_reads_what_words_mean(tmp_path, monkeypatch):
  heads = {
    "noun": 'dog 0 frump 1 001 @ 1 n 0000 | an animal; "the dog; barked"  \n',
    "verb": "give_up 0 000 | stop; let go  \n",
    "adj": "born(p) 0 000 | brought into life  \n",
    "adv": "well 0 000 | in a good way  \n",
  }
  for (name, line), kind in zip(heads.items(), "nvsr", strict=True):
    text = f"  1 This is the licence | of it\n00001740 03 {kind} 01 {line}"
    (tmp_path / f"data.{name}").write_text(text)
  monkeypatch.setattr(packages, "_WORDNET", (str(tmp_path),))
  rows = read_rows("package:wordnet")
  assert [(row.values["prompt"], row.values["completion"]) for row in rows] == [
    ('Define the noun "dog":', " an animal"),
    ('Define the verb "give up":', " stop; let go"),
    ('Define the adjective "born":', " brought into life"),
    ('Define the adverb "well":', " in a good way"),
  ]
  assert rows[0].place.endswith("data.noun, line 2")


def test_reads_questions_and_answers(tmp_path, monkeypatch):
  folder = tmp_path / "evals" / "registry" / "data" / "sums"
  folder.mkdir(parents=True)
  (tmp_path / "evals" / "__init__.py").touch()
  asked = [{"role": "user", "content": "1+1"}]
  rows = [
    {"input": asked, "ideal": "2"},
    {"input": "1+2", "ideal": ["3", "three"]},
    {"input": asked, "ideal": []},
    {"input": asked},
  ]
  text = "\n".join(map(json.dumps, rows))
  (folder / "samples.jsonl").write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, "evals", raising=False)
  read = [row.values["messages"] for row in read_rows("package:evals/sums")]
  answers = [[x["content"] for x in messages] for messages in read]
  assert answers == [["1+1", "2"], ["1+2", "3"]]
  with pytest.raises(UserError, match="'sum'; did you mean 'sums'"):
    read_rows("package:evals/sum")


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("novel", "unknown package of text 'novel'; did you mean 'novels'"),
    ("novels", "not installed; run: apt-get install r-cran-janeaustenr"),
    ("wordnet", "not installed; run: apt-get install wordnet-base"),
    ("evals/x", "not installed; run: pip install --no-deps evals"),
  ],
)
def test_packages_that_are_not_there(name, said, monkeypatch):
  monkeypatch.setattr(packages, "_NOVELS", "/nowhere")
  monkeypatch.setattr(packages, "_WORDNET", ("/nowhere",))
  monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=said):
    read_rows(f"package:{name}")
