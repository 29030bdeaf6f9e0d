"""The hallway of `launch.py cache`: data -> teacher -> what it makes of each view.

Read `cache` from top to bottom; every line is a room.
"""

import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.core.errors import UserError, counted, program
from kdjax.core.task import batch_of
from kdjax.data.teacher_cache.records import record_type, to_records
from kdjax.data.teacher_cache.store import finish, write_shard
from kdjax.runner.config import Experiment, options
from kdjax.runner.pipeline import fit, predict
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.cached_teacher import FOLDER, views_of
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.report import formats, logs, teachers
from kdjax.runner.report.progress import progress
from kdjax.runner.system.workdir import claim
from kdjax.train.arm import teacher_taps
from kdjax.train.devices import placement
from kdjax.train.state import frozen_state
from kdjax.train.teacher import live_teacher, observe

# Images at once, over all devices; the last ones are padded.
BATCH = 1024
SHARD_BYTES = 256 << 20


def cache(experiment: Experiment, *, name: str, command: str) -> Path:
  """Writes a teacher's outputs for every view of every training image.

  Args:
    experiment: all settings.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder of the cache, below the run's.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if the teacher's loss leaves the finite numbers.
    StorageError: if something cannot be written or read.
  """
  views = _limited(experiment)
  student = dataclasses.replace(experiment.student, views=views["count"])
  setup = prepare(dataclasses.replace(experiment, student=student))
  experiment = setup.experiment
  taps = _taps(setup)
  kind = _record(setup, taps)
  workdir = claim(experiment.run.workdir, f"{name}-cache")
  arm = setup.student.arms["student"]._replace(teacher="teacher")
  with logs.RunLog(workdir) as log:
    teacher = fit.obtain_teacher(experiment, setup, workdir, log, [arm])
  about = {
    "teacher": _scores(setup, teacher),
    "data": {
      "name": setup.dataset.name,
      "examples": len(setup.dataset.train.labels),
      "fingerprint": data.fingerprint(setup.dataset.train),
    },
    "classes": setup.dataset.classes,
    "views": views,
    "command": command,
  }
  teachers.warn(about)
  start = time.perf_counter()
  rows = _write(
    setup, workdir / FOLDER, _asker(setup, teacher, taps), kind, about
  )
  seconds = time.perf_counter() - start
  print(_summary(experiment, workdir, kind, rows, seconds))
  return workdir / FOLDER


def _limited(experiment: Experiment) -> dict[str, Any]:
  if experiment.teacher.teacher_cache is not None:
    raise UserError(
      f"cache: --teacher_cache={experiment.teacher.teacher_cache} is one already"
    )
  views = views_of(experiment)
  if views["count"] is None:
    raise UserError(
      f"cache: --augment={experiment.student.augment!r} has no end of views; say"
      " how many of each image there are to be, such as --views=4"
    )
  return views


def _taps(setup: Setup) -> tuple[str, ...]:
  """What is to be kept: what was named, or what the method looks at."""
  given = setup.experiment.cache.taps
  if given is not None:
    return tuple(given.split())
  return teacher_taps([setup.student.arms["student"]])


def _record(setup: Setup, taps: tuple[str, ...]) -> np.dtype:
  """Finds the shapes of what the teacher shows, without computing anything."""
  chosen, network = setup.experiment.cache, setup.teacher.network

  def show(key):
    variables = network.init(key, setup.sample, train=False)
    teacher = live_teacher(frozen_state(network, variables))
    return observe(teacher, batch_of(setup.sample), taps)

  outputs = jax.eval_shape(show, jax.random.key(0))
  for tap, value in outputs.feats.items():
    if not hasattr(value, "shape"):
      raise UserError(f"cache: tap {tap!r} is several arrays; keep one of them")
  return record_type(
    setup.dataset.classes,
    top_k=chosen.top_k if chosen.form == "top_k" else None,
    taps={tap: value.shape[1:] for tap, value in outputs.feats.items()},
    dtype=chosen.dtype,
  )


