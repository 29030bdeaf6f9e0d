"""Vectors of texts without labels are learned, and a classifier begins with them."""

import json

import jax
import numpy as np
import pytest
from small_texts import encoder, reviews, words, write_table

import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.data import Dataset, Split
from kdjax.models.pretrained import load
from kdjax.runner.pipeline import pretrained
from kdjax.tasks import embedding

TOKENS = np.array([[2, 5, 11, 3, 0, 0], [2, 9, 12, 13, 14, 3]], np.int32)
MASK = TOKENS != 0
FLAGS = (
  "--student=bert(width=8, depth=1, heads=2, mlp=16, dropout=0.0)",
  "--batch_size=16", "--epochs=1", "--seeds=2", "--nocontrols", "--nolatency",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("general")
  encoder(folder / "body")
  rows = reviews(48)
  write_table(folder / "texts.csv", [row[:1] for row in rows], ("text",))
  write_table(folder / "reviews.csv", rows)
  return folder


def test_a_body_answers_with_its_own_vectors(folder):
  inputs = {"tokens": TOKENS, "mask": MASK}
  split = Split(inputs, np.full((2, 16), np.nan, np.float32))
  shapes = dict.fromkeys(inputs, (6,))
  dataset = Dataset(
    "texts", 16, tuple(map(str, range(16))), shapes, split, split,
    task=embedding(16), tokenizer=words(),
  )  # fmt: skip
  found = pretrained.find(str(folder / "body"), "auto", dataset, 0.0)
  module = found.model.make(classes=16)
  vectors = module.apply(found.load(), TOKENS, mask=MASK)
  body = load(folder / "body")
  expected, *_ = body.network.apply(body.variables, inputs)
  np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (
      "--task=embedding(10)",
      "its vectors have 16 numbers, .*--task='embedding(16)'",
    ),
    ("--task=embedding", "say how many numbers an embedding has"),
  ],
)
def test_misfits_are_one_line(folder, tmp_path, capsys, words, message):
  call = [
    f"--dataset={folder / 'texts.csv'}",
    f"--teacher_from={folder / 'body'}",
  ]
  workdir = tmp_path / "run"
  status = launch.main(["launch.py", *call, words, f"--workdir={workdir}"])
  error = capsys.readouterr().err
  message, _, advice = message.partition(".*")
  assert status == 2 and message in error and advice in error
  assert len(error.strip().splitlines()) <= 3 and not workdir.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_runs")
def test_the_second_stage_begins_with_the_first(folder, tmp_path):
  general, task = tmp_path / "general", tmp_path / "task"
  body = f"--teacher_from={folder / 'body'}"
  call = (
    f"--dataset={folder / 'texts.csv'}", body, "--task=embedding(16)",
    "--distillation=cosine:1 + minilmv2(relation_heads=2):1",
    f"--workdir={general}",
  )  # fmt: skip
  assert launch.main(["launch.py", *call, *FLAGS]) == 0
  results = json.loads((general / "results.json").read_text())
  assert results["task"] == "embedding" and results["teacher"]["test_cosine"]
  call = (
    f"--dataset={folder / 'reviews.csv'}", body, "--teacher_head=tuned",
    "--teacher_epochs=1", f"--student_from={general}", "--learning_rate=1e-12",
    "--optimizer=adam", f"--workdir={task}",
  )  # fmt: skip
  assert launch.main(["launch.py", *call, *FLAGS]) == 0
  first, begun = (
    load_variables(one / "student", read_note(one / "student"))["params"]
    for one in (general, task)
  )
  assert begun["head"]["kernel"].shape == (2, 8, 2)
  for name in ("stem", "stage_0"):
    for x, y in zip(
      jax.tree.leaves(first[name]), jax.tree.leaves(begun[name]), strict=True
    ):
      np.testing.assert_allclose(y, np.stack([x[0], x[0]]), atol=1e-6)
