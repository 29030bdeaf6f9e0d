"""Storage that fails while a training runs: one line, and the last good state."""

import errno
import io
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

import launch
from kdjax import data
from kdjax.core import storage
from kdjax.core.errors import StorageError
from kdjax.data.teacher_cache import store
from kdjax.data.teacher_cache.records import record_type
from kdjax.runner import cli
from kdjax.runner.report import logs, pictures
from kdjax.train.epoch import Epoch
from kdjax.train.fault_tolerance import checkpoints, preemption, resume

pytestmark = pytest.mark.usefixtures("quick_runs")

# The most bytes that a file may have while the disk is "full": what fails is
# what would fail there, a write of the system's.
DISK_BYTES = 4096


def epoch(step):
  states = {"student": {"kernel": np.full((64, 64), step, np.float32)}}
  noise = np.random.default_rng(step).normal(size=(64, 64))
  states["student"]["noise"] = noise.astype(np.float32)
  return Epoch(step, step, True, 0, states, {})


@contextmanager
def full_disk():
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def open_run(folder, minutes=0):
  return resume.recoverable(
    folder / "checkpoints" / "student",
    lambda: epoch(0).states,
    minutes=minutes,
  )


def check_goes_on_from(folder, step):
  with open_run(folder) as (found, _):
    assert found.step == step
    for one, other in zip(
      jax.tree.leaves(found.states),
      jax.tree.leaves(epoch(step).states),
      strict=True,
    ):
      np.testing.assert_array_equal(one, other)


def test_disk_full_is_said_and_the_training_goes_on(tmp_path, capfd):
  with open_run(tmp_path) as (_, keep):
    keep(epoch(1))
    keep(epoch(2))
  with full_disk(), open_run(tmp_path) as (found, keep):
    assert found.step == 2
    keep(epoch(3))
    keep(epoch(4))
  said = capfd.readouterr().err
  assert "cannot write" in said and "goes on" in said
  assert "Traceback" not in said
  check_goes_on_from(tmp_path, 2)


def test_disk_full_for_a_while(tmp_path):
  with open_run(tmp_path) as (_, keep):
    keep(epoch(1))
    with full_disk():
      keep(epoch(2))
      keep(epoch(3))
    keep(epoch(4))
    keep(epoch(5))
  check_goes_on_from(tmp_path, 5)


def test_disk_full_when_asked_to_stop_is_no_success(tmp_path, monkeypatch):
  @contextmanager
  def on_request():
    yield lambda: "SIGTERM"

  with open_run(tmp_path) as (_, keep):
    keep(epoch(1))
  monkeypatch.setattr(preemption, "on_request", on_request)
  with (
    full_disk(),
    pytest.raises(StorageError) as raised,
    open_run(tmp_path) as (_, keep),
  ):
    keep(epoch(2))
  assert raised.value.exit_status == 4
  monkeypatch.undo()
  check_goes_on_from(tmp_path, 1)


def test_second_ctrl_c_while_it_is_saved(tmp_path, monkeypatch):
  """The user does not wait: what was saved before, or this, is whole."""

  @contextmanager
  def on_request():
    yield lambda: "SIGINT"

  with open_run(tmp_path) as (_, keep):
    keep(epoch(1))
  with monkeypatch.context() as patch:
    patch.setattr(preemption, "on_request", on_request)
    patch.setattr(checkpoints, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path) as (_, keep):
      keep(epoch(2))
  check_goes_on_from(tmp_path, 2)


def interrupted(*_):
  raise KeyboardInterrupt


def out_of_memory(*_):
  raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


@pytest.mark.parametrize(
  ("fault", "status", "said"),
  [
    (interrupted, 130, "interrupted"),
    (out_of_memory, 70, "out of memory; lower --batch_size"),
  ],
)
def test_what_ends_a_run_is_one_line(monkeypatch, capsys, fault, status, said):
  monkeypatch.setattr(cli, "run", fault)
  assert launch.main(["launch.py", "list"]) == status
  assert capsys.readouterr().err == f"launch.py: {said}\n"


def full_resource(*_):
  # What tensorstore makes of a full disk.
  raise RuntimeError(
    'RESOURCE_EXHAUSTED: Error writing "run/teacher/d": No space left on device'
  )


def of_number(number, path=None):
  def fault(*_):
    raise OSError(number, os.strerror(number), path)

  return fault


def chained(*_):
  try:
    of_number(errno.ENOSPC, "a.json")()
  except OSError as error:
    raise ValueError("could not serialise") from error


@pytest.mark.parametrize(
  ("fault", "said"),
  [
    (full_resource, 'Error writing "run/teacher/d": No space left on device'),
    (
      of_number(errno.ENOSPC, "run/a.json"),
      "cannot write run/a.json: No space",
    ),
    (of_number(errno.EDQUOT, "run/a.json"), "cannot write run/a.json: Disk"),
    (of_number(errno.EFBIG, "run/a.json"), "cannot write run/a.json: File too"),
    (
      of_number(errno.EROFS, "run/a.json"),
      "cannot write run/a.json: Read-only",
    ),
    (of_number(errno.EIO, "run/a.json"), "cannot read or write run/a.json"),
    (chained, "cannot write a.json: No space left on device"),
  ],
)
def test_a_disk_that_is_full_is_never_called_memory(
  monkeypatch, capsys, fault, said
):
  monkeypatch.setattr(cli, "run", fault)
  assert launch.main(["launch.py", "list"]) == 4
  error = capsys.readouterr().err
  assert said in error and "memory" not in error
  assert error.startswith("launch.py: ") and error.count("\n") == 1


