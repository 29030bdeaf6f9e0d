"""Which tasks settings and commands are for: one table, one line for a misfit.

What stands here speaks of classes by its nature. All else works for any task.
"""

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.task import KINDS, Task
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_flag, options, value_of
from kdjax.runner.pipeline.arms import STAND_INS

CLASSES = ("categories",)
# By flag, for what kinds of answers it is where it is not at its default.
SETTINGS = dict.fromkeys(
  (
    "class_sampling",
    "labels",
    "omit_classes",
    "pool",
    "specialists",
    "teacher_classes",
    "transfer_dataset",
    *STAND_INS,
  ),
  CLASSES,
)
# Tasks that a data set of examples with labels cannot have: what is done instead.
_LANGUAGE = (
  "language models learn by lm; a teacher's answers to texts are kept by cache"
)
ELSEWHERE = {"lm": _LANGUAGE, "language_model": _LANGUAGE}
COMMANDS = dict.fromkeys(("quantify", "soft_td", "synthesise"), CLASSES)


def is_of_texts(task: str | None) -> bool:
  """Says whether a task that the user wrote is that of language models."""
  return task is not None and spec.parse(task).name in ELSEWHERE


def check_settings(experiment: Experiment, task: Task) -> None:
  """Refuses settings that mean nothing to a task."""
  for one in options():
    value = value_of(experiment, one)
    if one.flag in SETTINGS and value != one.field.default:
      _check(as_flag(one, value), SETTINGS[one.flag], task)


def check_mixing(task: Task, **flags: bool) -> None:
  """Refuses views that mix images where an image has several labels."""
  for flag, mixes in flags.items():
    if mixes and task.kind == "binary":
      raise UserError(
        f"--{flag}: inputs that are mixed with others have no labels of their own"
        f" in the task {task.name!r}; leave mixing out"
      )


def check_command(command: str, task: Task) -> None:
  """Refuses a command that means nothing to a task; likewise."""
  _check(command, COMMANDS.get(command, KINDS), task)


def _check(subject: str, kinds: tuple[str, ...], task: Task) -> None:
  if task.kind not in kinds:
    raise UserError(
      f"{subject}: it is for tasks whose answers are {' or '.join(kinds)}, and those"
      f" of the data set's task {task.name!r} are {task.kind}"
    )
