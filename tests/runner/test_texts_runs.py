"""Texts with labels through the commands, and by `kdjax.distill` alike."""

import json
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from job_contract import check_results, run_killed_at_the_end
from small_texts import encoder, reviews, words, write_table

import kdjax
import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.data.text_set import by_length, encode
from kdjax.models import make_model
from kdjax.models.export import onnx
from kdjax.models.tokenizers import encode_texts
from kdjax.runner.pipeline import predict
from kdjax.train.batch import step_key
from kdjax.train.devices import placement

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]

SIZES = ("--batch_size=16", "--epochs=2", "--seeds=2", "--nocontrols")
TEACHER = (
  "--teacher_head=tuned", "--teacher_epochs=2", "--teacher_batch_size=16",
  "--teacher_learning_rate=0.003",
)  # fmt: skip
STUDENT = "--student=bert(width=8, depth=1, heads=2, mlp=16, dropout=0.0)"


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
  """The flags of the data and of a pretrained body."""
  folder = tmp_path_factory.mktemp("texts")
  encoder(folder / "body", num_hidden_layers=2)
  write_table(folder / "reviews.csv", reviews(64))
  pairs = zip(reviews(48, seed=1), reviews(48, seed=2), strict=True)
  rows = [(a, b, i // 2 % 2) for i, ((a, _), (b, _)) in enumerate(pairs)]
  head = ("text", "text_2", "label")
  write_table(folder / "pairs.tsv", rows, head, "\t")
  body = f"--teacher_from={folder / 'body'}"
  return {
    "texts": (f"--dataset={folder / 'reviews.csv'}", body),
    "pairs": (f"--dataset={folder / 'pairs.tsv'}", body),
  }


def run(*words):
  assert launch.main(["launch.py", *words]) == 0


def digests(workdir, network="student"):
  return json.loads((workdir / "results.json").read_text())[network]["digest"]


def test_pairs_are_distilled_into_blocks_of_the_teacher_and_exported(
  flags, capsys, tmp_path
):
  workdir, exported = tmp_path / "run", tmp_path / "exported"
  text = run_killed_at_the_end(
    capsys, "text", *flags["pairs"], *TEACHER, "--student=layers(1)",
    "--distillation=minilmv2(relation_heads=2):0.5 + kd:0.5", *SIZES,
    workdir=workdir,
  )  # fmt: skip
  assert "test texts, 2 classes; " in text
  results = check_results(workdir, "text")
  assert results["task"] == "text_classification"
  assert results["data"]["noun"] == "text"
  assert results["data"]["truncated"] == {"train": 0, "test": 0}
  assert results["experiment"]["student"]["model"] == "layers(1)"
  assert results["student"]["model"].startswith("bert(")
  shown = (workdir / "report.html").read_text()
  assert "test texts" in shown and "test image" not in shown
  assert "Left out" not in shown
  run(
    "export", f"--from={workdir}", "--format=onnx,stablehlo",
    f"--workdir={exported}",
  )  # fmt: skip
  folder = exported / "student"
  path = folder / "network.onnx"
  answer = onnx.load(path, path.read_bytes())
  note = read_note(workdir / "student")
  variables = load_variables(workdir / "student", note)
  student = make_model(note["model"], classes=2)
  first = jax.tree.map(lambda x: x[0], variables)
  tokenizer = kdjax.models.tokenizers.tokenizer_of_folder(folder)
  # Other lengths and numbers of texts than any batch of the training had.
  for count, length in ((1, 32), (5, 40)):
    texts = [text for text, _ in reviews(count, seed=7)]
    arrays, _ = encode_texts(tokenizer, texts, texts, length=length)
    expected = student.apply(first, **arrays)
    np.testing.assert_allclose(answer(arrays), expected, atol=1e-5)


def test_a_stored_teacher_teaches_as_a_live_one_and_devices_change_nothing(
  flags, tmp_path, bare_runs
):
  data, _ = flags["texts"]
  first, cache = tmp_path / "first", tmp_path / "cache"
  method = ("--distillation=kd", STUDENT, *SIZES)
  run("text", *flags["texts"], *TEACHER, *method, f"--workdir={first}")
  again = f"--teacher_from={first}"
  run("cache", data, again, "--cache_dtype=float32", f"--workdir={cache}")
  for name, teacher in (
    ("live", again),
    ("cached", f"--teacher_cache={cache}"),
  ):
    run("text", data, teacher, *method, f"--workdir={tmp_path / name}")
  assert digests(tmp_path / "live") == digests(first)
  networks = [
    load_variables(folder / "student", read_note(folder / "student"))
    for folder in (tmp_path / "live", tmp_path / "cached")
  ]
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), *networks)
  two = tmp_path / "two"
  words = ["text", data, again, *method, f"--workdir={two}", "--nolatency"]
  code = (
    f"import launch; raise SystemExit(launch.main({['launch.py', *words]}))"
  )
  flag = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
  subprocess.run(
    [sys.executable, "-c", code], env=os.environ | flag, check=True
  )
  results = json.loads((two / "results.json").read_text())
  assert len(results["environment"]["devices"]) == 2
  other = load_variables(two / "student", read_note(two / "student"))
  jax.tree.map(
    partial(np.testing.assert_allclose, atol=1e-4), networks[0], other
  )


def test_batches_of_one_length_on_one_device_and_two(
  flags, tmp_path, bare_runs, monkeypatch
):
  data, body = flags["texts"]
  tokens = body.replace("teacher_from", "tokenizer")
  networks = []
  for count in (1, 2):
    devices = jax.local_devices()[:count]
    monkeypatch.setattr(placement, "choose", lambda _, x=devices: x)
    workdir = tmp_path / str(count)
    run(
      "text", data, tokens, "--distillation=hard", STUDENT, *SIZES,
      "--length_groups", "--optimizer=sgd", "--nolatency",
      f"--workdir={workdir}",
    )  # fmt: skip
    note = read_note(workdir / "student")
    networks.append(load_variables(workdir / "student", note))
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), *networks)


