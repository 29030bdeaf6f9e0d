"""Worker processes read what threads read, and go when the run goes."""

import multiprocessing
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from kdjax.core.errors import InfrastructureError, StorageError
from kdjax.data import load, open_reader, select, stream

ROOT = pathlib.Path(__file__).parent.parent.parent
PLAN = np.random.default_rng(0).integers(0, 15, (7, 5))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
  """A folder of 20 images of 6 x 6 pixels."""
  path = tmp_path_factory.mktemp("images")
  for number in range(20):
    file = path / f"{'ab'[number % 2]}/{number:02}.png"
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (6, 6), (number, 2 * number, 0)).save(file)

  return path


@pytest.fixture(scope="module")
def split(images):
  found = load(str(images), resident_bytes=0).train
  return select(found, np.arange(15))


@pytest.fixture(scope="module")
def read(split):
  with open_reader(split, workers=2) as read:
    yield read


def workers():
  return [
    process
    for process in multiprocessing.active_children()
    if process.name == "kdjax data worker"
  ]


def test_the_same_batches(split, read):
  expected = np.stack(list(stream(split, PLAN)))
  for _ in range(2):  # the processes stay for the next portion
    np.testing.assert_array_equal(np.stack(list(read(PLAN))), expected)


def test_signals_to_the_whole_group_do_not_end_them(read):
  for process in workers():
    for kind in (signal.SIGTERM, signal.SIGINT):
      os.kill(process.pid, kind)
  assert len(list(read(PLAN))) == 7


def test_a_lost_file_is_named_and_the_rest_can_be_read(images, split, read):
  file = images / "a/02.png"
  content = file.read_bytes()
  file.unlink()
  lost = np.array([[0, 1], [2, 1]])
  try:
    message = r"example 1: cannot read the image .*a/02.png: FileNotFoundError"
    with pytest.raises(StorageError, match=message):
      list(read(lost))
    with pytest.raises(StorageError, match=message):
      list(stream(split, lost))
  finally:
    file.write_bytes(content)
  assert len(list(read(PLAN))) == 7


@pytest.mark.slow
def test_a_huge_image_is_named_by_threads_and_workers(images, split, read):
  file = images / "a/02.png"
  content = file.read_bytes()
  # The same file, which says that it has 20,000 x 20,000 pixels.
  head = b"IHDR" + struct.pack(">II", 20_000, 20_000) + content[24:29]
  huge = head + struct.pack(">I", zlib.crc32(head))
  file.write_bytes(content[:12] + huge + content[33:])
  message = "example 1: cannot read the image .*a/02.png: ValueError: more than"
  try:
    for reader in (read, lambda plan: stream(split, plan)):
      with pytest.raises(StorageError, match=message):
        list(reader(np.array([[0, 1], [2, 1]])))
  finally:
    file.write_bytes(content)


@pytest.mark.slow
def test_a_killed_worker_is_told_and_the_others_end(split):
  before = set(workers())
  with open_reader(split, workers=2) as read:
    own = set(workers()) - before
    assert len(own) == 2
    next(iter(own)).kill()
    message = r"data worker \d+ died \(SIGKILL\).*--data_workers"
    with pytest.raises(InfrastructureError, match=message):
      for _ in range(10):
        list(read(PLAN))
  assert not own & set(workers())


def running(parent, name):
  """Living processes of one parent whose command holds `name`."""
  found = []
  for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      stat = (folder / "stat").read_text().rpartition(")")[2].split()
      command = (folder / "cmdline").read_text()
    except OSError:  # gone meanwhile
      continue
    if stat[0] != "Z" and int(stat[1]) == parent and name in command:
      found.append(int(folder.name))
  return found


def alive(process):
  try:
    stat = pathlib.Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds):
  limit = time.monotonic() + seconds
  while time.monotonic() < limit and not condition():
    time.sleep(0.05)
  return condition()


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "status"), [("worker", 70), ("run", -9)])
def test_a_run_whose_worker_dies_and_one_that_is_killed(
  images, tmp_path, victim, status
):
  settings = {
    "dataset": images,
    "workdir": tmp_path / "run",
    "data_workers": 2,
    "resident_megabytes": 0,
    "teacher": "mlp(4)",
    "teacher_epochs": 100_000,
    "teacher_batch_size": 4,
    "teacher_augment": "none",
  }
  flags = [f"--{name}={value}" for name, value in settings.items()]
  run = subprocess.Popen(
    [sys.executable, "launch.py", *flags, "--distillation=kd"],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
    env=os.environ | {"XLA_FLAGS": ""},
  )
  try:
    metrics = tmp_path / "run" / "metrics.jsonl"
    trains = lambda: metrics.exists() and metrics.stat().st_size  # noqa: E731
    assert wait_until(lambda: run.poll() is not None or trains(), 240)
    own = running(run.pid, "spawn_main")
    assert len(own) == 2
    os.kill(own[0] if victim == "worker" else run.pid, signal.SIGKILL)
    said = run.communicate(timeout=120)[1]
    assert run.returncode == status, said
    if victim == "worker":
      assert "Traceback" not in said
      assert said.splitlines()[-1].startswith("launch.py: data worker ")
    assert wait_until(lambda: not any(map(alive, own)), 30)
  finally:
    run.kill()
