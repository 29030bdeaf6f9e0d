"""Methods as users write them in their own code."""

# By name: this file is read while the package still is.
from kdjax import methods
from kdjax.core.arguments import check_kind, check_text, check_whole
from kdjax.core.errors import UserError
from kdjax.core.method import Method
from kdjax.core.task import Task


def make_method(
  text: str,
  task: Task | None = None,
  steps: int | None = None,
  examples: int | None = None,
) -> Method:
  """Makes the method that a text names.

  Args:
    text: a method, "kd(temperature=2)", or a weighted sum, "kd:0.9 + ce:0.1".
    task: what answers and labels are; classes by default.
    steps: length of the training, for schedules, which are shares of it.
    examples: size of the training set, for methods that remember every example.

  Returns:
    The method.

  Raises:
    UserError: for what is no text, task or number, an unknown name or argument, a
      method that does not read the
      task's answers, and for `steps` or `examples` where a method needs them.

  Example:
    >>> make_method("kd(temperature=2):0.9 + ce:0.1").needs_teacher
    True
  """
  check_text("method", text)
  check_kind("task", task, "task", optional=True)
  steps, examples = (
    number if number is None else check_whole(name, number)
    for name, number in (("steps", steps), ("examples", examples))
  )
  if examples is None and methods.takes(text, "examples"):
    raise UserError(
      f"make_method({text!r}) remembers every training example: give their"
      " number, examples="
    )
  settings = {"task": task, "examples": examples}
  try:
    return methods.make_objective(text, steps=steps, **settings)
  except UserError:
    if steps is not None:
      raise
    # The same error, if something else is wrong.
    methods.make_objective(text, steps=1000, **settings)
  raise UserError(
    f"make_method({text!r}): a schedule is a share of the training: give its"
    " length, steps="
  )
