"""A teacher whose classifier was left out: who may learn from it."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.arms import STAND_INS
from kdjax.runner.pipeline.pretrained import KEEP, TUNED
from kdjax.train.dry_run import reads_answers


def check(
  experiment: Experiment,
  arms: Mapping[str, Any],
  student: nn.Module,
  teacher: nn.Module,
  sample: jax.Array,
  task: Task,
) -> None:
  """Refuses to learn from the answers of a classifier that was never trained."""
  head = experiment.teacher.teacher_head
  if head in (KEEP, TUNED):
    return
  for name, arm in arms.items():
    if arm.teacher is None:
      continue
    method = arm.method({key: value[0] for key, value in arm.settings.items()})
    if arm.teacher in STAND_INS or reads_answers(
      student, teacher, method, sample, task, arm.scheme
    ):
      raise UserError(
        f"--teacher_head={head}: {name.replace('_', ' ')} would learn from the"
        " teacher's answers, which mean nothing without its classifier; methods"
        " that look at features alone are such as attention_transfer, rkd, crd,"
        " review_kd and 'fitnets:1 + ce'"
      )
