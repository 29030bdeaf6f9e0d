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


# What makers call the number of numbers of an answer, or the labels for them.
_WIDTHS = ("classes", "labels", "outputs", "size")


def any_width(text: str) -> int:
  """Says for how many classes a task can be made of which only kind and score count.

  Example:
    >>> any_width("classification"), any_width("multilabel(positive_weight=(1, 3, 2))")
    (2, 3)
  """
  call = spec.parse(text)
  values = (*call.args, *dict(call.kwargs).values())
  return max((len(x) for x in values if isinstance(x, tuple)), default=2)


def make_task(text: str, *, width: int | None = None, **settings) -> Task:
  """Builds the task that the user wrote.

  Args:
    text: for example "classification(10)".
    width: how many classes, labels or numbers there are, where the text does not
      say it, whatever the task calls them.
    **settings: for the tasks that take them, such as `positive_weight`.

  Returns:
    The task; the same settings give the same one.

  Raises:
    UserError: for an unknown name, or arguments that the task refuses.

  Example:
    >>> make_task("classification", classes=10).score
    'accuracy'
  """
  if width is not None:
    settings = dict.fromkeys(_WIDTHS, width) | settings
  return spec.build("task", spec.parse(text), MAKERS, **settings)
