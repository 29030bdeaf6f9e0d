"""How much each example weighs, and which group it is of, out of tables and arrays."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.dataset import Dataset, Split, select
from kdjax.data.labelled import number_classes
from kdjax.data.naming import printable
from kdjax.data.tables import Table, cell, numbers, texts


class Beside(NamedTuple):
  """What stands beside each example.

  Attributes:
    weight: (N,) float32 >= 0; None where all count alike.
    group: (N,) int32; None where there are no groups.
    group_names: in the order of the groups.
  """

  weight: np.ndarray | None = None
  group: np.ndarray | None = None
  group_names: tuple[str, ...] = ()


class Names(NamedTuple):
  """What the columns of weights and of groups are called; None for none.

  No name is taken for granted: a column `weight` may be the weight of a body.
  """

  weight: str | None = None
  group: str | None = None

  def among(self, columns) -> dict[str, str]:
    """The columns that are there, by what they are."""
    return {
      what: name for what, name in self._asdict().items() if name in columns
    }


def check_names(names: Names, columns, where: str) -> None:
  """Refuses names of columns that are not there.

  Raises:
    UserError: names the setting.
  """
  for what, name in names._asdict().items():
    if name is None:
      continue
    if not isinstance(name, str):
      raise UserError(
        f"{where}: {what}={name!r} names no column; write {what}='NAME', or"
        f" {what}=None for none"
      )
    if name not in columns:
      there = ", ".join(sorted(map(printable, columns)))
      raise UserError(
        f"{where}: {what}={printable(name)!r} is not there; there are {there}"
      )
  if names.weight is not None and names.weight == names.group:
    raise UserError(
      f"{where}: weight and group both name {printable(names.weight)!r}"
    )


def of_table(table: Table, names: Names) -> Beside:
  """Reads the columns that are there.

  Raises:
    UserError: for a weight that is no number >= 0, or a group without a name; names
      column and line.
  """
  there = names.among(table.columns)
  beside = Beside()
  if "weight" in there:
    weight = numbers(table, [there["weight"]])[:, 0]
    if (weight < 0).any():
      row = int((weight < 0).argmax())
      says = f"has {weight[row]:g}; a weight is >= 0"
      raise UserError(cell(table, there["weight"], row, says))
    beside = beside._replace(weight=weight)
  if "group" in there:
    beside = _with_groups(beside, texts(table, there["group"]), table.where)
  return beside


def of_arrays(
  arrays: Mapping[str, list[np.ndarray]], counts: list[int], where: str
) -> Beside:
  """Reads arrays of all splits, one after the other.

  Args:
    arrays: "weight" and "group", as far as they are there: an array a split.
    counts: how many examples each split has.

  Raises:
    UserError: for arrays of another length or type, and as `of_table`.
  """
  for what, parts in arrays.items():
    for part, count in zip(parts, counts, strict=True):
      if part.shape != (count,):
        raise UserError(
          f"{where}: the array {what!r} has the shape {part.shape} for"
          f" {quantity(count, 'example')}; it is ({count},)"
        )
  beside = Beside()
  if "weight" in arrays:
    weight = np.concatenate(arrays["weight"])
    if weight.dtype.kind not in "iufb":
      raise UserError(
        f"{where}: the array 'weight' has the type {weight.dtype}; weights are"
        " numbers >= 0"
      )
    with np.errstate(over="ignore"):
      weight = weight.astype(np.float32)
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
      example = int(wrong.argmax())
      raise UserError(
        f"{where}: example {example} has the weight {weight[example]:g}; a weight"
        " is a number >= 0"
      )
    beside = beside._replace(weight=weight)
  if "group" in arrays:
    group = np.concatenate(arrays["group"])
    if group.dtype.kind not in "iubU":
      raise UserError(
        f"{where}: the array 'group' has the type {group.dtype}; groups are whole"
        " numbers or texts"
      )
    beside = _with_groups(beside, group.astype(str), where)
  return beside


def _with_groups(beside: Beside, values: np.ndarray, where: str) -> Beside:
  names, group = number_classes(values, where, noun="group")
  return beside._replace(group=group, group_names=names)


def attach(dataset: Dataset, beside: Beside, is_test: np.ndarray) -> Dataset:
  """Notes weights and groups; examples of weight 0 are left out.

  Args:
    dataset: whose splits are the examples without and with `is_test`, in order.
    is_test: (N,) bool.

  Raises:
    UserError: where all of a split weigh nothing, or a class is then not learned.
  """
  if beside.weight is None and beside.group is None:
    return dataset
  splits, left_out = {}, 0
  for name, mask in (("train", ~is_test), ("test", is_test)):
    weight, group = (
      None if x is None else x[mask] for x in (beside.weight, beside.group)
    )
    split = getattr(dataset, name)._replace(weight=weight, group=group)
    if weight is not None and not weight.all():
      left_out += int((weight == 0).sum())
      split = _that_count(dataset, name, split)
    splits[name] = split
  notes = dataset.notes
  if beside.weight is not None:
    notes += ("examples are weighed",)
  if left_out:
    notes += (f"{quantity(left_out, 'example')} of weight 0 left out",)
  if beside.group is not None:
    notes += (quantity(len(beside.group_names), "group"),)
  return dataset._replace(**splits, notes=notes, group_names=beside.group_names)


def _that_count(dataset: Dataset, name: str, split: Split) -> Split:
  """The examples of a split that weigh something."""
  counts = split.weight > 0
  if not counts.any():
    raise UserError(f"{dataset.name}: all {name} examples have the weight 0")
  if dataset.task is None and split.labels.ndim == 1 and name == "train":
    lost = np.setdiff1d(split.labels, split.labels[counts])
    if len(lost):
      raise UserError(
        f"{dataset.name}: all train examples of class"
        f" {printable(dataset.class_names[lost[0]])!r} have the weight 0"
      )
  return select(split, np.flatnonzero(counts))
