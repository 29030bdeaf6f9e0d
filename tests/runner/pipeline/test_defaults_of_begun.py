"""What was trained before is trained gently, unless somebody says how."""

import pytest

from kdjax.runner.config import Experiment
from kdjax.runner.config.commands import (
  CacheConfig,
  DistillConfig,
  LanguageConfig,
)
from kdjax.runner.config.options import with_flags
from kdjax.runner.pipeline.defaults import as_begun

GENTLE = "adamw(weight_decay=0.01)", "linear(warmup=0.1)"
PLAIN = "adam", "cosine"
TUNED = {"teacher_from": "x", "teacher_head": "tuned"}

# Command, what is typed, then how teacher and student are trained.
CASES = [
  (DistillConfig, {}, (*PLAIN, 60), PLAIN),
  (DistillConfig, {"teacher_from": "x"}, (*PLAIN, 60), PLAIN),
  (DistillConfig, TUNED, (*GENTLE, 3), PLAIN),
  (CacheConfig, TUNED, (*GENTLE, 3), PLAIN),
  (DistillConfig, TUNED | {"teacher_optimizer": "adam"},
   ("adam", GENTLE[1], 3), PLAIN),
  (DistillConfig, TUNED | {"teacher_epochs": "60"}, (*GENTLE, 60), PLAIN),
  (DistillConfig, TUNED | {"teacher_schedule": "cosine"},
   (GENTLE[0], "cosine", 3), PLAIN),
  (DistillConfig, {"student_from": "x"}, (*PLAIN, 60), GENTLE),
  (DistillConfig, {"student": "layers(3)"}, (*PLAIN, 60), GENTLE),
  (DistillConfig, {"student": "layers(3)", "optimizer": "adam"},
   (*PLAIN, 60), ("adam", GENTLE[1])),
  (DistillConfig, {"student_from": "x", "optimizer": "sgd"},
   (*PLAIN, 60), ("sgd", GENTLE[1])),
  (LanguageConfig, {"student_from": "x"}, (*PLAIN, 60), PLAIN),
  (LanguageConfig, {"student": "layers(3)"}, (*PLAIN, 60), PLAIN),
]  # fmt: skip


@pytest.mark.parametrize(("config", "typed", "teacher", "student"), CASES)
def test_how_networks_are_trained(config, typed, teacher, student):
  experiment = as_begun(config, with_flags(Experiment(), typed), typed)
  one, other = experiment.teacher, experiment.student
  assert (one.optimizer, one.schedule, one.epochs) == teacher
  assert (other.optimizer, other.schedule) == student
