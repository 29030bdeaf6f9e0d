"""Ten steps over a mesh are those of one device; a checkpoint fits any mesh."""

import json

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
  "data=2,model=2": "transformer",
  "data=2,fsdp=2": "fsdp",
  "data=4,model=1": None,
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
def run(places, bare_runs, monkeypatch):
  def run(workdir, mesh=None):
    chosen = jax.devices()[: 4 if mesh else 1]
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
def test_ten_steps_and_a_checkpoint(run, tmp_path, monkeypatch):
  assert run(tmp_path / "alone") == 0
  alone = came_to(tmp_path / "alone")
  *meshes, other = MESHES
  for mesh, then in zip(meshes, (other, None), strict=True):
    assert run(tmp_path / mesh, mesh) == 0
    assert_close(alone, came_to(tmp_path / mesh))
    # Of two portions the second is lost.
    folder = tmp_path / f"{mesh}, then {then}"
    with killed_at(monkeypatch, 2):
      assert run(folder, mesh) == 130
    assert run(folder, then) == 0
    assert_close(alone, came_to(folder))
