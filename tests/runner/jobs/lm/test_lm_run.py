"""`launch.py lm` from flags to results.json, its page and the student's folder."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from job_contract import check_results
from killed_runs import killed_at
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import launch
from kdjax import pretrained
from kdjax.data.text import Row, divide_rows_in_three
from kdjax.train.devices import placement

TINY = ("--sequence_length=24", "--batch_size=8", "--epochs=2", "--seeds=2")

SGD = (
  "--optimizer=sgd",
  "--learning_rate=0.05",
  "--seeds=1",
  "--completions=2",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(folder / "teacher", characters(), num_hidden_layers=2)
  questions = [
    {"prompt": text[:6], "completion": text[6:20]} for text in documents(9, 1)
  ]
  rows = [{"text": text} for text in documents(20)]
  write_rows(folder / "rows.jsonl", [*rows, *questions, {"text": " "}])
  return folder


def run(places, workdir, *flags):
  return launch.main([
    "launch.py", "lm", f"--text={places / 'rows.jsonl'}",
    f"--teacher_from={places / 'teacher'}", *TINY, f"--workdir={workdir}", *flags,
  ])  # fmt: skip


def rows_of_test(places):
  """The rows of the test documents."""
  lines = (places / "rows.jsonl").read_text().split("\n")
  rows = [Row(json.loads(line), str(i)) for i, line in enumerate(lines)]
  return [row.values for row in divide_rows_in_three(rows, 0.1)[2]]


def windows(tokenizer, row, length=24):
  """A row's tokens and what counts, cut by hand."""
  ids, counts = tokenizer.tokenize(row)
  if "text" not in row:
    yield ids[:length], counts[:length]
    return
  # A window begins with the last token of the one before.
  for start in range(0, (len(ids) - 1) * bool(row["text"].strip()), length - 1):
    yield ids[start : start + length], counts[start : start + length]


def sums(folder, places, teacher):
  """Of the test documents one by one: sums of nats, tokens, bytes and of the KL."""
  student, totals = pretrained.load(folder), np.zeros(4)

  def log_probs(one, ids):
    inputs = {"tokens": jnp.array([ids])}
    logits = one.network.apply(one.variables, inputs)[0][0]
    return np.asarray(jax.nn.log_softmax(logits), np.float64)

  for row in rows_of_test(places):
    for ids, counts in windows(student.tokenizer, row):
      own, other = log_probs(student, ids), log_probs(teacher, ids)
      for t in range(1, len(ids)):
        if counts[t]:
          size = ids[t] not in student.tokenizer.eos
          q, p = own[t - 1], other[t - 1]
          totals += -q[ids[t]], 1, size, np.sum(np.exp(p) * (p - q))
  return totals


@pytest.mark.slow
def test_a_run(places, tmp_path, quick_runs):
  workdir = tmp_path / "run"
  assert run(places, workdir, "--search_rates=0.001,0.03") == 0
  results = check_results(workdir, "lm")
  teacher = pretrained.load(places / "teacher")
  for name in ("student", "baseline"):
    entry = results[name]
    nats, tokens, size, kl = sums(workdir / name, places, teacher)
    assert entry["test_examples"] == tokens
    assert entry["test_nats_per_token"][0] == pytest.approx(nats / tokens, 1e-5)
    bits = nats / math.log(2) / size
    assert entry["test_bits_per_byte"][0] == pytest.approx(bits, rel=1e-5)
    assert entry["teacher_kl"][0] == pytest.approx(kl / tokens, abs=1e-6)
    assert all(len(entry[key]) == 2 for key in ("teacher_kl", "agreement"))
    assert [cell["learning_rate"] for cell in entry["cells"]][0] == 0.03
  assert results["teacher"]["teacher_kl"] == [0.0]
  before = results["controls"]["untrained"]["test_nats_per_token"]
  assert before[0] == before[1] > results["student"]["test_nats_per_token"][0]
  assert (
    results["text"]["test"]["learned"] == results["student"]["test_examples"]
  )
  counts = [results["text"][part]["unanswered"] for part in ("train", "test")]
  assert sum(counts) + results["text"]["validation"]["unanswered"] == 1
  page = (workdir / "report.html").read_text()
  assert "Bits a byte" in page and "validation documents" in page
  assert "Completions" in page and "token by token of a text" in page
  assert "Tokens behind them" in page
  completions = results["completions"]["shown"]
  assert {*completions[0]} == {
    "prompt", "reference", "teacher", "student", "baseline"
  }  # fmt: skip
  scores = results["completions"]["scores"]["student"]
  for name in ("distinct_2", "repetition"):
    assert len(scores[name]) == 2 and all(0 <= x <= 1 for x in scores[name])
  curves = [results["exposure"][x] for x in ("student", "teacher", "baseline")]
  for curve in curves:
    seeds = [len(curve[name]) for name in ("early_kl", "late_kl")]
    assert seeds == [2, 2] and curve["texts"][0] == 2 * len(completions)
  own, others, _ = curves
  # Both begin behind the same prompts.
  assert (
    own["kl"][0] == pytest.approx(others["kl"][0], rel=1e-5)
    and own["kl"][0] > 0
  )
  card = (workdir / "student" / "README.md").read_text()
  assert "every(2)" in card and "| Student |" in card


