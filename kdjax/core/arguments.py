"""What functions of the library refuse that is of another kind than they take."""

import inspect
import operator
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError


class Kind(NamedTuple):
  """What a value of one kind is told by.

  Attributes:
    expected: what makes one, in words.
    has: attributes that together no value of another kind has.
  """

  expected: str
  has: tuple[str, ...]


KINDS = {
  "network": Kind(
    "a Network from from_linen, from_nnx or from_apply",
    ("apply", "collections", "native"),
  ),
  "teacher": Kind(
    "a Teacher from live_teacher, stored_teacher or ensemble",
    ("arrays", "show", "head"),
  ),
  "task": Kind(
    "a Task, such as kdjax.tasks.classification(10)",
    ("batch", "rows", "metrics"),
  ),
  "method": Kind(
    "a Method from make_method", ("init", "apply", "student_taps")
  ),
  "objective": Kind(
    "an Objective from kdjax.objective(method, student, task)",
    ("init", "loss", "network"),
  ),
  # Some of optax, such as MultiSteps, are of another class.
  "optimizer": Kind(
    "an optimiser of optax, such as optax.adam(1e-3)", ("init", "update")
  ),
  "placement": Kind(
    "a Placement: jit(), pmap() or sharded(mesh, rules)",
    ("compile", "put"),
  ),
  "checkpoints": Kind(
    "kdjax.Checkpoints(folder)", ("save", "restore_by_note", "folder")
  ),
  "state": Kind(
    "the State that step.init or the step before returned",
    ("params", "opt_state", "average"),
  ),
  "distilled": Kind(
    "what distill returns, or a list of it",
    ("variables", "metrics", "history"),
  ),
  "mesh": Kind("a mesh from jax.make_mesh", ("devices", "axis_names")),
}


def check_kind(
  argument: str, value: Any, kind: str, *, optional: bool = False
) -> None:
  """Refuses what is of another kind.

  Args:
    argument: its name, for the message.
    kind: one of KINDS.
    optional: whether None will do.

  Raises:
    UserError: says what makes one, and what was given.

  Example:
    >>> check_kind("task", "classification", "task")
    Traceback (most recent call last):
    kdjax.core.errors.UserError: task= takes a Task, such as \
kdjax.tasks.classification(10); got 'classification'
  """
  if optional and value is None:
    return
  expected, has = KINDS[kind]
  if isinstance(value, type) or not all(hasattr(value, name) for name in has):
    raise misfit(argument, expected, value)


def check_whole(argument: str, value: Any, *, least: int = 1) -> int:
  """Returns a whole number, of Python or NumPy, as one of Python.

  Raises:
    UserError: for what is none, or less than the least.

  Example:
    >>> check_whole("epochs", np.int64(3))
    3
  """
  try:
    number = operator.index(value)
  except TypeError:
    number = None
  if number is None or isinstance(value, bool) or number < least:
    raise misfit(argument, f"a whole number >= {least}", value)
  return number


def check_key(argument: str, value: Any) -> None:
  """Refuses what is no PRNG key, new or old style, or several.

  Raises:
    UserError: names the argument.

  Example:
    >>> check_key("key", jax.random.key(0))
  """
  dtype, shape = getattr(value, "dtype", None), jnp.shape(value)
  if dtype is None or isinstance(value, type):
    shape = None
  elif jnp.issubdtype(dtype, jax.dtypes.prng_key):
    shape = (*shape, 2)
  elif dtype != jnp.uint32:
    shape = None
  if shape is None or len(shape) != 1:
    raise misfit(argument, "one PRNG key, such as jax.random.key(0)", value)


def check_path(argument: str, value: Any) -> None:
  """Refuses what names no file or folder.

  Raises:
    UserError: names the argument.

  Example:
    >>> check_path("folder", "runs/mine")
  """
  if not isinstance(value, str | os.PathLike) or value == "":
    raise misfit(argument, "a path, such as 'runs/mine'", value)


def check_text(argument: str, value: Any) -> None:
  """Refuses what is no text.

  Raises:
    UserError: names the argument.

  Example:
    >>> check_text("label", "species")
  """
  if not isinstance(value, str):
    raise misfit(argument, "a text", value)


def check_function(argument: str, value: Any) -> None:
  """Refuses what cannot be called, and modules, which are called otherwise.

  Raises:
    UserError: names the argument.

  Example:
    >>> check_function("call", lambda apply, variables, inputs: inputs)
  """
  if not callable(value) or isinstance(value, type) or _framework(value):
    raise misfit(argument, "a function", value)


def misfit(argument: str, expected: str, value: Any) -> UserError:
  """Returns the error for a value of another kind.

  Args:
    expected: what is meant, in words.
    value: what was given.

  Example:
    >>> print(misfit("epochs", "a whole number >= 1", "3"))
    epochs= takes a whole number >= 1; got '3'
  """
  return UserError(f"{argument}= takes {expected}; got {words(value)}")


def words(value: Any) -> str:
  """Says what a value is that is of no kind that is wanted.

  Example:
    >>> words(0.5), words(jax.jit), words((1, 2)), words(dict)
    ('0.5', 'the function jit', 'a tuple of 2', 'a class; give what it makes: dict(...)')
  """
  if isinstance(value, type):
    return f"a class; give what it makes: {value.__name__}(...)"
  if value is None or isinstance(value, bool | int | float | str):
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
  if inspect.isroutine(value):
    return f"the function {value.__name__}"
  kind = type(value).__name__
  if maker := _framework(value):
    return f"{kind}, which {maker}(module) takes"
  if type(value) in (tuple, list, dict, set):
    return f"a {kind} of {len(value)}"
  if hasattr(value, "dtype") and hasattr(value, "shape"):
    return f"an array of {value.dtype}{list(value.shape)}"
  return kind


def _framework(value: Any) -> str | None:
  """What takes a module of flax; None for what is none."""
  bases = {base.__module__ for base in type(value).__mro__}
  for name, maker in (("nnx", "from_nnx"), ("linen", "from_linen")):
    if f"flax.{name}.module" in bases:
      return maker
  return None
