"""Embeddings through the commands, and by `kdjax.distill` alike."""

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

TEACHER = ("--teacher=mlp(16)", "--teacher_epochs=3", "--teacher_batch_size=32")
STUDENT = ("--student=mlp(4)", "--epochs=3", "--batch_size=32", "--seeds=2")
METHOD = "--distillation=cosine:1 + rkd:0.1"
SCORES = {"recall_at_1", "recall_at_10", "spearman"}
SCORES |= {f"symmetric_{name}" for name in ("recall_at_1", "recall_at_10")}


@pytest.fixture
def vectors(tmp_path):
  """The flags of arrays with a vector each, of which a few are not known."""
  random = np.random.default_rng(0)
  x = random.normal(size=(160, 5)).astype(np.float32)
  y = np.tanh(x @ random.normal(size=(5, 6))).astype(np.float32)
  y[3], y[40, 2] = np.nan, np.nan
  np.savez(tmp_path / "vectors.npz", x=x, y=y)
  np.savez(tmp_path / "bare.npz", x=x)
  return f"--dataset={tmp_path / 'vectors.npz'}", "--task=embedding"


def run(workdir, *words):
  assert launch.main(["launch.py", *words, f"--workdir={workdir}"]) == 0
  return json.loads((workdir / "results.json").read_text())


def test_a_run_a_cache_no_vectors_and_an_export(vectors, capsys, tmp_path):
  live, cache = tmp_path / "live", tmp_path / "cache"
  words = (*vectors, *STUDENT, METHOD)
  text = run_killed_at_the_end(
    capsys, "distill", *TEACHER, *words, workdir=live
  )
  assert "task embedding" in text and "Searches" in text
  results = check_results(live, "distill")
  assert results["task"] == "embedding"
  for name, count in (("teacher", 1), ("student", 2), ("baseline", 2)):
    entry = results[name]
    assert set(entry) >= SCORES
    for score in (*SCORES, "test_cosine"):
      assert len(entry[score]) == count
      assert np.all(np.abs(entry[score]) <= 1)
  assert len(results["student"]["teacher_cosine"]) == 2
  shown = (live / "report.html").read_text()
  assert "Searches" in shown and "Left out" not in shown

  taught = f"--teacher_from={live}"
  run(cache, "cache", *vectors, taught, METHOD, "--cache_dtype=float32")
  cached = run(tmp_path / "cached", *words, f"--teacher_cache={cache}")
  for name in ("test_cosine", "spearman", "recall_at_10"):
    np.testing.assert_allclose(
      cached["student"][name], results["student"][name], atol=1e-4
    )

  # The teacher's vectors are the targets where there are none.
  bare = f"--dataset={tmp_path / 'bare.npz'}", "--task=embedding(6)"
  results = run(tmp_path / "bare", *bare, *STUDENT, taught)
  assert results["objective"] == "ce:0.1 + cosine:0.9"
  assert results["teacher"]["test_cosine"] == [pytest.approx(1)]
  assert results["teacher"]["recall_at_1"] == [1.0]
  for name in ("student", "baseline"):
    entry = results[name]
    np.testing.assert_allclose(
      entry["test_cosine"], entry["teacher_cosine"], atol=1e-5
    )
    assert min(entry["test_cosine"]) > 0.1

  exported = tmp_path / "exported"
  run_of = ["export", f"--from={live}", "--format=stablehlo,safetensors"]
  assert launch.main(["launch.py", *run_of, f"--workdir={exported}"]) == 0
  assert "same answers on all" in capsys.readouterr().out
  card = json.loads((exported / "student" / "card.json").read_text())
  reported = json.loads((live / "results.json").read_text())["student"]
  assert card["reported_cosine"] == reported["test_cosine"][0]


def test_vectors_from_elsewhere_teach_by_a_cache(tmp_path, bare_runs):
  """The same as a run's own cache is; here the teacher never was a network."""
  random = np.random.default_rng(0)
  x, y = (random.normal(size=(80, n)).astype(np.float32) for n in (5, 6))
  np.savez(tmp_path / "vectors.npz", x=x, y=y)
  path, cache = str(tmp_path / "vectors.npz"), tmp_path / "cache"
  train = kdjax.data.load(path, label_kind="embedding").train
  kdjax.write_teacher_cache(
    cache,
    kdjax.stored_teacher(train.labels),
    {"image": train.images, "label": train.labels},
    task=kdjax.tasks.embedding(6),
  )
  results = run(
    tmp_path / "run", f"--dataset={path}", "--task=embedding", *STUDENT,
    f"--teacher_cache={cache}", "--distillation=pkt:9",
  )  # fmt: skip
  assert set(results["student"]) >= SCORES
  assert results["teacher"]["model"] == "teacher"


def test_a_comparison_leaves_out_what_reads_no_vectors(
  vectors, capsys, tmp_path
):
  search = (
    "--search_rates=0.01", "--search_seeds=1", "--search_weights=1",
    "--search_smoothing=0.1",
  )  # fmt: skip
  results = run(
    tmp_path / "run", "compare", "cosine", "seed", *vectors, *TEACHER, *STUDENT,
    *search,
  )  # fmt: skip
  assert set(results["methods"]) == {"cosine", "seed"}
  assert len(results["methods"]["seed"]["spearman"]) == 2
  assert "seed" in capsys.readouterr().out


def test_distill_comes_to_what_the_command_does(vectors, tmp_path, bare_runs):
  """The same start and order give the same networks, to rounding."""
  workdir = tmp_path / "run"
  results = run(
    workdir, *vectors, *TEACHER, *STUDENT, METHOD, "--nocontrols",
    "--schedule=constant",
  )  # fmt: skip
  teacher, students = (
    load_variables(workdir / name, read_note(workdir / name))
    for name in ("teacher", "student")
  )
  dataset = kdjax.data.load(
    vectors[0].removeprefix("--dataset="), label_kind="embedding"
  )
  train, test = (
    {"image": split.images, "label": split.labels}
    for split in (dataset.train, dataset.test)
  )
  student, network = (
    kdjax.from_linen(make_model(f"mlp({width})", classes=6))
    for width in (4, 16)
  )
  settings = results["experiment"]["student"]
  optimizer = getattr(optax, settings["optimizer"])(settings["learning_rate"])
  size, epochs = settings["batch_size"], settings["epochs"]
  # A method that relates examples is shown whole batches alone.
  steps = len(train["label"]) // size

  def in_the_runners_order(seed):
    plan = kdjax.data.batches(
      np.arange(len(train["label"])), size, seed=seed, start=0,
      stop=epochs * steps, drop_remainder=True,
    )  # fmt: skip
    for index, weight in zip(plan.indices, plan.weights, strict=True):
      yield {k: x[index] for k, x in train.items()} | {"weight": weight}

  for seed in range(2):
    key = step_key(jnp.int32(seed), jnp.uint32(2**32 - 1), 0)
    start = student.init(jax.random.split(key)[0], train["image"][:1])
    done = kdjax.distill(
      student, kdjax.live_teacher(network, teacher),
      in_the_runners_order(seed), method=results["objective"],
      task=kdjax.tasks.embedding(6), optimizer=optimizer, steps=epochs * steps,
      key=jax.random.key(seed), variables=start, score_on=test, progress=False,
    )  # fmt: skip
    for got, want in zip(
      jax.tree.leaves(done.variables), jax.tree.leaves(students), strict=True
    ):
      np.testing.assert_allclose(got, want[seed], atol=1e-4)
    assert done.metrics["cosine"] == pytest.approx(
      results["student"]["test_cosine"][seed], abs=1e-4
    )
