"""A teacher once, then students and twins: plain, pruned, in few bits."""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.models import quantized
from kdjax.runner.config import Compression, Experiment
from kdjax.runner.pipeline import fit
from kdjax.runner.pipeline import teachers as faculty
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.setup import Prepared
from kdjax.runner.pipeline.stand_ins import teachers_of
from kdjax.runner.report import estimates
from kdjax.runner.report.logs import RunLog
from kdjax.runner.report.progress import say

LEARNERS = ("student", "baseline")


class Variant(NamedTuple):
  """One way to train a student and its twin.

  Attributes:
    experiment: its settings.
    parts: of its run.
  """

  experiment: Experiment
  parts: Prepared


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
    parts = prepare(dataclasses.replace(experiment, compression=compression))
    found[name] = Variant(parts.experiment, parts)
  return found


class Trained(NamedTuple):
  """All networks.

  Attributes:
    teacher: variables with a leading axis (1,).
    learners: by variant, by "student" and "baseline", variables with a leading
      axis (seeds,).
  """

  teacher: Any
  learners: dict[str, dict[str, Any]]


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
  experiment, parts = found["plain"]
  networks = len(found) * len(LEARNERS) * experiment.student.seeds
  say(
    estimates.beforehand(
      "compress",
      trainings=len(found),
      networks=networks,
      epochs=experiment.student.epochs,
    )
  )
  taught = faculty.gather(experiment, parts, workdir, log)
  if taught is None:
    raise UserError("compress: nobody learns from a teacher")
  arms = _arms(parts, "plain").values()
  teachers = teachers_of(experiment, parts, taught, arms)
  learners, start = {}, time.perf_counter()
  for name, variant in found.items():
    if len(learners) == 1:
      spent = time.perf_counter() - start
      say(estimates.underway("training", 1, len(found), spent))
    trainee = variant.parts.student
    trainee = trainee._replace(arms=_arms(variant.parts, name))
    networks = fit.fit(variant.parts, trainee, log, teachers).networks
    learners[name] = {
      kind: networks[title]
      for kind, title in zip(LEARNERS, trainee.arms, strict=True)
    }
  return Trained(taught.teacher.networks, learners)


def _arms(parts: Prepared, name: str) -> dict[str, Any]:
  titles = {kind: kind if name == "plain" else f"{kind}_{name}"
            for kind in LEARNERS}  # fmt: skip
  return {titles[kind]: parts.student.arms[kind] for kind in LEARNERS}