NOISE = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def save_teacher(folder):
  storage.save_network(folder / "teacher", {"kernel": NOISE}, {})


def save_checkpoint(folder):
  opened = checkpoints.open_series(folder / "checkpoints" / "student")
  checkpoints.save(opened, 1, {"kernel": NOISE}, {})
  checkpoints.close(opened)


def write_rows(folder):
  with logs.RunLog(folder) as log:
    for step in range(100):
      log.write({"network": "student", "step": step, "more": "x" * 100})


def write_scalars(folder):
  with logs.RunLog(folder) as log:
    # Only the means go to TensorBoard: it is full first.
    log._file.close()
    log._file = io.StringIO()
    for step in range(1000):
      log.write({"network": "student", "step": step, "loss": 0.5})


def write_shard(folder):
  kind = record_type(64, dtype="float32")
  records = np.zeros(64, kind)
  records["logits"] = NOISE
  store.write_shard(folder, 0, 1, iter([records]))


@pytest.mark.parametrize(
  ("write", "file"),
  [
    (save_teacher, "teacher"),
    (save_checkpoint, "checkpoints/student"),
    (write_rows, "metrics.jsonl"),
    (write_scalars, "events.out.tfevents"),
    (write_shard, "shard-00000-of-00001.array_record"),
    (
      lambda folder: logs.write_json(
        folder / "results.json", list(range(9999))
      ),
      "results.json",
    ),
    (
      lambda folder: logs.write_text(folder / "report.html", "x" * 9999),
      "report.html",
    ),
    (
      lambda folder: pictures.save_figures(folder, {"a": b"<svg/>" * 9999}),
      "a.svg",
    ),
  ],
)
def test_disk_full_while_anything_is_written(tmp_path, capfd, write, file):
  with full_disk(), pytest.raises(StorageError) as raised:
    write(tmp_path)
  assert file in str(raised.value) and "\n" not in str(raised.value)
  assert raised.value.exit_status == 4
  assert "Traceback" not in capfd.readouterr().err


def test_what_a_teacher_raises_is_not_called_a_disk(tmp_path):
  def records():
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    yield

  with pytest.raises(RuntimeError, match="Out of memory"):
    store.write_shard(tmp_path, 0, 1, records())


def test_disk_full_at_the_last_checkpoint_costs_no_results(tmp_path, capfd):
  with open_run(tmp_path, minutes=60) as (_, keep):
    keep(epoch(1), last=True)
  with full_disk(), open_run(tmp_path, minutes=60) as (_, keep):
    keep(epoch(2), last=True)
  said = capfd.readouterr().err
  assert said.count("\n") == 1 and "cannot write" in said
  check_goes_on_from(tmp_path, 1)


def test_log_after_a_crash_has_every_step_once(tmp_path):
  with logs.RunLog(tmp_path) as log:
    for step in (6, 12, 18):
      for network in ("student", "baseline"):
        log.write({"network": network, "epoch": step // 6, "step": step})
  path = tmp_path / logs.METRICS
  path.write_bytes(path.read_bytes() + b'{"network": "stud')
  # The last checkpoint was of step 12.
  with logs.RunLog(tmp_path) as log:
    log.rewind({"student", "baseline"}, 12)
    for step in (18, 24):
      log.write({"network": "student", "epoch": step // 6, "step": step})
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  steps = [row["step"] for row in rows if row["network"] == "student"]
  assert steps == [6, 12, 18, 24]


@pytest.fixture
def streamed(prepare):
  """A set that is read as it is needed, and the file it is read from."""
  features = {
    "image": tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8),
    "label": tfds.features.ClassLabel(num_classes=2),
  }
  rows = [
    {"image": np.full((4, 4, 1), i, np.uint8), "label": i % 2}
    for i in range(40)
  ]
  path = prepare(features, rows)
  opened = data.load(str(path), resident_bytes=0).train
  assert not data.resident(opened)
  shard = next(path for path in Path(path).iterdir() if "train" in path.name)
  return opened, shard


def test_shard_that_is_cut_off_while_it_is_streamed(streamed):
  opened, shard = streamed
  shard.write_bytes(shard.read_bytes()[:100])
  with pytest.raises(StorageError, match="example 0: .*toy.*train"):
    list(data.stream(opened, np.arange(40).reshape(10, 4)))


def test_shard_that_vanishes_while_it_is_streamed(streamed):
  """It is open: the system keeps it until the run has read it."""
  opened, shard = streamed
  shard.unlink()
  plan = np.arange(40).reshape(10, 4)
  found = np.concatenate(list(data.stream(opened, plan)))[:, 0, 0, 0]
  assert found.tolist() == list(range(40))


def test_image_that_vanishes_while_it_is_streamed(folder):
  noise = np.random.default_rng(0).integers(0, 255, (12, 4, 4))
  path = folder({f"{'ab'[i % 2]}/{i}.png": noise[i] for i in range(12)})
  opened = data.load(f"image_folder(path={str(path)!r})", resident_bytes=0)
  (path / "a" / "0.png").unlink()
  plan = np.arange(len(opened.train.labels))[:, None]
  with pytest.raises(StorageError, match="example 0: .*0.png"):
    list(data.stream(opened.train, plan))
