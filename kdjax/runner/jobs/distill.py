"""The hallway: data -> teacher -> students -> figures -> report.

Read `run` from top to bottom; every line is a room.
"""

import shutil
from pathlib import Path

from kdjax.core import storage
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.pipeline import (
  best_epochs,
  fingerprints,
  fit,
  footprint,
  measure,
  warnings,
)
from kdjax.runner.pipeline import teachers as teacher_pool
from kdjax.runner.pipeline.arms import objective_text
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.setup import network_note
from kdjax.runner.pipeline.stages import train_stages
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.report import logs
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim
from kdjax.train.devices import processes
from kdjax.train.fault_tolerance import resume


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Runs an experiment from data to report.

  Args:
    experiment: all settings; several values of one make it a sweep.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html and all else; of several
    processes the first writes it.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written or read.
  """
  seconds, quiet = {}, not processes.is_first()
  with fit.timed(seconds, "total"):
    with fit.timed(seconds, "data"):
      given, setup = experiment, prepare(experiment)
      there = {} if quiet else fingerprints.of_setup(setup)
      experiment = setup.experiment
    chosen, settings = experiment.run, as_dict(experiment)
    workdir = claim(
      chosen.workdir, name, settings, resume=chosen.resume, seen=there
    )
    if not quiet:
      warnings.say(given, setup)
    with logs.RunLog(workdir, recoverable=True, quiet=quiet) as log:
      arms = setup.student.arms.values()
      with fit.timed(seconds, "teacher"):
        first = teacher_pool.gather(experiment, setup, workdir, log)
        last, chain = train_stages(experiment, setup, first, workdir, log)
      with fit.timed(seconds, "students"):
        teachers = make_teachers(experiment, setup, last, arms, first)
        note = network_note(setup, setup.student) | footprint.note(experiment)
        kept = best_epochs.wanted(experiment, workdir, note)
        fitted = fit.fit(setup, setup.student, log, teachers, best=kept)
        setup = setup._replace(student=fitted.train_spec)
    if quiet:
      return workdir
    with fit.timed(seconds, "evaluation"):
      measured = measure.measure(
        experiment,
        setup,
        first and first.teacher.networks,
        fitted.networks,
        fitted.together,
        first
        and teacher_pool.pooled_answers(
          experiment, last, setup.score_split.images
        ),
      )
    found = measured.scores
    if first:
      found["teacher"] |= teacher_pool.scores(experiment, setup, first)
    if chain:
      found["chain"] = chain
    note |= found["student"]["settings"]
    storage.save_network(
      workdir / "student", measured.networks["student"], note
    )
    found |= footprint.scores(experiment, setup, workdir / "student")
  found |= {
    "name": name,
    "command": command,
    "experiment": settings,
    "objective": objective_text(experiment),
    "environment": environment.describe(setup.devices),
    "fingerprints": {
      "shown": there["sha256 of the training images"],
      "scored": there["sha256 of the scored images"],
    },
    "performance": log.performance,
    "seconds": seconds,
  }
  logged = logs.read_history(workdir)
  if chosen.nan != "stop":
    found["lost_steps"] = resume.lost_steps(logged)
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import record

  history = measure.history_at_best(experiment, measured, logged)
  page = record.write_run(workdir, found, history, measured.samples)
  shutil.rmtree(workdir / resume.FOLDER, ignore_errors=True)
  print(f"\n{record.summary(found)}\n\n{page}")
  return workdir
