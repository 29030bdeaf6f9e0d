"""A teacher once, then students and baselines: plain, pruned, in few bits."""

import dataclasses
import time
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.models import quantized
from kdjax.runner.config import Compression, Experiment
from kdjax.runner.job import Context, Plan
from kdjax.runner.pipeline import fit, starts, teachers
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.plan import plan
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.pipeline.teacher_targets import with_targets
from kdjax.runner.pipeline.teachers import TeacherPool
from kdjax.runner.report import estimates
from kdjax.runner.report.progress import say

NETWORKS = ("student", "baseline")


class Variant(NamedTuple):
  """One way to train a student and its baseline."""

  experiment: Experiment
  setup: Setup


def variants(experiment: Experiment) -> dict[str, Variant]:
  """Checks all ways before any of them is gone.

  Args:
    experiment: the settings; of its `compression`, the sparsity is that of the
      pruned students, and the bits those of the quantised ones.
  """
  small = experiment.compression
  if not small.sparsity or small.quantization == quantized.NONE:
    raise UserError("compress compares: give --sparsity and --quantization")
  controls = dataclasses.replace(experiment.controls, controls=False)
  experiment = dataclasses.replace(experiment, controls=controls)
  compressions = {
    "plain": Compression(),
    "pruned": dataclasses.replace(small, quantization=quantized.NONE),
    "quantized": dataclasses.replace(small, sparsity=0.0),
  }
  ways = {}
  for name, compression in compressions.items():
    setup = prepare(dataclasses.replace(experiment, compression=compression))
    ways[name] = Variant(setup.experiment, setup)
  return ways


def build(experiment: Experiment) -> Plan:
  """Makes the setup of every variant; the settings tell all of their compression."""
  ways = variants(experiment)
  setup = ways["plain"].setup
  few = ways["quantized"].experiment.compression
  zeros = ways["pruned"].experiment.compression
  built = plan(experiment, setup, ways)
  both = dataclasses.replace(few, sparsity=zeros.sparsity)
  settings = dataclasses.replace(setup.experiment, compression=both)
  return built._replace(experiment=settings)


def train_teachers(ways: dict[str, Variant], context: Context) -> TeacherPool:
  """Trains the teachers of all variants, or loads them."""
  experiment, setup = ways["plain"]
  networks = len(ways) * len(NETWORKS) * experiment.student.seeds
  say(
    estimates.beforehand(
      "compress",
      trainings=len(ways),
      networks=networks,
      epochs=experiment.student.epochs,
    )
  )
  first = teachers.gather(experiment, setup, context.workdir, context.log)
  if first is None:
    raise UserError("compress: nobody learns from a teacher")
  return first


def train_students(
  ways: dict[str, Variant], context: Context
) -> dict[str, dict[str, Any]]:
  """Trains the students of every variant from the one teacher; (seeds, ...) by arm."""
  experiment, setup = ways["plain"]
  arms = _arms(setup, "plain").values()
  first = context.values["teacher"]
  pool = make_teachers(experiment, setup, first, arms)
  students, start = {}, time.perf_counter()
  for name, variant in ways.items():
    if len(students) == 1:
      seconds = time.perf_counter() - start
      say(estimates.underway("training", 1, len(ways), seconds))
    base = with_targets(variant.setup, first)
    train_spec = starts.begun(
      base.student._replace(arms=_arms(variant.setup, name)),
      base.start,
      context.values["teacher"].teacher.networks,
    )
    networks = fit.fit(base, train_spec, context.log, pool).networks
    students[name] = {
      kind: networks[title]
      for kind, title in zip(NETWORKS, train_spec.arms, strict=True)
    }
  return students


def _arms(setup: Setup, name: str) -> dict[str, Any]:
  titles = {kind: kind if name == "plain" else f"{kind}_{name}"
            for kind in NETWORKS}  # fmt: skip
  return {titles[kind]: setup.student.arms[kind] for kind in NETWORKS}
