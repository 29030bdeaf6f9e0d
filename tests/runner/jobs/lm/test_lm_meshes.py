"""Ten steps over a mesh are those of one device; a checkpoint fits any mesh."""

import json
import shutil

import jax
import numpy as np
import pytest
from killed_runs import killed_at
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import launch
from kdjax import pretrained
from kdjax.train.devices import placement

FLAGS = (
  "--sequence_length=24", "--batch_size=8", "--steps=10", "--evaluations=2",
  "--seeds=1", "--completions=0", "--student=layers(2)", "--optimizer=sgd",
  "--learning_rate=0.05", "--policy=mixed(student=0.5)", "--max_new_tokens=4",
)  # fmt: skip
MESHES = {
  "data=2,model=4": "transformer",
  "data=2,fsdp=4": "fsdp",
  "data=8,model=1": None,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(
    folder / "teacher", characters(), vocab_size=64, hidden_size=32,
    intermediate_size=64, num_attention_heads=4,
  )  # fmt: skip
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(12)])
  return folder


@pytest.fixture
def run(places, monkeypatch):
  def run(workdir, mesh=None):
    chosen = jax.devices()[: 8 if mesh else 1]
    monkeypatch.setattr(placement, "choose", lambda accelerator: chosen)
    where = [f"--mesh={mesh}"] if mesh else []
    if mesh and MESHES[mesh]:
      where.append(f"--shard_rules={MESHES[mesh]}")
    return launch.main([
      "launch.py", "lm", f"--text={places / 'rows.jsonl'}", *FLAGS, *where,
      f"--teacher_from={places / 'teacher'}", "--checkpoint_minutes=0",
      f"--workdir={workdir}",
    ])  # fmt: skip

  return run


def came_to(workdir):
  results = json.loads((workdir / "results.json").read_text())
  networks = [
    pretrained.load(workdir / name).variables
    for name in ("student", "baseline")
  ]
  return networks, results["student"]["teacher_kl"]


def assert_close(one, other):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
    one,
    other,
  )


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [*MESHES][:2])
def test_ten_steps_and_a_checkpoint(run, tmp_path, monkeypatch, mesh):
  assert run(tmp_path / "alone") == 0
  alone = came_to(tmp_path / "alone")
  assert run(tmp_path / "whole", mesh) == 0
  assert_close(alone, came_to(tmp_path / "whole"))
  # Of two portions the second is lost.
  with killed_at(monkeypatch, 2):
    assert run(tmp_path / "killed", mesh) == 130
  for other in ("data=8,model=1", None):
    folder = tmp_path / f"goes on, {other}"
    shutil.copytree(tmp_path / "killed", folder)
    assert run(folder, other) == 0
    assert_close(alone, came_to(folder))
