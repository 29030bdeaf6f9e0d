"""What is refused before anything is computed: shapes, words, numbers.

Numbers may be Python's, NumPy's or JAX's, alone or in arrays. Those that are
traced have no value yet and are let through.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def read_numbers(value: Any) -> np.ndarray | None:
  """Reads a number, or an array of them, whoever made it.

  Args:
    value: a number or an array of Python, NumPy or JAX, of any dtype.

  Returns:
    The numbers in the widest precision that JAX is set to, where 1e-60 may be
    0 and 1e60 inf, as in the losses; None for what is traced, or lies on other
    machines.

  Example:
    >>> print(read_numbers(np.float16(2)), read_numbers(jnp.array([1, 3])))
    2.0 [1. 3.]
  """
  leaves = jax.tree.leaves(value)
  if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
    return None
  if isinstance(value, jax.Array) and not value.is_fully_addressable:
    return None
  array = np.asarray(jax.device_get(value))
  if array.dtype.kind in "cmMSU":
    raise TypeError(f"no real number: {value!r}")
  with np.errstate(all="ignore"):
    try:
      widest = array.astype(np.float64)
    except OverflowError:  # a Python integer of more than 308 digits
      return np.asarray(np.inf)
    return widest.astype(jax.dtypes.canonicalize_dtype(float))


def same_shape(function: str, student: jax.Array, teacher: jax.Array) -> None:
  """Refuses sides of two shapes.

  Example:
    >>> same_shape("kd", jnp.zeros((2, 3)), jnp.ones((2, 3)))
  """
  if student.shape != teacher.shape:
    raise ValueError(
      f"{function}: student and teacher must have the same shape, got"
      f" {student.shape} and {teacher.shape}"
    )


def classes(
  function: str, logits: jax.Array, *, parts: int = 1, least: int = 2
) -> None:
  """Refuses a softmax over one class, which is 1 whatever the logit.

  Args:
    logits: (..., C) float.
    parts: in how many arrays of so many classes the whole lies.
    least: the least number of classes; 1 where they are no classes, but places
      or keys, which may be one.
  """
  if parts * logits.shape[-1] < least:
    raise ValueError(
      f"{function}: the softmax of one class is 1 whatever the logit, got"
      f" {logits.shape}; a yes/no question has losses.binary_kd, and the task"
      " multilabel, or write its logit z as the two logits (0, z):"
      " jnp.stack([jnp.zeros_like(z), z], -1) with z = logits[..., 0]"
    )


def positive(function: str, **values: Any) -> None:
  """Refuses what is not > 0 and finite.

  Args:
    **values: by name, numbers or arrays of them.
  """
  for name, value in values.items():
    _check(function, name, value, "> 0", lambda x: (x > 0) & np.isfinite(x))


def weights(function: str, **values: Any) -> None:
  """Refuses a weight that is not >= 0 and finite.

  Args:
    **values: by name, numbers or arrays of them.
  """
  for name, value in values.items():
    _check(function, name, value, ">= 0", lambda x: (x >= 0) & np.isfinite(x))


def between(function: str, low: float, high: float, **values: Any) -> None:
  """Refuses what is not in [low, high].

  Args:
    **values: by name, numbers or arrays of them.

  Example:
    >>> between("symmetric_kl", 0, 1, lam=0.5)
  """
  for name, value in values.items():
    range_text = f"between {low} and {high}"
    _check(
      function, name, value, range_text, lambda x: (low <= x) & (x <= high)
    )


def python_number(
  function: str,
  condition: str,
  is_allowed: Callable[[float], bool],
  **values: Any,
) -> None:
  """Refuses what is no number of Python, which is compiled in, or not allowed.

  Args:
    condition: what is allowed, in words.
    is_allowed: number -> bool.
  """
  for name, value in values.items():
    if not isinstance(value, Real) or not is_allowed(value):
      raise ValueError(
        f"{function}: {name} must be a Python number {condition}, got {value!r}"
      )


def whole(
  function: str, name: str, value: Any, least: int = 1, most: int | None = None
) -> int:
  """Reads a whole number that is compiled in.

  Example:
    >>> whole("topk_kd", "k", np.int64(3), most=10)
    3
  """
  try:
    number = read_numbers(value)
  except (TypeError, ValueError):
    number = None
  single = number is not None and number.ndim == 0
  high = np.inf if most is None else most
  if not single or not least <= number <= high or number != np.floor(number):
    range_text = f">= {least}" if most is None else f"in {least} to {most}"
    raise ValueError(f"{function}: {name} must be {range_text}, got {value}")
  return int(value)


def choice(function: str, choices: tuple[str, ...], **values: Any) -> None:
  """Refuses a word that is not among the choices.

  Example:
    >>> choice("topk_kd", ("renormalize", "bucket"), tail="bucket")
  """
  for name, value in values.items():
    if value not in choices:
      raise ValueError(
        f"{function}: {name} must be one of {', '.join(choices)}, got {value!r}"
      )


def labels(function: str, student: jax.Array, ids: jax.Array) -> None:
  """Refuses labels that are not integers, one for each row.

  Args:
    student: (..., C) logits.
    ids: (...) labels.
  """
  if ids.shape != student.shape[:-1]:
    raise ValueError(
      f"{function}: labels must have the logits' leading shape, got"
      f" {ids.shape} for logits {student.shape}"
    )
  if not jnp.issubdtype(ids.dtype, jnp.integer):
    raise ValueError(
      f"{function}: labels must be integer class ids, got {ids.dtype}"
    )


def mask(function: str, values: jax.Array) -> jax.Array:
  """Reads a mask that says yes or no, and no weight between.

  Args:
    values: (...) bool, or 0 and 1 of any type. Traced whole numbers count where
      they are not 0; traced floats, which may be weights, are refused.

  Returns:
    (...) bool.

  Example:
    >>> print(mask("attention_kl", jnp.array([1, 0])))
    [ True False]
  """
  if jnp.issubdtype(values.dtype, jnp.bool_):
    return values
  numbers = read_numbers(values)
  if numbers is None:
    fits = jnp.issubdtype(values.dtype, jnp.integer)
  else:
    fits = np.all((numbers == 0) | (numbers == 1))
  if not fits:
    raise ValueError(
      f"{function}: mask must be boolean, it takes no weights, got"
      f" {values.dtype}; write mask > 0"
    )
  return values != 0


def _check(function, name, value, condition, are_allowed):
  """Raises a ValueError unless all numbers that are known are allowed."""
  try:
    numbers = read_numbers(value)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"{function}: {name} must be a number {condition}, got {value!r}"
    ) from error
  if numbers is not None and not np.all(are_allowed(numbers)):
    # What is infinite is > 0, and refused all the same.
    finite = " and finite" if np.any(np.isinf(numbers)) else ""
    raise ValueError(
      f"{function}: {name} must be {condition}{finite}, got {value}"
    )
