"""Which tasks settings and commands are for: one table, one line for a misfit.

What stands here speaks of classes by its nature. All else works for any task.
"""

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.task import KINDS, Task
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_flag, options, value_of
from kdjax.runner.pipeline.arms import STAND_INS
from kdjax.runner.pipeline.loaders import SAME
from kdjax.train.schemes.scheme import Scheme

CLASSES = ("categories",)
# Of these, what is about the one class of an example.
OF_EXAMPLES = (
  "class_sampling",
  "omit_classes",
  "specialists",
  "teacher_classes",
  "transfer_dataset",
  *STAND_INS,
)
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
# Tasks that a data set of examples cannot have: what is done instead.
_LANGUAGE = (
  "language models learn by lm; a teacher's answers to texts are kept by cache"
)
ELSEWHERE = {"lm": _LANGUAGE, "language_model": _LANGUAGE}
COMMANDS = dict.fromkeys(("quantify", "soft_td", "synthesise"), CLASSES)


def is_of_texts(task: str | None) -> bool:
  """Says whether a task that the user wrote is that of language models."""
  return task is not None and spec.parse(task).name in ELSEWHERE


def no_class(task: Task) -> str | None:
  """Says why an example has no class of its own; None where it has one."""
  if task.border_target is not None:
    return (
      f"an image has a class at every pixel, not one, in the task {task.name!r}"
    )
  if task.redraw is not None:
    return f"a text has no class in the task {task.name!r}"
  return None


def check_settings(experiment: Experiment, task: Task) -> None:
  """Refuses settings that mean nothing to a task."""
  for one in options():
    value = value_of(experiment, one)
    if one.flag in SETTINGS and value != one.field.default:
      _check(as_flag(one, value), SETTINGS[one.flag], task)
      if one.flag in OF_EXAMPLES and (reason := no_class(task)):
        raise UserError(f"{as_flag(one, value)}: {reason}")
  view = experiment.distillation.teacher_view
  if task.border_target is not None and view != SAME:
    raise UserError(
      f"--teacher_view={view}: in the task {task.name!r} what is known of a pixel"
      " stays with it; the teacher sees what the student sees, --teacher_view=same"
    )


def check_scheme(text: str, scheme: Scheme, task: Task) -> None:
  """Refuses a scheme whose networks answer other pixels than each other."""
  if scheme.other_views and no_class(task):
    raise UserError(
      f"--scheme={text}: its networks see two views of an example, and in the task"
      f" {task.name!r} they answer place by place; take one view"
    )


def check_mixing(task: Task, **flags: bool) -> None:
  """Refuses views that mix images where an image has several labels, or a map."""
  for flag, mixes in flags.items():
    if mixes and (task.kind == "binary" or task.border_target is not None):
      raise UserError(
        f"--{flag}: inputs that are mixed with others have no labels of their own"
        f" in the task {task.name!r}; leave mixing out"
      )


def check_command(command: str, task: Task) -> None:
  """Refuses a command that means nothing to a task; likewise."""
  _check(command, COMMANDS.get(command, KINDS), task)
  if command in COMMANDS and (reason := no_class(task)):
    raise UserError(f"{command}: {reason}")
  if command == "cache" and task.redraw is not None:
    raise UserError(
      f"cache: in the task {task.name!r} each step hides other tokens, of which"
      " nothing can be stored; teach by --teacher_from"
    )


def _check(subject: str, kinds: tuple[str, ...], task: Task) -> None:
  if task.kind not in kinds:
    raise UserError(
      f"{subject}: it is for tasks whose answers are {' or '.join(kinds)}, and those"
      f" of the data set's task {task.name!r} are {task.kind}"
    )