def _asker(
  setup: Setup, networks: Any, taps: tuple[str, ...]
) -> Callable[..., Any]:
  """Returns (stored images, view numbers, index) -> the teacher's outputs."""
  draw = setup.student.loaders["transfer"].view
  one = predict.first(networks)
  kept = setup.experiment.computing.teacher_dtype
  teacher = placement.replicate(
    live_teacher(frozen_state(setup.teacher.network, one, kept)), setup.devices
  )

  @jax.jit
  def ask(teacher, stored, numbers, index):
    return observe(
      teacher, batch_of(draw(numbers, stored, index), index=index), taps
    )

  def asked(*batch):
    return ask(teacher, *placement.lay(batch, setup.devices))

  return asked


def _write(
  setup: Setup,
  folder: Path,
  ask: Callable[..., Any],
  kind: np.dtype,
  about: dict[str, Any],
) -> int:
  """Writes this host's shards; returns the number of its rows."""
  rows = about["views"]["count"] * about["data"]["examples"]
  shards = setup.experiment.cache.shards
  shards = shards or max(1, round(rows * kind.itemsize / SHARD_BYTES))
  cuts = np.linspace(0, rows, shards + 1).astype(int)
  mine = range(jax.process_index(), shards, jax.process_count())
  written = 0
  with progress(len(mine), "cache", rows // shards, unit="file") as advance:
    for number in mine:
      own = np.arange(*cuts[number : number + 2])
      records = _records(setup, ask, kind, own)
      write_shard(folder, number, shards, records)
      written += len(own)
      advance()
  finish(folder, shards, kind, about)
  return written


def _records(
  setup: Setup, ask: Callable[..., Any], kind: np.dtype, rows: np.ndarray
) -> Iterator[np.ndarray]:
  """Yields what the teacher makes of some rows, batch by batch."""
  train = setup.dataset.train
  size = -(-BATCH // len(setup.devices)) * len(setup.devices)
  padded = np.resize(rows, (-(-len(rows) // size), size))
  views, examples = np.divmod(padded.astype(np.int32), len(train.labels))
  workers = setup.experiment.data.data_workers
  with data.open_reader(train, workers=workers) as read:
    for i, stored in enumerate(read(examples)):
      outputs = jax.device_get(ask(stored, views[i], examples[i]))
      records = to_records(
        kind, examples[i], views[i], outputs.answers, outputs.feats
      )
      yield records[: len(rows) - i * size]


def _scores(setup: Setup, networks: Any) -> dict[str, Any]:
  """What is to be known of the teacher where it is not there."""
  one = jax.device_get(predict.first(networks))
  logits = predict.predict(setup.teacher, networks, setup.score_split.images)
  return {
    "model": setup.teacher.model,
    "digest": storage.digest(one),
    "parameters": evaluate.parameters(one["params"]),
    **evaluate.measure(logits, setup.score_split.labels),
    "validation": setup.experiment.data.validation,
  }


def _summary(
  experiment: Experiment,
  workdir: Path,
  kind: np.dtype,
  rows: int,
  seconds: float,
) -> str:
  files = (workdir / FOLDER).glob("*.array_record")
  size = sum(file.stat().st_size for file in files)
  return (
    f"\n{counted(rows, 'record')} of {kind.itemsize} bytes, {size / 2**20:.1f} MiB, at"
    f" {formats.count(rows / seconds)} a second: {workdir / FOLDER}\n"
    f"{shlex.join(_next(experiment, workdir))}"
  )


def _next(experiment: Experiment, workdir: Path) -> list[str]:
  """The command that learns from the cache."""
  words = ["kdjax"] if program() == "kdjax" else ["python", "launch.py"]
  for one in options.options():
    value = getattr(getattr(experiment, one.group), one.field.name)
    shared = one.group == "data" or one.flag in (
      "augment",
      "views",
      "view_seed",
    )
    if shared and value != one.field.default:
      several = isinstance(value, tuple)
      text = ",".join(map(str, value)) if several else str(value)
      words.append(f"--{one.flag}={text}")
  return [*words, f"--teacher_cache={workdir}"]
