"""Hidden tokens through the commands, and a classifier that begins with them."""

import json

import jax
import numpy as np
import pytest
from job_contract import check_results, run_killed_at_the_end
from small_texts import add_masked_head, encoder, reviews, write_table

import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.core.task import batch_of
from kdjax.tasks import masked_language_model

BODY = "width=8, depth=1, heads=2, mlp=16, dropout=0.0"
STUDENT = f"--student=masked_bert({BODY})"
TASK = "--task=masked_language_model(rate=0.4)"
SIZES = ("--batch_size=16", "--epochs=2", "--seeds=2", "--nocontrols")
DISTILBERT = (
  "--distillation=kd(temperature=2):5 + ce:2"
  " + cosine(student_tap='stage_0', teacher_tap='stage_2'):1"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("hidden")
  encoder(folder / "body")
  encoder(folder / "bert")
  add_masked_head(folder / "bert")
  rows = reviews(64)
  write_table(folder / "texts.csv", [row[:1] for row in rows], ("text",))
  write_table(folder / "reviews.csv", rows)
  return folder


def texts(folder, *flags, teacher="bert"):
  return (f"--dataset={folder / 'texts.csv'}",
          f"--teacher_from={folder / teacher}", TASK, *flags)  # fmt: skip


def test_another_draw_hides_other_tokens_of_the_same_texts():
  task = masked_language_model(20, mask_token=4, special=(0, 4), rate=0.4)
  tokens = np.random.default_rng(0).integers(5, 20, (8, 10), np.int32)
  mask = np.arange(10) < np.arange(3, 11)[:, None]
  stored = {"tokens": np.where(mask, tokens, 0), "mask": mask}
  batch = task.batch(stored)
  inputs, targets = jax.jit(task.redraw)(
    jax.random.key(7), batch.inputs, batch.targets, batch.position
  )
  assert (inputs["tokens"] != batch.inputs["tokens"]).any()
  for shown, right in ((batch.inputs, batch.targets), (inputs, targets)):
    for row in range(8):
      known = right[row] >= 0
      places = np.asarray(shown["places"][row][known])
      np.testing.assert_array_equal(tokens[row][places], right[row][known])
      beside = np.setdiff1d(np.arange(row + 3), places)
      np.testing.assert_array_equal(
        np.asarray(shown["tokens"])[row][beside], tokens[row][beside]
      )
  assert (task.weights(batch_of(inputs, targets)).rows).sum() > 0


@pytest.mark.parametrize(
  ("flags", "says"),
  [
    (("--teacher_from={body}",), "no head that tells hidden tokens"),
    (("--teacher_from={bert}", "--student=bert(width=8)"), "places"),
    (("--teacher_from={bert}", "--omit_classes=3"), "a text has no class"),
    (("--teacher_from={bert}", "--shuffled_teacher"), "a text has no class"),
    (("cache", "--teacher_from={bert}"), "of which nothing can be stored"),
    (("--teacher_from={bert}", "--task=masked_language_model(rate=2)"),
     "rate must be in"),
  ],
)  # fmt: skip
def test_misfits_are_one_line(folder, tmp_path, capsys, flags, says):
  places = {name: folder / name for name in ("body", "bert")}
  flags = [flag.format(**places) for flag in flags]
  workdir = tmp_path / "run"
  call = [*flags, f"--dataset={folder / 'texts.csv'}", f"--workdir={workdir}"]
  call += [TASK] * (not any(flag.startswith("--task") for flag in flags))
  assert launch.main(["launch.py", *call]) == 2
  error = capsys.readouterr().err
  assert says in error and len(error.strip().splitlines()) == 1
  assert not workdir.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_runs")
def test_a_classifier_begins_with_a_network_of_hidden_tokens(
  folder, capsys, tmp_path
):
  general, task = tmp_path / "general", tmp_path / "task"
  call = texts(folder, STUDENT, DISTILBERT, *SIZES, "--nolatency")
  run_killed_at_the_end(capsys, *call, workdir=general)
  results = check_results(general, "distill")
  assert results["task"] == "masked_language_model"
  assert 0 <= results["teacher"]["test_accuracy"][0] <= 1
  assert len(results["student"]["agreement"]) == 2
  call = (
    f"--dataset={folder / 'reviews.csv'}", f"--teacher_from={folder / 'body'}",
    "--teacher_head=tuned", "--teacher_epochs=1", f"--student_from={general}",
    "--learning_rate=1e-12", "--optimizer=adam", f"--workdir={task}",
  )  # fmt: skip
  assert launch.main(["launch.py", *call, *SIZES]) == 0
  results = json.loads((task / "results.json").read_text())
  assert results["student"]["model"].startswith("bert(")
  first, begun = (
    load_variables(one / "student", read_note(one / "student"))["params"]
    for one in (general, task)
  )
  for name in ("stem", "stage_0"):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(y, [x[0], x[0]], atol=1e-6),
      first[name], begun[name],
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("quick_runs")
def test_students_are_cut_out_of_their_teacher(folder, tmp_path):
  call = texts(folder, "--student=layers(2)", "--distillation=kd", *SIZES)
  workdir = tmp_path / "run"
  assert launch.main(["launch.py", *call, f"--workdir={workdir}"]) == 0
  results = check_results(workdir, "distill")
  assert results["student"]["model"].startswith("masked_bert(")
