"""`launch.py lm --lora`: adapters alone are trained, and what is saved is merged."""

import json

import jax
import numpy as np
import pytest
from killed_runs import killed_at
from safetensors.numpy import load_file
from small_tokenizers import characters
from tiny_language_models import documents, run_lm, tiny_folder, write_rows

from kdjax import pretrained


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(folder / "teacher", characters())
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(12)])
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(
  ("lora", "flags"),
  [
    ("rank(2, alpha=8)", ()),
    pytest.param(
      "rank(2, layers='attention', weights='int8')", ("--remat",),
      marks=pytest.mark.exhaustive,
    ),
    ("rank(2)", ("--policy=student", "--max_new_tokens=4", "--completions=1")),
    pytest.param(
      "rank(2)",
      ("--compute_dtype=bfloat16", "--mesh=data=2,model=2",
       "--shard_rules=transformer"),
      marks=pytest.mark.exhaustive,
    ),
  ],
)  # fmt: skip
def test_run(places, tmp_path, bare_runs, monkeypatch, lora, flags):
  if any("mesh" in flag for flag in flags):
    from kdjax.train.devices import placement

    four = jax.local_devices()[:4]
    monkeypatch.setattr(placement, "choose", lambda accelerator: four)
  assert run_lm(places, tmp_path, f"--lora={lora}", *flags) == 0
  results = json.loads((tmp_path / "results.json").read_text())
  student, untrained = results["student"], results["controls"]["untrained"]
  assert student["trained_parameters"] < student["parameters"] / 4
  assert student["test_nats_per_token"] < untrained["test_nats_per_token"]
  teacher = pretrained.load(places / "teacher")
  start = pretrained.cut(teacher, "every(2)")
  saved = pretrained.load(tmp_path / "student")
  untouched, adapted = {}, {}
  for path, before in jax.tree_util.tree_leaves_with_path(start.variables):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    after = saved.variables
    for key in path:
      after = after[key.key]
    is_adapted = name.endswith("kernel") and "stage_" in name
    (adapted if is_adapted else untouched)[name] = before, after
  for name, (before, after) in untouched.items():
    np.testing.assert_array_equal(after, before, err_msg=name)
  assert any(np.any(before != after) for before, after in adapted.values())
  tensors = load_file(tmp_path / "student/adapter/adapter_model.safetensors")
  assert {x.shape[0] for name, x in tensors.items() if "lora_A" in name} == {2}


@pytest.mark.slow
def test_a_run_that_was_killed_ends_alike(
  places, tmp_path, monkeypatch, bare_runs
):
  flags = (
    "--lora=rank(2, weights='nf4')",
    "--evaluations=3",
    "--checkpoint_minutes=0",
  )
  folders = tmp_path / "whole", tmp_path / "killed"
  assert run_lm(places, folders[0], *flags) == 0
  with killed_at(monkeypatch, 2):
    assert run_lm(places, folders[1], *flags) == 130
  assert run_lm(places, folders[1], *flags) == 0
  file = "student/adapter/adapter_model.safetensors"
  whole, resumed = ((folder / file).read_bytes() for folder in folders)
  assert whole == resumed


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--lora=rank(0)"], "rank must be a whole number >= 1"),
    (["--lora=lora(4)"], "rank"),
    (["--lora=rank(2, layers='gates')"], "gate"),
    (
      ["--lora=rank(2)", "--student=decoder(width=8, depth=1, heads=2)"],
      "begins untrained",
    ),
  ],
)
def test_refused(places, tmp_path, capsys, flags, said):
  assert run_lm(places, tmp_path / "run", *flags) == 2
  assert said in capsys.readouterr().err.splitlines()[-1]
  assert not (tmp_path / "run").exists()
