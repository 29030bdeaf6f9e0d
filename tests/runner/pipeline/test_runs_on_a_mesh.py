"""Whole runs over a mesh: the networks of one device, and a teacher that is cut."""

import json
import re
import shutil

import jax
import numpy as np
import pytest

import launch
from kdjax.core import storage
from kdjax.runner.pipeline import epochs, fit
from kdjax.train.devices import memory, placement

TEACHER = "vit(patch=4, width=64, depth=1, heads=8, mlp_width=128)"
STUDENT = "vit(patch=4, width=16, depth=1, heads=8, mlp_width=32)"
FLAGS = (
  "--dataset=digits", "--images=120", "--student=mlp(16)", "--seeds=1",
  "--epochs=2", "--batch_size=40", "--optimizer=sgd", "--learning_rate=0.05",
  "--teacher_epochs=1", "--teacher_batch_size=40", "--teacher_optimizer=sgd",
  "--augment=shift(1)", "--nocontrols", "--nolatency", "--accelerator=cpu",
)  # fmt: skip
# What the student, an MLP, has no path of.
BLOCKS = (
  r"^stage_\d/attention/(query|key|value)/kernel=-,model;"
  r"^stage_\d/attention/out/kernel=model;"
  r"mlp/dense_0/kernel=-,model; mlp/dense_1/kernel=model"
)
MESHES = {
  "data=2": [],
  "data=2,model=2": ["--shard_rules=transformer"],
  "data=-1": ["--shard_rules=fsdp"],
  "model=8": [f"--shard_rules={BLOCKS}"],
}


@pytest.fixture
def run(bare_runs, monkeypatch, tmp_path):
  """Runs on as many devices as a mesh has; returns the folder."""

  def run(mesh, *flags, teacher="mlp(32)", folder="run"):
    sizes = map(int, re.findall(r"\d+", mesh or "1"))
    count = 4 if "-1" in (mesh or "") else int(np.prod(list(sizes)))
    chosen = jax.devices()[:count]
    monkeypatch.setattr(placement, "choose", lambda accelerator: chosen)
    where = [f"--mesh={mesh}", *MESHES[mesh]] if mesh else []
    workdir = tmp_path / folder
    command = [*FLAGS, f"--teacher={teacher}", *flags, *where]
    status = launch.main(["launch.py", *command, f"--workdir={workdir}"])
    return status, workdir

  return run


def variables(workdir, name="student"):
  folder = workdir / name
  return storage.load_variables(folder, storage.read_note(folder))


def assert_same(one, other):
  for name in ("teacher", "student"):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
      variables(one, name),
      variables(other, name),
    )


# A method of answers, of features, of a batch's relations, with a memory.
@pytest.mark.slow
@pytest.mark.parametrize(
  ("method", "mesh"),
  [
    ("kd", "model=8"),
    ("fitnets", "data=2,model=2"),
    pytest.param("rkd", "data=2", marks=pytest.mark.exhaustive),
    ("crd", "data=-1"),
  ],
)
def test_every_mesh_gives_the_networks_of_one_device(run, method, mesh):
  flags = [f"--distillation={method}:0.1 + ce", f"--student={STUDENT}"]
  status, alone = run(None, *flags, teacher=TEACHER, folder="alone")
  assert status == 0
  status, there = run(mesh, *flags, teacher=TEACHER, folder=mesh)
  assert status == 0
  assert_same(alone, there)


@pytest.mark.slow
def test_a_teacher_of_four_devices_teaches_a_replicated_student(
  run, monkeypatch
):
  held = []

  def needs(program, arguments, **options):
    held.append((arguments[0], arguments[5]))
    sizes.append([on_each(tree) for tree in held[-1]])
    return found(program, arguments, **options)

  found, sizes = memory.needs, []
  monkeypatch.setattr(epochs.memory, "needs", needs)
  status, there = run("model=8", teacher=TEACHER)
  assert status == 0
  (student, teacher) = sizes[-1]
  whole = sum(x.nbytes for x in jax.tree.leaves(variables(there, "teacher")))
  assert len(set(teacher)) == 1 and whole >= 4 * teacher[0]
  assert all(x.is_fully_replicated for x in jax.tree.leaves(held[-1][0]))
  assert len(student) == 8
  status, alone = run(None, teacher=TEACHER, folder="alone")
  assert status == 0
  assert_same(alone, there)
  results = json.loads((there / "results.json").read_text())
  noted = results["performance"]["student + baseline"]["programs"][0]["memory"]
  assert noted["teachers"] == teacher[0]


def on_each(tree):
  """Bytes that every device holds."""
  held = dict.fromkeys(jax.devices(), 0)
  for x in jax.tree.leaves(tree):
    for shard in x.addressable_shards:
      held[shard.device] += shard.data.nbytes
  return list(held.values())


@pytest.mark.slow
def test_a_run_goes_on_on_another_mesh_and_on_none(run, monkeypatch):
  method = "--distillation=fitnets:0.1 + ce"
  status, alone = run(None, method, folder="alone")
  assert status == 0
  advance, calls = fit._advance, []

  def stop(*arguments):
    calls.append(1)
    # The teacher's epoch, then the student's first.
    if len(calls) == 3:
      raise RuntimeError("stopped")
    return advance(*arguments)

  monkeypatch.setattr(fit, "_advance", stop)
  flags = [method, "--checkpoint_minutes=0"]
  with pytest.raises(RuntimeError, match="stopped"):
    run("data=2,model=2", *flags)
  monkeypatch.setattr(fit, "_advance", advance)
  shutil.copytree(alone.parent / "run", alone.parent / "again")
  for second, folder in (("data=2", "run"), (None, "again")):
    status, workdir = run(second, *flags, folder=folder)
    assert status == 0
    assert_same(alone, workdir)
