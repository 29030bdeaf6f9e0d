"""Runs of several processes: the same bits, one end for all, and a new start."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

from kdjax.core import storage

ROOT = pathlib.Path(__file__).parents[3]
TINY = (
  "--accelerator=cpu", "--distillation=hard", "--student=mlp(8, dropout=0.2)",
  "--seeds=1", "--nocontrols", "--augment=shift(1)", "--batch_size=256",
  "--checkpoint_minutes=0",
)  # fmt: skip
LONG = (*TINY, "--dataset=digits", "--epochs=60", "--evaluate_every=60")


def by_flags(index, count, port):
  return (
    "--multihost", f"--coordinator_address=127.0.0.1:{port}",
    f"--process_count={count}", f"--process_index={index}",
  ), {}  # fmt: skip


def by_slurm(index, count, port):
  return ("--multihost",), {
    "SLURM_JOB_ID": str(port), "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": str(count), "SLURM_PROCID": str(index),
    "SLURM_LOCALID": str(index), "SLURM_STEP_NUM_NODES": "1",
  }  # fmt: skip


def by_open_mpi(index, count, port):
  return ("--multihost",), {
    "OMPI_MCA_orte_hnp_uri": f"{port}.0;tcp://127.0.0.1:1",
    "OMPI_COMM_WORLD_SIZE": str(count), "OMPI_COMM_WORLD_RANK": str(index),
    "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
  }  # fmt: skip


class Job:
  """Processes of one run."""

  def __init__(self, flags, count=2, told=by_flags, devices=1, more=None):
    port = random.SystemRandom().randrange(20000, 32000)
    self.processes = []
    for index in range(count):
      own, environment = ((), {}) if told is None else told(index, count, port)
      extra = (more or {}).get(index, ())
      self.processes.append(
        subprocess.Popen(
          [sys.executable, "launch.py", *flags, *own, *extra]
          + [f"--host_devices={devices}"] * (devices > 1),
          cwd=ROOT,
          env={
            **os.environ,
            **environment,
            "XLA_FLAGS": "--xla_backend_optimization_level=0"
            " --xla_cpu_use_fusion_emitters=false",
          },
          stdout=subprocess.DEVNULL,
          stderr=subprocess.PIPE,
          text=True,
          start_new_session=True,
        )
      )

  def ends(self, *among):
    """Waits; returns (status, what was said) of all, or of some."""
    chosen = [self.processes[i] for i in among] or self.processes
    try:
      said = [one.communicate(timeout=300)[1] for one in chosen]
    finally:
      self.kill()
    return [
      (one.returncode, text) for one, text in zip(chosen, said, strict=True)
    ]

  def kill(self):
    for one in self.processes:
      one.kill()
      one.wait()
      one.stderr.close()


def kept(workdir):
  """The steps of the checkpoints."""
  folder = workdir / "checkpoints"
  return [int(one.name) for one in folder.glob("*/" + "[0-9]" * 9)]


def wait_for_checkpoint(job, workdir, after=0):
  """Waits until all processes train, and one checkpoint more is there."""
  after = max(after, *kept(workdir), 0)
  until = time.monotonic() + 240
  while max(kept(workdir), default=0) <= after:
    if any(one.poll() is not None for one in job.processes):
      pytest.fail(f"ended early: {job.ends()}")
    assert time.monotonic() < until
    time.sleep(0.05)


def digests(workdir):
  return json.loads((workdir / "results.json").read_text())["student"]["digest"]


def lines(said):
  """What was said of an end; that one seed shows no spread is none."""
  found = [x for x in said.splitlines() if x.startswith("launch.py: ")]
  return [line for line in found if "launch.py: warning: " not in line]


@pytest.mark.slow
def test_whatever_happens_two_processes_end_as_one(tmp_path):
  """Asked to stop, killed, stalled, begun anew each time: the same bits."""
  one, two = tmp_path / "one", tmp_path / "two"
  ((status, said),) = Job(
    (*LONG, f"--workdir={one}"), 1, told=None, devices=2
  ).ends()
  assert status == 0, said
  flags = (*LONG, f"--workdir={two}", "--heartbeat_timeout=20")

  job = Job(flags)
  wait_for_checkpoint(job, two)
  job.processes[1].send_signal(signal.SIGTERM)
  (status, said), (other, silence) = job.ends()
  assert (status, other) == (75, 75), said + silence
  assert ["SIGTERM: stopped after step" in x for x in lines(said)] == [True]
  assert ["SIGTERM: stopping after" in x for x in lines(silence)] == [True]
  assert f"step {max(kept(two))}," in said

  # Long enough for compiling, which counts as a step.
  slow = ("--step_timeout=40", "--heartbeat_timeout=200")
  job = Job((*LONG, f"--workdir={two}", *slow), told=by_slurm)
  wait_for_checkpoint(job, two)
  job.processes[1].send_signal(signal.SIGSTOP)
  ((status, said),) = job.ends(0)
  # Sockets that were just connecting give up before the step does.
  check_lost(status, said, "process 1 of 2", "goes on from its last checkpoint")

  job = Job(flags, told=by_open_mpi)
  wait_for_checkpoint(job, two)
  job.processes[0].kill()
  ((status, said),) = job.ends(1)
  assert status == 70, said
  assert ["process 0 of 2 " in x for x in lines(said)] == [True]

  (status, said), (other, silence) = Job(flags).ends()
  assert (status, other) == (0, 0), said + silence
  assert lines(silence) == []
  assert digests(two) == digests(one)
  assert {file.name for file in two.iterdir()} == {
    file.name for file in one.iterdir()
  }


@pytest.mark.slow
def test_two_processes_share_a_mesh_and_go_on_on_another(tmp_path):
  """Whole model groups in a process, then one model cut over both."""
  one, two = tmp_path / "one", tmp_path / "two"
  flags = (
    *SMALL, "--accelerator=cpu", "--student=mlp(16)", "--seeds=1",
    "--nocontrols", "--augment=shift(1)", "--batch_size=256", "--epochs=30",
    "--optimizer=sgd", "--evaluate_every=30", "--checkpoint_minutes=0",
    "--nolatency",
  )  # fmt: skip
  ((status, said),) = Job((*flags, f"--workdir={one}"), 1, told=None).ends()
  assert status == 0, said
  rules = "--shard_rules=stage_.*kernel=-,model"
  flags = (*flags, f"--workdir={two}", rules, "--heartbeat_timeout=30")
  job = Job((*flags, "--mesh=data=2,model=2"), devices=2)
  # The teacher takes six steps.
  wait_for_checkpoint(job, two, after=6)
  job.processes[1].send_signal(signal.SIGTERM)
  ends = job.ends()
  assert [status for status, _ in ends] == [75, 75], ends
  ends = Job((*flags, "--mesh=data=1,model=4"), devices=2).ends()
  assert [status for status, _ in ends] == [0, 0], ends
  for name in ("teacher", "student"):
    notes = [storage.read_note(folder / name) for folder in (one, two)]
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
      storage.load_variables(one / name, notes[0]),
      storage.load_variables(two / name, notes[1]),
    )


def check_lost(status, said, *parts):
  assert status == 70, said
  assert len(lines(said)) == 1, said
  assert all(part in lines(said)[0] for part in parts), said
  assert "stack trace" not in said


SMALL = (
  "--dataset=digits", "--teacher=mlp(8)", "--teacher_epochs=1",
  "--teacher_batch_size=256",
)  # fmt: skip

QUANTIFY = (
  "--student=mlp(16)", "--tap=stage_0", "--teacher_epochs=2", "--epochs=1",
  "--label_epochs=1", "--seeds=1", "--batch_size=256",
  "--teacher_batch_size=256", "--explained_images=5", "--grid=4",
  "--probes=8", "--images_at_once=2", "--compared_images=2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
  ("command", "same", "flags"),
  [
    (
      "compare", ("student", "methods"),
      (*SMALL, "--methods=kd", "--student=mlp(4)", "--epochs=1", "--seeds=2",
       "--batch_size=256", "--search_rates=0.01", "--search_weights=1",
       "--search_smoothing=0.1", "--search_seeds=1", "--nolatency"),
    ),
    ("cache", ("teacher", "cache"),
     (*SMALL, "--augment=shift(1)", "--views=2", "--cache_shards=2")),
    pytest.param(
      "soft_td", ("teacher", "student", "baseline", "rounds"),
      (*SMALL, "--student=mlp(4)", "--epochs=1", "--seeds=2",
       "--batch_size=256", "--sources=2", "--rounds=2", "--search_rates=0.01",
       "--nolatency"),
      marks=pytest.mark.exhaustive,
    ),
    pytest.param(
      "compress", ("table",),
      (*SMALL, "--student=mlp(16)", "--epochs=1", "--seeds=1",
       "--batch_size=256", "--nolatency"),
      marks=pytest.mark.exhaustive,
    ),
    pytest.param(
      "synthesise", ("teacher", "student", "baseline", "synthesis"),
      ("--dataset=digits", "--student=mlp(4)", "--seeds=2", "--epochs=1",
       "--images_per_class=1", "--inner_epochs=2", "--outer_steps=10",
       "--network_inits=2", "--fresh_networks=2", "--real_rates=0.1"),
      marks=pytest.mark.exhaustive,
    ),
  ],
)  # fmt: skip
def test_other_commands_end_as_one(command, same, flags, tmp_path):
  results = as_one_and_two(tmp_path, command, *flags)
  # soft_td is the same to rounding, the others bit for bit.
  apart = ("second", "digest") if command == "soft_td" else ("second",)
  for name in same:
    check_close(*(without(one[name], apart) for one in results))
  if command == "cache":
    assert results[1]["cache"]["records"] == 2 * 1442


@pytest.mark.slow
def test_language_models_end_as_one(tmp_path):
  teacher, rows = tmp_path / "teacher", tmp_path / "rows.jsonl"
  tiny_folder(teacher, characters(), scale=4.0)
  write_rows(rows, [{"text": one} for one in documents(20)])
  results = as_one_and_two(
    tmp_path, "lm", f"--text={rows}", f"--teacher_from={teacher}",
    "--sequence_length=24", "--batch_size=8", "--epochs=2", "--seeds=2",
    "--policy=mixed(student=0.5)", "--max_new_tokens=4", "--prompt_tokens=4",
  )  # fmt: skip
  for name in ("teacher", "student", "baseline", "completions", "exposure"):
    check_close(*(without(one[name], ("second",)) for one in results))


def as_one_and_two(tmp_path, command, *flags):
  """Results of a run in one process with two devices, and of one in two."""
  found = []
  for name, how in (("one", (1, None, 2)), ("two", (2, by_flags, 1))):
    folder = tmp_path / name
    flags = (*flags, "--accelerator=cpu")
    job = Job((command, *flags, f"--workdir={folder}"), *how)
    (status, said), *others = job.ends()
    assert status == 0, said
    # The first process alone says what is done.
    assert ": compiling" in said
    assert all(not status and "compiling" not in x for status, x in others)
    text = (folder / "results.json").read_text()
    found.append(json.loads(text.replace(str(folder), "WORKDIR")))
  one, two = (
    {file.name for file in (tmp_path / x).iterdir()} for x in ("one", "two")
  )
  assert one == two
  return found


def without(tree, parts):
  """Leaves out what differs: all whose name has one of these in it."""
  if isinstance(tree, list):
    return [without(one, parts) for one in tree]
  if not isinstance(tree, dict):
    return tree
  return {
    name: without(one, parts)
    for name, one in tree.items()
    if not any(part in name for part in parts)
  }


def check_close(one, other):
  """Digests and words are equal, numbers to rounding."""
  one, other = jax.tree.flatten(one), jax.tree.flatten(other)
  assert one[1] == other[1]
  for x, y in zip(one[0], other[0], strict=True):
    near = isinstance(x, float) and abs(x - y) <= 1e-5 * max(abs(x), 1e-3)
    assert x == y or near, (x, y)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_quantify_goes_on_where_two_processes_were_killed(tmp_path):
  flags = ("quantify", *QUANTIFY, "--accelerator=cpu")
  one, two = tmp_path / "one", tmp_path / "two"
  ((status, said),) = Job(
    (*flags, f"--workdir={one}"), 1, told=None, devices=2
  ).ends()
  assert status == 0, said
  job = Job((*flags, f"--workdir={two}"))
  until = time.monotonic() + 240
  while not [*(two / "training" / "teacher").glob("*/network.json")]:
    assert time.monotonic() < until
    time.sleep(0.05)
  job.processes[1].kill()
  ((status, said),) = job.ends(0)
  check_lost(status, said, "process 1 of 2 gives no sign of life")
  (status, said), (other, silence) = Job((*flags, f"--workdir={two}")).ends()
  assert (status, other) == (0, 0), said + silence
  results = [
    json.loads((folder / "results.json").read_text()) for folder in (one, two)
  ]
  assert results[1]["quantify"]["checkpoints"]["reused"] > 0
  for name in ("teacher", "student", "baseline", "quantify"):
    check_close(*(without(x[name], ("second", "checkpoints")) for x in results))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_four_processes_end_as_one_on_images_that_are_read(tmp_path):
  """As one with four devices that adds them up as several processes do."""
  from PIL import Image

  generator = np.random.default_rng(0)
  for split, count in (("train", 50), ("test", 4)):
    for number in range(count):
      file = tmp_path / "set" / split / str(number % 2) / f"{number}.png"
      file.parent.mkdir(parents=True, exist_ok=True)
      image = generator.integers(0, 256, (8, 8), np.uint8)
      Image.fromarray(image).save(file)
  flags = (
    *TINY, f"--dataset={tmp_path / 'set'}", "--resident_megabytes=0",
    "--epochs=2", "--batch_size=12",
  )  # fmt: skip
  one, four = tmp_path / "one", tmp_path / "four"
  for status, said in (
    Job((*flags, f"--workdir={one}"), 1, devices=4).ends()
    + Job((*flags, f"--workdir={four}"), 4, told=by_slurm).ends()
  ):
    assert status == 0, said
  assert digests(four) == digests(one)


@pytest.mark.slow
def test_nobody_waits_for_whom_never_comes(tmp_path):
  flags = (*LONG, f"--workdir={tmp_path / 'run'}", "--init_timeout=5")
  for index in (0, 1):
    told = lambda _, count, port, index=index: by_flags(index, 2, port)  # noqa: E731
    ((status, said),) = Job(flags, 1, told=told).ends()
    assert status == 70, said
    assert ["--init_timeout=5" in line for line in lines(said)] == [True], said
    assert "stack trace" not in said
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  ("folder", "more", "said"),
  [
    (".", {}, "holds files"),
    ("new", {1: ["--epochs=7"]}, "different settings"),
  ],
)
def test_a_refusal_of_one_ends_all(tmp_path, folder, more, said):
  (tmp_path / "mine").write_text("")
  flags = (*LONG, f"--workdir={tmp_path / folder}")
  ends = Job(flags, more=more).ends()
  assert [status for status, _ in ends] == [2, 2], ends
  assert any(said in line for line in lines(ends[0][1])), ends
  assert [file.name for file in tmp_path.iterdir()] == ["mine"]