def test_a_table_of_small_networks_of_texts(flags, tmp_path, bare_runs):
  """The command's example is of images; its views are not taken over."""
  workdir = tmp_path / "compress"
  run(
    "compress", *flags["texts"], *TEACHER, STUDENT, *SIZES[:2], "--seeds=1",
    "--distillation=kd", "--nolatency", f"--workdir={workdir}",
  )  # fmt: skip
  results = check_results(workdir, "compress")
  assert results["experiment"]["teacher"]["augment"] == "none"
  for row in results["table"]["rows"].values():
    assert np.isfinite(row["test_accuracy"]).all()


def test_a_sweep_of_texts_comes_to_the_same_when_it_is_repeated(
  flags, tmp_path, bare_runs, capsys
):
  workdir, again = tmp_path / "sweep", tmp_path / "again"
  data, body = flags["texts"]
  run(
    "sweep", data, body.replace("teacher_from", "tokenizer"), STUDENT, *SIZES,
    "--distillation=hard", "--learning_rate=0.003,0.01", "--nolatency",
    f"--workdir={workdir}",
  )  # fmt: skip
  results = check_results(workdir, "sweep")
  assert len(results["sweep"]["cells"]) == 2
  run("reproduce", str(workdir), f"--workdir={again}")
  assert digests(again) == digests(workdir)


def test_methods_are_compared_on_texts(flags, tmp_path, bare_runs):
  compared = tmp_path / "compared"
  search = (
    "--search_rates=0.003", "--search_seeds=1", "--search_weights=0.5",
    "--search_smoothing=0.1",
  )  # fmt: skip
  tuned = (*TEACHER, *SIZES[:3], "--student=layers(1)")
  run(
    "compare", "kd", *flags["texts"], *tuned, *search, f"--workdir={compared}"
  )
  results = check_results(compared, "compare")
  assert "kd" in results["methods"] and results["data"]["noun"] == "text"


def test_distill_comes_to_what_the_command_does(flags, tmp_path, bare_runs):
  """The same start and order give the same networks, to rounding."""
  workdir = tmp_path / "run"
  run(
    "text", *flags["texts"], *TEACHER, STUDENT, *SIZES, "--schedule=constant",
    "--distillation=minilmv2(relation_heads=2):0.5 + kd:0.5",
    f"--workdir={workdir}",
  )  # fmt: skip
  results = json.loads((workdir / "results.json").read_text())
  notes = [read_note(workdir / name) for name in ("teacher", "student")]
  teacher, students = (
    load_variables(workdir / name, note)
    for name, note in zip(("teacher", "student"), notes, strict=True)
  )
  dataset = encode(
    kdjax.data.load(flags["texts"][0].removeprefix("--dataset=")),
    partial(encode_texts, words()),
    512,
  )
  train, test = (
    {**split.images, "label": split.labels}
    for split in (dataset.train, dataset.test)
  )
  teacher_network, student = (
    kdjax.from_linen(make_model(note["model"], classes=2)) for note in notes
  )
  settings = results["experiment"]["student"]
  size, epochs = settings["batch_size"], settings["epochs"]
  steps = epochs * -(-len(train["label"]) // size)

  def in_the_runners_order(seed):
    places = np.arange(len(train["label"]))
    plan = kdjax.data.batches(places, size, seed=seed, start=0, stop=steps)
    for index, weight in zip(plan.indices, plan.weights, strict=True):
      yield {k: x[index] for k, x in train.items()} | {"weight": weight}

  for seed in range(2):
    key = step_key(jnp.int32(seed), jnp.uint32(2**32 - 1), 0)
    start = student.init(jax.random.split(key)[0], dataset.train.images)
    done = kdjax.distill(
      student, kdjax.live_teacher(teacher_network, teacher),
      in_the_runners_order(seed), method=results["objective"],
      task=kdjax.tasks.text_classification(2),
      optimizer=optax.adam(settings["learning_rate"]), steps=steps,
      key=jax.random.key(seed), variables=start, score_on=test, progress=False,
    )  # fmt: skip
    for value, expected in zip(
      jax.tree.leaves(done.variables), jax.tree.leaves(students), strict=True
    ):
      np.testing.assert_allclose(value, expected[seed], atol=1e-4)
    score = results["student"]["test_accuracy"][seed]
    assert done.metrics["accuracy"] == pytest.approx(score)


def test_lengths_that_go_together_answer_as_all_do(monkeypatch):
  rng = np.random.default_rng(0)
  mask = np.arange(32) < rng.integers(1, 33, 20)[:, None]
  inputs = {"tokens": rng.integers(1, 11, mask.shape), "mask": mask}
  network = make_model(
    "bert(width=8, depth=2, heads=2, mlp=16, vocabulary=11)", classes=3
  )
  keys = jax.random.split(jax.random.key(0), 2)
  variables = jax.vmap(lambda key: network.init(key, **inputs))(keys)
  train_spec = SimpleNamespace(
    network=network, task=kdjax.tasks.text_classification(3), show=kdjax.data.to_float,
    together=True, most=None, partition=None,
  )  # fmt: skip
  expected = predict.predict(train_spec, variables, inputs)
  monkeypatch.setattr(predict, "LIKE_LENGTHS", 4)
  assert len(by_length(inputs, least=4)) > 1
  answers = predict.predict(train_spec, variables, inputs)
  np.testing.assert_allclose(answers, expected, atol=1e-6)
