"""Training the student and its baseline side by side."""

from typing import Any

from kdjax.runner.job import Context
from kdjax.runner.jobs.lm.build import Setup
from kdjax.runner.pipeline import fit


def train(setup: Setup, context: Context) -> fit.FitResult:
  """Trains all members of both arms; the teacher is asked once for all."""
  setup = context.values["answers"]
  teachers: dict[str, Any] = {}
  if any(arm.teacher for arm in setup.student.arms.values()):
    teachers["teacher"] = setup.training_teacher
  return fit.fit(setup, setup.student, context.log, teachers)
