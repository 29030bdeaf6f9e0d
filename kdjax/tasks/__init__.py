"""Tasks by name: what a batch, an answer and a score are.

One task, one file, found automatically: `kdjax.tasks.classification(10)`. See
`kdjax.core.task` for what a task is made of.
"""

from kdjax.core import spec
from kdjax.core.registry import import_modules
from kdjax.core.task import Task
from kdjax.tasks.registry import MAKERS, register

import_modules("kdjax.tasks")

# A maker has its file's name, and takes its place here.
globals().update(MAKERS)

__all__ = ["MAKERS", "make_task", "register", *MAKERS]


def make_task(text: str, **settings) -> Task:
  """Builds the task that the user wrote.

  Args:
    text: for example "classification(10)".
    **known: settings for the tasks that take them, such as `classes`.

  Returns:
    The task; the same settings give the same one.

  Raises:
    UserError: for an unknown name, or arguments that the task refuses.

  Example:
    >>> make_task("classification", classes=10).score
    'accuracy'
  """
  return spec.build("task", spec.parse(text), MAKERS, **settings)
