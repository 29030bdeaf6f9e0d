"""Several yes/no labels through the commands, and by `kdjax.distill` alike."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from job_contract import check_results, run_killed_at_the_end

import kdjax
import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.models import make_model
from kdjax.train.batch import step_key

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]

LABELS = ("red", "round", "soft")
TEACHER = ("--teacher=mlp(16)", "--teacher_epochs=3", "--teacher_batch_size=32")
STUDENT = ("--student=mlp(4)", "--epochs=3", "--batch_size=32", "--seeds=2")
METHOD = "--distillation=binary_kd(temperature=2, positive_weight=3)"


@pytest.fixture
def films(tmp_path):
  """The flag of a table with three labels, some of them not known."""
  random = np.random.default_rng(0)
  inputs = random.normal(size=(160, 5))
  labels = (inputs @ random.normal(size=(5, 3)) > 0).astype(int)
  labels[random.random(labels.shape) < 0.1] = -1
  path = tmp_path / "films.csv"
  with open(path, "w", newline="", encoding="utf-8") as file:
    head = [*"abcde", *(f"label_{name}" for name in LABELS)]
    rows = [[*x, *y] for x, y in zip(inputs, labels, strict=True)]
    csv.writer(file).writerows([head, *rows])
  return f"--dataset={path}"


def test_several_labels_are_distilled_and_the_page_has_a_table_of_them(
  films, capsys, tmp_path
):
  workdir = tmp_path / "run"
  text = run_killed_at_the_end(
    capsys, "distill", films, *TEACHER, *STUDENT, METHOD, workdir=workdir
  )
  assert "3 yes/no labels" in text or "task multilabel" in text
  results = check_results(workdir, "distill")
  assert results["task"] == "multilabel"
  assert results["label_names"] == [*LABELS]
  for name, count in (("teacher", 1), ("student", 2), ("baseline", 2)):
    entry = results[name]
    for score in (
      "test_f1", "macro_f1", "subset_accuracy", "mean_average_precision",
    ):  # fmt: skip
      assert len(entry[score]) == count and np.all(np.array(entry[score]) <= 1)
    assert len(entry["per_label"]["f1"]) == len(LABELS)
  shown = (workdir / "report.html").read_text()
  assert "Test F1, %" in shown and "mAP, %" in shown
  assert all(name in shown for name in LABELS)
  assert "Left out" not in shown


def test_a_cache_teaches_several_labels(films, tmp_path, bare_runs):
  cache, workdir = tmp_path / "cache", tmp_path / "run"
  for words in (
    ["cache", films, *TEACHER, f"--workdir={cache}"],
    [
      films,
      *STUDENT,
      METHOD,
      f"--teacher_cache={cache}",
      f"--workdir={workdir}",
    ],
  ):
    assert launch.main(["launch.py", *words]) == 0
  assert len(check_results(workdir, "distill")["student"]["test_f1"]) == 2


def test_methods_are_compared_on_several_labels(films, tmp_path):
  workdir = tmp_path / "run"
  search = (
    "--search_rates=0.01", "--search_seeds=1", "--search_weights=1",
    "--search_smoothing=0.1",
  )  # fmt: skip
  call = ["compare", "binary_kd", "kd", films, *TEACHER, *STUDENT, *search]
  assert launch.main(["launch.py", *call, f"--workdir={workdir}"]) == 0
  results = check_results(workdir, "compare")
  # Without weights they are one loss.
  one, other = (results["methods"][x]["test_f1"] for x in ("binary_kd", "kd"))
  np.testing.assert_allclose(one, other, atol=0.02)


def test_a_network_of_several_labels_is_exported(
  films, capsys, tmp_path, bare_runs
):
  workdir, exported = tmp_path / "run", tmp_path / "exported"
  run = [films, *TEACHER, *STUDENT, METHOD, f"--workdir={workdir}"]
  assert launch.main(["launch.py", *run]) == 0
  words = ["export", f"--from={workdir}", "--format=stablehlo,safetensors"]
  assert launch.main(["launch.py", *words, f"--workdir={exported}"]) == 0
  assert "same answers on all" in capsys.readouterr().out
  card = json.loads((exported / "student" / "card.json").read_text())
  results = json.loads((workdir / "results.json").read_text())
  assert card["reported_f1"] == results["student"]["test_f1"][0]
  shown = (exported / "student" / "MODEL_CARD.md").read_text()
  assert "- Labels, in this order: red, round, soft." in shown


def test_distill_comes_to_what_the_command_does(films, tmp_path, bare_runs):
  """The same start and order give the same networks, to rounding."""
  workdir = tmp_path / "run"
  run = [
    films,
    *TEACHER,
    *STUDENT,
    METHOD,
    "--nocontrols",
    "--schedule=constant",
  ]
  assert launch.main(["launch.py", *run, f"--workdir={workdir}"]) == 0
  results = json.loads((workdir / "results.json").read_text())
  teacher, students = (
    load_variables(workdir / name, read_note(workdir / name))
    for name in ("teacher", "student")
  )
  dataset = kdjax.data.load(films.removeprefix("--dataset="))
  train, test = (
    {"image": split.images, "label": split.labels}
    for split in (dataset.train, dataset.test)
  )
  networks = [
    kdjax.from_linen(make_model(f"mlp({width})", classes=3))
    for width in (4, 16)
  ]
  settings = results["experiment"]["student"]
  optimizer = getattr(optax, settings["optimizer"])(settings["learning_rate"])
  size, epochs = settings["batch_size"], settings["epochs"]
  steps = -(-len(train["label"]) // size)

  def in_the_runners_order(seed):
    plan = kdjax.data.batches(
      np.arange(len(train["label"])),
      size,
      seed=seed,
      start=0,
      stop=epochs * steps,
    )
    for index, weight in zip(plan.indices, plan.weights, strict=True):
      yield {k: x[index] for k, x in train.items()} | {"weight": weight}

  for seed in range(2):
    key = step_key(jnp.int32(seed), jnp.uint32(2**32 - 1), 0)
    start = networks[0].init(jax.random.split(key)[0], train["image"][:1])
    done = kdjax.distill(
      networks[0], kdjax.live_teacher(networks[1], teacher),
      in_the_runners_order(seed), method=results["objective"],
      task=kdjax.tasks.multilabel(3), optimizer=optimizer, steps=epochs * steps,
      key=jax.random.key(seed), variables=start, score_on=test, progress=False,
    )  # fmt: skip
    for got, want in zip(
      jax.tree.leaves(done.variables), jax.tree.leaves(students), strict=True
    ):
      np.testing.assert_allclose(got, want[seed], atol=1e-4)
    names = "macro_f1 subset_accuracy accuracy mean_average_precision"
    for name in names.split():
      assert done.metrics[name] == pytest.approx(results["student"][name][seed])
    assert done.metrics["f1"] == pytest.approx(
      results["student"]["test_f1"][seed]
    )
