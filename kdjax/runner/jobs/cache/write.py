"""A teacher's outputs, batch by batch, into files."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.core.task import batch_of
from kdjax.core.teacher import observe
from kdjax.data.teacher_cache.records import to_records
from kdjax.data.teacher_cache.store import (
  FOLDER,
  finish,
  is_written,
  write_shard,
)
from kdjax.runner.job import Context
from kdjax.runner.jobs.cache import texts
from kdjax.runner.jobs.cache.build import Caching
from kdjax.runner.pipeline import fit, predict
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.teacher_targets import with_targets
from kdjax.runner.pipeline.teachers import TeacherPool, TrainedNetworks
from kdjax.runner.report import teachers
from kdjax.runner.report.progress import progress
from kdjax.train.devices import placement, processes
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher

# Images at once, over all devices; the last ones are padded.
BATCH = 1024
SHARD_BYTES = 256 << 20


class Written(NamedTuple):
  """What was written.

  Attributes:
    teacher: JSON values of whoever answered.
  """

  teacher: dict[str, Any]
  rows: int
  seconds: float


def train_teacher(setup: Caching, context: Context) -> Any:
  """Trains the teacher, or loads it."""
  if isinstance(setup, texts.Caching):
    return None
  base = setup.base
  arm = base.student.arms["student"]._replace(teacher="teacher")
  return fit.obtain_teacher(
    base.experiment, base, context.workdir, context.log, [arm]
  )


def write_cache(setup: Caching, context: Context) -> Written:
  """Writes this host's shards, but for those that a stopped run wrote."""
  if isinstance(setup, texts.Caching):
    return texts.write(setup, context)
  base, teacher = setup.base, context.values["teacher"]
  train = base.dataset.train
  about = {
    "teacher": _scores(base, teacher),
    "data": {
      "name": base.dataset.name,
      "noun": base.dataset.noun,
      "examples": len(train.labels),
      "fingerprint": data.fingerprint(train),
    },
    "classes": base.dataset.classes,
    "views": setup.views,
    "command": context.command,
  }
  if not context.log.quiet:
    teachers.warn(about)
  start, ask = time.perf_counter(), _asker(base, teacher, setup.taps)
  rows = _write(base, context.workdir / FOLDER, ask, setup.kind, about)
  return Written(about["teacher"], rows, time.perf_counter() - start)


def _asker(
  base: Setup, networks: Any, taps: tuple[str, ...]
) -> Callable[..., Any]:
  """Returns (stored images, view numbers, index) -> the teacher's outputs."""
  draw = base.student.loaders["transfer"].view
  one = predict.first(networks)
  dtype = base.experiment.computing.teacher_dtype
  # Each process asks about the views of its own files.
  devices = placement.local(base.devices)
  teacher = placement.replicate(
    live_teacher(full_precision(base.teacher.network), one, dtype=dtype),
    devices,
  )

  @jax.jit
  def ask(teacher, images, numbers, index):
    return observe(
      teacher, batch_of(draw(numbers, images, index), index=index), taps
    )

  def answer(*batch):
    return ask(teacher, *placement.lay(batch, devices))

  return answer


def _write(
  base: Setup,
  folder: Path,
  ask: Callable[..., Any],
  kind: np.dtype,
  about: dict[str, Any],
) -> int:
  """Writes this process's shards; returns the number of all rows."""
  rows = about["views"]["count"] * about["data"]["examples"]
  shards = base.experiment.cache.shards
  shards = shards or max(1, round(rows * kind.itemsize / SHARD_BYTES))
  cuts = np.linspace(0, rows, shards + 1).astype(int)
  mine = range(jax.process_index(), shards, jax.process_count())
  with progress(len(mine), "cache", rows // shards, unit="file") as advance:
    for number in mine:
      rows_of_shard = np.arange(*cuts[number : number + 2])
      if not is_written(folder, number, shards):
        records = _records(base, ask, kind, rows_of_shard)
        write_shard(folder, number, shards, records)
      advance()
  # The manifest names the files of all processes.
  processes.largest(0)
  if processes.is_first():
    finish(folder, shards, kind, about)
  return rows


def _records(
  base: Setup, ask: Callable[..., Any], kind: np.dtype, rows: np.ndarray
) -> Iterator[np.ndarray]:
  """Yields what the teacher makes of some rows, batch by batch."""
  train = base.dataset.train
  devices = len(placement.local(base.devices))
  size = min(BATCH, predict.at_once(base.student.task, train.images))
  size = -(-size // devices) * devices
  padded_rows = np.resize(rows, (-(-len(rows) // size), size))
  views, examples = np.divmod(padded_rows.astype(np.int32), len(train.labels))
  workers = base.experiment.data.data_workers
  with data.open_reader(train, workers=workers) as read:
    for i, stored in enumerate(read(examples)):
      outputs = jax.device_get(ask(stored, views[i], examples[i]))
      records = to_records(
        kind, examples[i], views[i], outputs.answers, outputs.feats
      )
      yield records[: len(rows) - i * size]


def _scores(base: Setup, networks: Any) -> dict[str, Any]:
  """What is to be known of the teacher where it is not there."""
  one = jax.device_get(predict.first(networks))
  pool = TeacherPool((TrainedNetworks(base.teacher, networks),))
  base = with_targets(base, pool)
  logits = predict.predict(base.teacher, networks, base.score_split.images)
  return {
    "model": base.teacher.model.text,
    "digest": storage.digest(one),
    "parameters": evaluate.parameters(one["params"]),
    **predict.measured(base, base.teacher.task, logits),
    "validation": base.experiment.data.validation,
  }
