"""What is for classes by its nature refuses other tasks, in one line."""

import pytest

from kdjax.core.errors import UserError
from kdjax.core.task import KINDS
from kdjax.runner.config import Experiment, options
from kdjax.runner.job import find_jobs
from kdjax.runner.pipeline import kinds
from kdjax.runner.pipeline.values import with_task
from kdjax.tasks import classification


def of_kind(kind):
  return classification(3)._replace(name="mine", kind=kind)


def settings(**flags):
  return options.with_flags(Experiment(), flags)


TYPED = {
  "class_sampling": "balanced",
  "labels": "100",
  "omit_classes": "3",
  "pool": "confidence",
  "specialists": "2",
  "teacher_classes": "imagenet",
  "transfer_dataset": "noise_images",
} | dict.fromkeys(
  (
    "shuffled_teacher",
    "uniform_teacher",
    "noise_teacher",
    "matched_smoothing",
  ),
  True,
)


def test_the_table_is_of_flags_and_commands_that_are_there():
  assert set(TYPED) == set(kinds.SETTINGS)
  assert set(kinds.SETTINGS) <= {one.flag for one in options.options()}
  assert set(kinds.COMMANDS) <= set(find_jobs())


@pytest.mark.parametrize("flag", TYPED)
def test_settings_of_classes(flag):
  experiment = settings(**{flag: TYPED[flag]})
  kinds.check_settings(experiment, of_kind("categories"))
  with pytest.raises(
    UserError, match=f"^--{flag}.* 'mine' are values"
  ) as error:
    kinds.check_settings(experiment, of_kind("values"))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_run_is_for_every_task(kind):
  kinds.check_settings(Experiment(), of_kind(kind))


@pytest.mark.parametrize("command", kinds.COMMANDS)
def test_commands_of_classes(command):
  kinds.check_command(command, of_kind("categories"))
  with pytest.raises(UserError, match=f"^{command}: .* are embedding"):
    kinds.check_command(command, of_kind("embedding"))


@pytest.mark.parametrize(
  ("text", "kind", "becomes"),
  [
    ("response", "categories", "response"),
    ("response", "binary", "response"),
    ("response", "values", "logit_mse"),
    ("response", "embedding", "cosine"),
    ("rkd", "values", "rkd"),
  ],
)
def test_what_a_student_learns_by_where_nothing_is_named(text, kind, becomes):
  made = with_task(settings(distillation=text), of_kind(kind))
  assert made.distillation.distillation == becomes
