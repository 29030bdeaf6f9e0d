"""A teacher once, then students and baselines: plain, pruned, in few bits."""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.models import quantized
from kdjax.runner.config import Compression, Experiment
from kdjax.runner.pipeline import fit
from kdjax.runner.pipeline import teachers as teacher_pool
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.report import estimates
from kdjax.runner.report.logs import RunLog
from kdjax.runner.report.progress import say

NETWORKS = ("student", "baseline")


class Variant(NamedTuple):
  """One way to train a student and its baseline.

  Attributes:
    experiment: its settings.
    setup: of its run.
  """

  experiment: Experiment
  setup: Setup


def variants(experiment: Experiment) -> dict[str, Variant]:
  """Checks all ways before any of them is gone.

  Args:
    experiment: the settings; of its `compression`, the sparsity is that of the
      pruned students, and the bits those of the quantised ones.

  Returns:
    By name: "plain", "pruned" and "quantized".

  Raises:
    UserError: for whatever the user got wrong.

  Example:
    >>> variants(Experiment())
    Traceback (most recent call last):
      ...
    kdjax.core.errors.UserError: compress compares: give --sparsity and
    --quantization
  """
  small = experiment.compression
  if not small.sparsity or small.quantization == quantized.NONE:
    raise UserError("compress compares: give --sparsity and --quantization")
  controls = dataclasses.replace(experiment.controls, controls=False)
  experiment = dataclasses.replace(experiment, controls=controls)
  chosen = {
    "plain": Compression(),
    "pruned": dataclasses.replace(small, quantization=quantized.NONE),
    "quantized": dataclasses.replace(small, sparsity=0.0),
  }
  found = {}
  for name, compression in chosen.items():
    setup = prepare(dataclasses.replace(experiment, compression=compression))
    found[name] = Variant(setup.experiment, setup)
  return found


class Trained(NamedTuple):
  """All networks.

  Attributes:
    teacher: variables with a leading axis (1,).
    students: by variant, by "student" and "baseline", variables with a leading
      axis (seeds,).
  """

  teacher: Any
  students: dict[str, dict[str, Any]]


def train(found: dict[str, Variant], workdir: Path, log: RunLog) -> Trained:
  """Trains all, the students of every variant from the one teacher.

  Args:
    found: the ways.
    workdir: gets the teacher.
    log: gets a row an epoch; arms are called "student_pruned" and so on.

  Returns:
    The networks.

  Raises:
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written.
  """
  experiment, setup = found["plain"]
  networks = len(found) * len(NETWORKS) * experiment.student.seeds
  say(
    estimates.beforehand(
      "compress",
      trainings=len(found),
      networks=networks,
      epochs=experiment.student.epochs,
    )
  )
  pool = teacher_pool.gather(experiment, setup, workdir, log)
  if pool is None:
    raise UserError("compress: nobody learns from a teacher")
  arms = _arms(setup, "plain").values()
  teachers = make_teachers(experiment, setup, pool, arms)
  students, start = {}, time.perf_counter()
  for name, variant in found.items():
    if len(students) == 1:
      spent = time.perf_counter() - start
      say(estimates.underway("training", 1, len(found), spent))
    train_spec = variant.setup.student
    train_spec = train_spec._replace(arms=_arms(variant.setup, name))
    networks = fit.fit(variant.setup, train_spec, log, teachers).networks
    students[name] = {
      kind: networks[title]
      for kind, title in zip(NETWORKS, train_spec.arms, strict=True)
    }
  return Trained(pool.teacher.networks, students)


def _arms(setup: Setup, name: str) -> dict[str, Any]:
  titles = {kind: kind if name == "plain" else f"{kind}_{name}"
            for kind in NETWORKS}  # fmt: skip
  return {titles[kind]: setup.student.arms[kind] for kind in NETWORKS}
