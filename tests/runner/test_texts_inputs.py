"""Texts with labels: bad inputs end in one clear line before anything compiles."""

import json
import pathlib

import pytest
from small_texts import encoder, reviews, words, write_table

import launch
from kdjax.models.tokenizers import save_tokenizer

ROWS = [list(row) for row in reviews(40)]
HEAD = ("text", "label")
GOLDEN = pathlib.Path(__file__).parents[1] / "models/golden/language_models"


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
  """Folders of encoders, by name: what the flags below write in brackets."""
  folder = tmp_path_factory.mktemp("networks")
  encoder(folder / "body")
  encoder(folder / "fits", labels=("bad", "good"))
  encoder(folder / "three", labels=("bad", "good", "fine"))
  encoder(folder / "others", labels=("no", "yes"))
  encoder(folder / "other_tokens", tokenizer=words(("unlike",)))
  (folder / "tokens").mkdir()
  save_tokenizer(folder / "tokens", words())
  (folder / "empty").mkdir()
  (folder / "broken").mkdir()
  (folder / "broken" / "tokenizer.json").write_text("{")
  names = [one.name for one in folder.iterdir()]
  return {name: folder / name for name in names} | {"gpt2": GOLDEN / "gpt2"}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokens")
  save_tokenizer(folder, words())
  return folder


def table(change=None, head=HEAD, suffix=".csv"):
  """A table, the rows of which are changed."""

  def make(folder):
    rows = [list(row) for row in ROWS]
    rows = rows if change is None else change(rows)
    separator = "\t" if suffix == ".tsv" else ","
    return write_table(folder / f"t{suffix}", rows, head, separator)

  return make


def lines(*more, rows=20):
  """A file of a JSON object a line, with further lines behind them."""

  def make(folder):
    there = [
      json.dumps(dict(zip(HEAD, row, strict=True))) for row in ROWS[:rows]
    ]
    path = folder / "t.jsonl"
    path.write_text("\n".join([*there, *more]) + "\n", encoding="utf-8")
    return path

  return make


def cell(row, column, value):
  def change(rows):
    rows[row][column] = value
    return rows

  return change


def latin(folder):
  path = folder / "t.csv"
  path.write_bytes("text,label\ncafé,good\n".encode("latin-1"))
  return path


def split(of):
  return lambda rows: [[*row, of(i, row)] for i, row in enumerate(rows)]


WITH_SPLIT = (*HEAD, "split")
PAIR = ("text", "text_2", "label")
# What makes the file, and what is said.
FILES = [
  (table(head=("text", "sentiment")), "has no column 'label', but sentiment, text"),
  (table(head=("review", "label")), "column 'review', line 2, has"),
  (table(cell(3, 0, "")), "column 'text', line 5, is empty"),
  (table(cell(3, 0, "  ")), "column 'text', line 5, is empty"),
  (table(cell(3, 1, "")), "column 'label', line 5, is empty"),
  (table(lambda rows: [[*row, 7] for row in rows], (*HEAD, "id")),
   "this one also id: table(path='FILE', leave_out=('NAME',))"),
  (table(head=("text_2", "label")), "a column 'text_2' and none called 'text'"),
  (table(head=("text", "text")), "two columns are called 'text'"),
  (table(head=("text", "")), "column 2 has no name"),
  (table(lambda rows: [[row[0], "good"] for row in rows]), "all of one class, 'good'"),
  (table(lambda rows: [*rows, ["the film", "rare"]]), "class 'rare', which has 1"),
  (table(lambda rows: [[row[0], "0.5"] for row in rows]), "classes are whole numbers"),
  (table(split(lambda i, row: "dev"), WITH_SPLIT), "must be train or test"),
  (table(split(lambda i, row: "train"), WITH_SPLIT), "no example is test"),
  (table(split(lambda i, row: "test"), WITH_SPLIT), "no example is train"),
  (table(split(lambda i, row: "test" if row[1] == "good" else "train"), WITH_SPLIT),
   "class 'good' is in test but not in train"),
  (table(lambda rows: []), "has no row"),
  (table(lambda rows: [*rows, ["only a text"]]), "has 1 cell, the line of names 2"),
  (table(lambda rows: [[*row[:1], "", row[1]] for row in rows], PAIR),
   "column 'text_2', line 2, is empty"),
  (latin, "cannot be read"),
  (lines("not json"), "t.jsonl, line 21, is no JSON"),
  (lines("[1, 2]"), "line 21, is a list; it must be an object"),
  (lines('{"text": ["a", "b"], "label": "good"}'), "line 21, holds [\"a\", \"b\"]"),
  (lines('{"text": "a", "label": {"is": 1}}'), "holds {\"is\": 1}; it takes one value"),
  (lines('{"text": 5, "label": "good"}'), "line 21, has 5, which is no text"),
  (lines('{"label": "good"}'), "column 'text', line 21, is empty"),
  (lines('{"text": "fine"}'), "column 'label', line 21, is empty"),
  (lines(rows=0), "has no line"),
  (lambda folder: folder / "none.jsonl", "there is no such file"),
]  # fmt: skip

