"""Which of a teacher's classes is which of the data set's."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import UserError, quantity, unknown_name

BY_NAME, IN_ORDER = "name", "order"
# The parameters with a column for each class.
HEADS = {"head", "head_dist"}


def check_same(
  source: str, theirs: Sequence[str] | None, ours: Sequence[str]
) -> None:
  """Refuses a teacher whose classes are others, or in another order.

  Args:
    theirs: the teacher's names of the classes; None where they are unknown.
  """
  if theirs is None or tuple(theirs) == tuple(ours):
    return
  pairs = zip(theirs, ours, strict=False)
  number = next(
    (i for i, (one, other) in enumerate(pairs) if one != other),
    min(len(theirs), len(ours)),
  )
  names = [
    repr(side[number]) if number < len(side) else "none"
    for side in (theirs, ours)
  ]
  if set(ours) <= set(theirs):
    same = len(ours) == len(theirs)
    difference = (
      "the same classes in another order" if same else "a part of them"
    )
    way = "--teacher_classes=name puts them in order"
  else:
    difference = "other names"
    way = (
      "--teacher_classes=FILE says which is which,"
      " --teacher_classes=order that they are the same in this order"
    )
  raise UserError(
    f"--teacher_from={source}: class {number} is {names[0]} for the teacher and"
    f" {names[1]} in the data: {difference}; {way}"
  )


def read_map(
  rule: str,
  ours: Sequence[str],
  theirs: Sequence[str] | None,
  classes: int,
) -> np.ndarray:
  """Finds the teacher's class for each of the data set's.

  Args:
    rule: `--teacher_classes`: "name", for equal names; "order", for equal
      places; or a file of a line a class: the data set's name, a comma, the
      teacher's name or number.
    theirs: the teacher's; None where they are unknown.

  Returns:
    (C,) int: for each class of the data set, the teacher's.
  """
  if rule == IN_ORDER:
    if classes != len(ours):
      raise UserError(
        f"--teacher_classes=order: the teacher knows {classes} classes, the data"
        f" set has {len(ours)}; a file says which is which"
      )
    return np.arange(classes)
  if rule == BY_NAME:
    if theirs is None:
      raise UserError(
        "--teacher_classes=name: the teacher does not say what its classes are"
        " called; a file may give their numbers"
      )
    # A class that is called "1" is not the teacher's second one.
    for name in ours:
      if name not in theirs:
        raise unknown_name("class of the teacher's", name, theirs)
    entries = {name: name for name in ours}
  else:
    entries = _read_file(Path(rule).expanduser(), ours)
  numbers = [_number(entries[name], theirs, classes) for name in ours]
  for number in numbers:
    if numbers.count(number) > 1:
      twice = [ours[i] for i, one in enumerate(numbers) if one == number]
      raise UserError(
        f"--teacher_classes={rule}: {' and '.join(map(repr, twice[:2]))} are"
        f" both the teacher's class {number}"
      )
  return np.array(numbers)


def in_order(variables: Any, order: np.ndarray) -> Any:
  """Puts a network's outputs in another order, or takes a part of them.

  Args:
    order: (C,) the output that becomes the first, the second, ...
  """
  return _with_heads(variables, lambda x: x[..., order], "--teacher_classes")


def without_head(variables: Any, classes: int, kind: str) -> Any:
  """Puts an untrained classifier in a trained one's place.

  Args:
    kind: "drop" for one of zeros, whose answers say nothing; "new" for one that
      is drawn afresh, of deviation 0.01 and always the same.
  """
  rng = np.random.default_rng(0)

  def fresh(x):
    shape = (*np.shape(x)[:-1], classes)
    # Biases begin at 0, as everywhere.
    at_random = kind == "new" and len(shape) > 1
    values = rng.normal(0, 0.01, shape) if at_random else np.zeros(shape)
    return values.astype(np.float32)

  return _with_heads(variables, fresh, "--teacher_head")


def headless(variables: Any) -> Any:
  """Leaves a network's classifiers out: whoever trains it draws new ones."""
  params = variables["params"]
  kept = {name: x for name, x in params.items() if name not in HEADS}
  return {**variables, "params": kept}


def _with_heads(variables: Any, change: Callable, flag: str) -> Any:
  params = variables["params"]
  heads = {name: params[name] for name in sorted(HEADS & params.keys())}
  if not heads:
    raise UserError(f"{flag}: the teacher has no classifier called 'head'")
  return {**variables, "params": {**params, **jax.tree.map(change, heads)}}


def _number(name: str, theirs: Sequence[str] | None, classes: int) -> int:
  """The teacher's class of this name, or else of this number."""
  numbers = [i for i, other in enumerate(theirs or ()) if other == name]
  if len(numbers) > 1:
    raise UserError(
      f"--teacher_classes: {name!r} is what the teacher calls its classes"
      f" {numbers[0]} and {numbers[1]}; a file may give the number"
    )
  if numbers:
    return numbers[0]
  # No number of classes has more digits; Python reads no more than 4300.
  if name.isdecimal() and len(name) < 10 and int(name) < classes:
    return int(name)
  if name.isdecimal() or theirs is None:
    raise UserError(
      f"--teacher_classes: {name!r} is no class of the teacher's; possible: 0 to"
      f" {classes - 1}"
    )
  raise unknown_name("class of the teacher's", name, theirs)


def _read_file(path: Path, ours: Sequence[str]) -> dict[str, str]:
  """The teacher's name, or number, by the data set's name."""
  try:
    # Spreadsheets begin a file with a mark of its encoding.
    with path.open(newline="", encoding="utf-8-sig") as file:
      rows = [
        row
        for row in csv.reader(file, skipinitialspace=True)
        if any(part.strip() for part in row)
      ]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UserError(
      f"--teacher_classes={path} is neither name, order nor a file that can be"
      f" read: {getattr(error, 'strerror', None) or error}"
    ) from None
  theirs = {}
  for row in rows:
    if len(row) != 2:
      raise UserError(
        f"{path}: a line is the data set's class, a comma and the teacher's;"
        f" found {','.join(row)!r}"
      )
    name, other = (part.strip() for part in row)
    if name not in ours:
      raise unknown_name(f"class in {path}:", name, ours)
    if name in theirs:
      raise UserError(f"{path}: {name!r} stands there twice")
    theirs[name] = other
  missing = [name for name in ours if name not in theirs]
  if missing:
    raise UserError(
      f"{path} lacks {quantity(len(missing), 'class', 'classes')} of the data"
      f" set, such as {missing[0]!r}"
    )
  return theirs
