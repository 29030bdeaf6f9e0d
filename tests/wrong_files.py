"""Tables and arrays with something wrong in them, and what the launcher says of it."""

import csv

import numpy as np

import launch


def table_of(head, rows, change=None, name="t.csv"):
  """A function that writes a table, its rows changed, and returns its path."""

  def make(folder):
    copies = [list(row) for row in rows]
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
      csv.writer(file).writerows(
        [head, *(copies if change is None else change(copies))]
      )
    return folder / name

  return make


def arrays_of(arrays):
  """A function that writes arrays by name; None stands for one that is not there."""

  def make(folder):
    there = {name: x for name, x in arrays.items() if x is not None}
    np.savez(folder / "t.npz", **there)
    return folder / "t.npz"

  return make


def cell(row, column, value):
  def change(rows):
    rows[row][column] = value
    return rows

  return change


def column(number, value, where=lambda row: True):
  return lambda rows: [
    [*row[:number], value, *row[number + 1 :]] if where(row) else row
    for row in rows
  ]


def named(path, settings):
  """The data set of a file, with further settings or without."""
  return f"table(path={str(path)!r}, {settings})" if settings else str(path)


def refused(
  capsys, folder, *flags, networks=("--teacher=mlp(4)", "--student=mlp(2)")
):
  """The one line with which a run ends that makes no folder."""
  workdir = folder / "run"
  call = ["launch.py", *flags, *networks]
  assert launch.main([*call, f"--workdir={workdir}"]) == 2
  message = capsys.readouterr().err.strip().splitlines()
  assert len(message) == 1 and not workdir.exists()
  return message[0]