TEACHER = "--teacher_from={fits}"
# Flags beside a table that is right, and what is said.
FLAGS = [
  ("", "texts need a tokenizer, that of a trained teacher"),
  ("--tokenizer={empty}", "there is no tokenizer.json"),
  ("--tokenizer=nowhere", "there is no such file or folder"),
  ("--tokenizer={broken}", "tokenizer.json cannot be read"),
  ("--tokenizer=package:minilm", "did you mean 'minilm-l6'"),
  ("--teacher_from=nowhere", "there is no such file or folder"),
  ("--teacher_from={body}", "it has no classifier; --teacher_head=tuned trains"),
  ("--teacher_from={three}", "the teacher knows 3 classes, but the student"),
  ("--teacher_from={others}", "class 0 is 'no' for the teacher and 'bad' in the data"),
  ("--tokenizer={tokens} --teacher_from={gpt2}", "it is a decoder (gpt2)"),
  ("--tokenizer={tokens} --student_from={gpt2}", "it is a decoder (gpt2)"),
  (f"{TEACHER} --tokenizer={{other_tokens}}", "share one"),
  (f"{TEACHER} --student_from={{other_tokens}}", "another tokenizer (29 ids)"),
  (f"{TEACHER} --student_from={{empty}}", "it is no pretrained encoder of texts"),
  (f"{TEACHER} --student_from={{body}} --student=bert(width=16)",
   "each names the student"),
  (f"{TEACHER} --teacher=bert(width=32)", "leave --teacher out"),
  (f"{TEACHER} --teacher_head=tune", "did you mean 'tuned'"),
  ("--tokenizer={tokens} --teacher_head=tuned", "without --teacher_from"),
  (f"{TEACHER} --teacher_epochs=2", "with a teacher that is trained already"),
  (f"{TEACHER},{{fits}} --teacher_head=tuned", "names several"),
  (f"{TEACHER} --student=layers(4)", "there are 3 blocks"),
  (f"{TEACHER} --student=layers(0)", "must be a whole number"),
  (f"{TEACHER} --student=blocks([0,5])", "there is no block 5"),
  (f"{TEACHER} --student=width(mlp=0.5)", "parts of blocks are cut out of decoders"),
  ("--tokenizer={tokens} --student=layers(2)", "which is not named"),
  (f"{TEACHER} --student=layers(2) --scheme=mutual", "begin untrained"),
  (f"{TEACHER} --student=bert(vocabulary=5)", "has 5 tokens, the tokenizer 28"),
  (f"{TEACHER} --student=bert(width=10,heads=3)", "heads must divide the width"),
  (f"{TEACHER} --student=bert(wide=16)", "argument of bert 'wide'"),
  (f"{TEACHER} --student=bert(width=16,positions=4)", "T <= 4"),
  (f"{TEACHER} --student=modernbert(width=16,window=2)", "no setting 'window'"),
  (f"{TEACHER} --student=lenet", "LeNet"),
  (f"{TEACHER} --sequence_length=2", "nothing of the text is left"),
  (f"{TEACHER} --sequence_length=1", "--sequence_length=1"),
  (f"{TEACHER} --sequence_length=long", "--sequence_length=long"),
  (f"{TEACHER} --augment=flip", "views are of images, and the inputs"),
  (f"{TEACHER} --augment=mixup(0.2)", "views are of images, and the inputs"),
  (f"{TEACHER} --teacher_view=flip", "views are of images, and the inputs"),
  (f"{TEACHER} --crop_size=4", "it is for images, and the inputs"),
  (f"{TEACHER} --image_size=8", "have the size that they have"),
  (f"{TEACHER} --transfer_dataset=noise_images", "it is for images, and the inputs"),
  (f"{TEACHER} --train_split=x", "are for TFDS data sets"),
  (f"{TEACHER} --distillation=tiny_bert", "did you mean 'tinybert'"),
  (f"{TEACHER} --distillation=tinybert(student_tap='layer_*')", "layer_*"),
]  # fmt: skip
OTHER_COMMANDS = [
  ("quantify", "says of no object where it is"),
  ("synthesise", "this command is about images"),
  ("text more", "takes no further words"),
]


def said(capsys, command, dataset, flags=()):
  words = command.split()
  argv = ["launch.py", *words, f"--dataset={dataset}", *flags]
  assert launch.main(argv) == 2
  error = capsys.readouterr().err
  assert error.startswith("launch.py: ") and error.count("\n") == 1, error
  assert "Traceback" not in error
  return error


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("make", "message"), FILES)
def test_a_table_that_is_no_data_set_of_texts(
  make, message, tokens, capsys, tmp_path
):
  there = f"--tokenizer={tokens}"
  path = make(tmp_path)
  before = set(tmp_path.iterdir())
  assert message in said(capsys, "text", path, [there])
  assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "message"), FLAGS)
def test_flags_that_do_not_fit_texts(
  flags, message, networks, capsys, tmp_path
):
  flags = [one.format(**networks) for one in flags.split()]
  path = table()(tmp_path)
  assert message in said(capsys, "text", path, flags)
  assert set(tmp_path.iterdir()) == {path}


@pytest.mark.parametrize(("command", "message"), OTHER_COMMANDS)
def test_commands_that_are_not_about_texts(command, message, capsys, tmp_path):
  assert message in said(capsys, command, table()(tmp_path))
