"""`launch.py lm --quantization --sparsity`: what is loaded is what was measured."""

import json
import shutil

import jax
import numpy as np
import pytest
from killed_runs import killed_at
from small_tokenizers import characters
from tiny_language_models import documents, run_lm, tiny_folder, write_rows

from kdjax import evaluate, pretrained
from kdjax.models.pretrained.load import COMPUTES_IN
from kdjax.runner.config import Language
from kdjax.runner.pipeline import texts
from kdjax.tasks import language_model


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(folder / "teacher", characters())
  tiny_folder(folder / "few_bits", characters(), **{COMPUTES_IN: "w8a8"})
  shutil.copytree(folder / "few_bits", folder / "unknown")
  config = folder / "unknown" / "config.json"
  config.write_text(config.read_text().replace("w8a8", "w3"))
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(12)])
  return folder


def measured(places, folder):
  """The score of a saved network that was loaded again."""
  loaded = pretrained.load(folder)
  settings = Language(text=str(places / "rows.jsonl"), sequence_length=16)
  part = texts.read(settings, loaded.tokenizer).parts["test"]
  return evaluate.measure_text(
    loaded.network,
    loaded.variables,
    part.sequences,
    task=language_model(loaded.tokenizer.vocabulary_size),
    text_bytes=part.examples.bytes,
  )["nats_per_token"]


def largest_count(kernel):
  """The most different values in one column of a kernel."""
  columns = np.reshape(kernel, (kernel.shape[0], -1)).T
  return max(len(np.unique(column)) for column in columns)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("flags", "share", "levels"),
  [
    (("--quantization=w4", "--sparsity=0.5", "--pruning_every=1"), 0.6, 16),
    pytest.param(
      ("--quantization=w8a8", "--remat", "--policy=student",
       "--max_new_tokens=4", "--completions=1"), 0.6, None,
      marks=pytest.mark.exhaustive,
    ),
    pytest.param(
      ("--sparsity=0.75", "--pruning_structure=channels",
       "--pruning_scope=layer", "--policy=student", "--max_new_tokens=4"),
      1.0, None,
      marks=pytest.mark.exhaustive,
    ),
    pytest.param(
      ("--quantization=w8", "--sparsity=0.5", "--compute_dtype=bfloat16",
       "--mesh=data=2,model=2", "--shard_rules=transformer"),
      0.6, None,
      marks=pytest.mark.exhaustive,
    ),
  ],
)  # fmt: skip
def test_run(
  places, tmp_path, quick_runs, untried, monkeypatch, flags, share, levels
):
  if any("mesh" in flag for flag in flags):
    from kdjax.train.devices import placement

    four = jax.local_devices()[:4]
    monkeypatch.setattr(placement, "choose", lambda accelerator: four)
  assert run_lm(places, tmp_path, *flags) == 0
  results = json.loads((tmp_path / "results.json").read_text())
  student, untrained = results["student"], results["controls"]["untrained"]
  assert np.mean(student["teacher_kl"]) < untrained["teacher_kl"][0]
  small = results["compression"]
  assert len(small["bytes"]) == 2
  assert max(small["bytes"]) < share * small["bytes_float32"]
  close = {"rel": 1e-2 if "--compute_dtype=bfloat16" in flags else 1e-5}
  for arm in ("student", "baseline"):
    score = results[arm]["test_nats_per_token"][0]
    assert measured(places, tmp_path / arm) == pytest.approx(score, **close)
  if "quantization" in small:
    score = student["test_nats_per_token"][0]
    assert small["stored_nats_per_token"] == [pytest.approx(score, **close)]
    config = json.loads((tmp_path / "student/config.json").read_text())
    bits = small["quantization"]
    assert config.get(COMPUTES_IN) == (bits if "a8" in bits else None)
  block = pretrained.load(tmp_path / "student").variables["params"]["stage_1"]
  kernels = [x for x in jax.tree.leaves(block) if x.ndim > 1]
  if levels is not None:
    assert max(map(largest_count, kernels)) <= levels
  if "sparsity" in small:
    assert small["sparsity"]["verified"]
    zeros = sum(np.sum(kernel == 0) for kernel in kernels)
    assert zeros > 0.2 * sum(kernel.size for kernel in kernels)
  assert "Small students" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_run_that_was_killed_ends_alike(
  places, tmp_path, monkeypatch, bare_runs
):
  flags = (
    "--quantization=w4a8", "--sparsity=0.5", "--pruning_every=1",
    "--steps=6", "--evaluations=3", "--checkpoint_minutes=0", "--policy=mixed",
    "--max_new_tokens=4",
  )  # fmt: skip
  folders = tmp_path / "whole", tmp_path / "killed"
  assert run_lm(places, folders[0], *flags) == 0
  with killed_at(monkeypatch, 2):
    assert run_lm(places, folders[1], *flags) == 130
  assert run_lm(places, folders[1], *flags) == 0
  whole, resumed = (
    (folder / "student/model.safetensors").read_bytes() for folder in folders
  )
  assert whole == resumed


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--quantization=w3"], "w8a8"),
    (["--quantization=w8", "--lora=rank(2)"], "weights=...)' keeps them"),
    (["--sparsity=0.5", "--lora=rank(2)"], "leave one of them out"),
    (["--sparsity=1"], "must be in [0, 1)"),
    (["--sparsity=0.5", "--pruning_begin=0.6"], "less than --pruning_end"),
    (["--pruning_every=4"], "it does nothing without --sparsity"),
    (["--quantization=w8", "--student_from=few_bits"], "in w8a8 already"),
    (["--lora=rank(2)", "--student_from=few_bits"], "in w8a8 already"),
    (["--student_from=unknown"], f"unknown {COMPUTES_IN} 'w3'"),
  ],
)
def test_refused(places, tmp_path, capsys, monkeypatch, flags, said):
  monkeypatch.chdir(places)
  assert run_lm(places, tmp_path / "run", *flags) == 2
  assert said in capsys.readouterr().err.splitlines()[-1]
  assert not (tmp_path / "run").exists()