# The student's own texts, each for two updates, or the files'.
MIXED = (
  "--policy=mixed(student=0.7)",
  "--max_new_tokens=8",
  "--updates_per_rollout=2",
)


@pytest.mark.slow
def test_a_mesh_gives_the_networks_and_scores_of_one_device(
  places, tmp_path, monkeypatch, bare_runs
):
  """Texts of the student's own over meshes are in test_lm_meshes.py."""

  def on(count, *flags):
    chosen = jax.devices()[:count]
    monkeypatch.setattr(placement, "choose", lambda accelerator: chosen)
    workdir = tmp_path / str(count)
    assert run(places, workdir, *SGD, *flags) == 0
    entry = json.loads((workdir / "results.json").read_text())["student"]
    weights = pretrained.load(workdir / "student").variables
    return weights, [entry[name][0] for name in ("teacher_kl", "agreement")]

  alone, meshed, cut = (
    on(1),
    on(4, "--mesh=data=2,model=2", "--shard_rules=transformer"),
    on(2, "--mesh=data=-1", "--shard_rules=fsdp"),
  )
  for other in (meshed, cut):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
      alone,
      other,
    )


@pytest.mark.slow
def test_an_alternative_is_the_student_of_its_own_run(
  places, tmp_path, quick_runs, untried
):
  kinds = "reverse_kl:0.9 + ce:0.1", "tvd:0.9 + ce:0.1"
  flags = "--completions=0", "--epochs=1", "--evaluations=1"
  first, second = tmp_path / "first", tmp_path / "second"
  alternatives = f"--alternatives={kinds[1]}, {kinds[1]}"
  assert (
    run(places, first, f"--distillation={kinds[0]}", alternatives, *flags) == 0
  )
  assert run(places, second, f"--distillation={kinds[1]}", *flags) == 0
  results, alone = (
    json.loads((workdir / "results.json").read_text())
    for workdir in (first, second)
  )
  assert results["baseline"] == alone["baseline"]
  for name in ("tvd", "tvd_2"):
    entry = results["controls"][name]
    assert "kind='tvd'" in entry.pop("objective")
    assert entry == alone["student"]
  compared = [one["control"] for one in results["comparisons"]]
  assert compared == ["baseline", "tvd", "tvd_2", "untrained"]
  assert "Tvd 2: learned by" in (first / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  # Of its five portions each ends between two updates on the same texts.
  [
    (),
    (*MIXED, "--steps=15", "--evaluations=5"),
    (
      "--distillation=minillm",
      "--student=decoder(width=8, depth=1, heads=2)",
      "--max_new_tokens=8",
      "--steps=5",
    ),
    (
      "--distillation=distillm",
      # Its loss rises at once.
      "--policy=adaptive(capacity=16, tolerance=1e-9, rise=1.0)",
      "--learning_rate=3.0",
      "--max_new_tokens=8",
      "--steps=10",
      "--evaluations=5",
    ),
  ],
  ids=["", "own", "minillm", "distillm"],
)
def test_a_run_that_was_killed_ends_alike(
  places, tmp_path, monkeypatch, bare_runs, flags
):
  folders = tmp_path / "whole", tmp_path / "killed"
  flags = (*flags, "--completions=0")
  assert run(places, folders[0], *flags) == 0
  again = (*flags, "--checkpoint_minutes=0")
  with killed_at(monkeypatch, 4):
    assert run(places, folders[1], *again) == 130
  assert run(places, folders[1], *again) == 0
  for name in ("student/model.safetensors", "baseline/model.safetensors"):
    whole, resumed = ((folder / name).read_bytes() for folder in folders)
    assert whole == resumed
  results = [
    json.loads((folder / "results.json").read_text()) for folder in folders
  ]
  for name in ("student", "baseline", "teacher", "comparisons"):
    assert results[0][name] == results[1][name]


@pytest.mark.slow
def test_own_texts_after_fine_tuning_begin_where_that_ended(
  places, tmp_path, bare_runs
):
  small = ("--seeds=1", "--epochs=1", "--completions=0", "--student=layers(1)")
  tuned, own = tmp_path / "tuned", tmp_path / "own"
  assert run(places, tuned, *small, "--distillation=hard") == 0
  flags = (
    f"--student_from={tuned}", "--policy=mixed(student=0.5)", "--max_new_tokens=6",
    "--prompt_tokens=4",
  )  # fmt: skip
  assert run(places, own, *small[:-1], *flags) == 0
  ended, results = check_results(tuned, "lm"), check_results(own, "lm")
  begun = results["controls"]["untrained"]["test_nats_per_token"]
  assert begun == pytest.approx(ended["student"]["test_nats_per_token"], 1e-6)
  assert results["student"]["test_nats_per_token"] != begun
