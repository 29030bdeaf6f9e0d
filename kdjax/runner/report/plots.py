"""The pictures of a run's results: errors, agreement, curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.runner.report import formats, reading, style


@style.styled
def accuracy_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the score of every seed, baseline and student joined in pairs."""
  entries, score = reading.networks(results), reading.score_of(results)
  teacher = entries.pop("teacher", None)
  drawing = style.figure(3.6)
  axes = drawing.subplots()
  columns = {name: score.of(entry) for name, entry in entries.items()}
  _strips(axes, columns, digits=score.digits)
  if teacher is not None:
    _level(axes, score.of(teacher), "teacher", score.digits)
  axes.set_ylabel(score.header)
  return drawing


@style.styled
def agreement_figure(results: Mapping[str, Any]) -> Figure:
  """Draws how often each network and its teacher choose the same class.

  Args:
    results: as in results.json; networks without "agreement" are left out.
  """
  columns = {
    name: 100 * reading.numbers(entry.get("agreement"))
    for name, entry in reading.networks(results).items()
    if name != "teacher" and reading.numbers(entry.get("agreement")).size
  }
  drawing = style.figure(3.6)
  axes = drawing.subplots()
  _strips(axes, columns)
  axes.set_ylabel(
    "Same yes or no as the teacher,\n% of all answers"
    if reading.answers_yes_or_no(results)
    else "Same class as the teacher,\n% of test images"
  )
  return drawing


@style.styled
def curves_figure(
  history: Sequence[Mapping[str, Any]],
  score: reading.Score = reading.ACCURACY,
  key: str | None = None,
  where: str = "Test",
) -> Figure:
  """Draws the score and the training loss over the epochs.

  Args:
    key: where the score stands in a row, if it is not that on the test set.
    where: what it is measured on.
  """
  key = key or score.key
  drawing = style.figure(5.2)
  above, below = drawing.subplots(2, 1, sharex=True)
  for name, rows in reading.rows_by_network(history).items():
    for axes, name_of in ((above, key), (below, "loss")):
      scored_rows = [
        row for row in rows if reading.numbers(row.get(name_of)).size
      ]
      values = [reading.numbers(row[name_of]) for row in scored_rows]
      if name_of == key:
        values = [score.shown(value) for value in values]
      style.draw_band(axes, [row["epoch"] for row in scored_rows], values, name)
  above.set_ylabel(score.with_unit(where))
  below.set_ylabel("Training loss")
  below.set_xlabel("Epoch")
  for axes in (above, below):
    axes.grid(axis="y")
    if _positive(axes):
      style.plain_log_scale(axes, "y")
      axes.set_ylabel(f"{axes.get_ylabel()}\n(log scale)")
  below.xaxis.set_major_locator(MaxNLocator(integer=True))
  handles, labels = above.get_legend_handles_labels()
  if handles:
    drawing.legend(handles, labels, loc="outside upper center", ncols=3)
  return drawing


@style.styled
def exposure_figure(exposure: Mapping[str, Any]) -> Figure:
  """Draws the distance from the teacher by step, on each one's own texts."""
  drawing = style.figure(3.2)
  axes = drawing.subplots()
  for name, curve in exposure.items():
    axes.plot(
      range(1, len(curve["kl"]) + 1),
      curve["kl"],
      color=style.colour_of(name),
      ls="--" if name == "teacher" else "-",
      label=f"On the {name}'s texts",
    )
  axes.set_xlabel("Token behind the prompt")
  axes.set_ylabel("KL(teacher || student), nats")
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.grid(axis="y")
  axes.legend()
  return drawing


@style.styled
def omitted_class_figure(omitted: Mapping[str, Any]) -> Figure:
  """Draws what a student knows of a class that it has never seen."""
  groups = (
    (
      "Recall of class {}, %",
      ("baseline_recall", "recall", "recall_corrected"),
    ),
    (
      "Test accuracy, %",
      ("baseline_accuracy", "accuracy", "accuracy_corrected"),
    ),
  )
  titles = ("Baseline", "Student", "Student,\nbias shifted")
  names = ("baseline", "student", "student")
  present = [
    [place for place, key in enumerate(keys) if omitted.get(key) is not None]
    for _, keys in groups
  ]
  drawing = style.figure(3.4)
  panels = drawing.subplots(
    1,
    2,
    squeeze=False,
    width_ratios=[max(len(places), 1) for places in present],
  )[0]
  for axes, (label, keys), places in zip(panels, groups, present, strict=True):
    columns = {
      titles[place]: 100 * reading.numbers(omitted[keys[place]])
      for place in places
    }
    _strips(axes, columns, [names[place] for place in places], digits=1)
    axes.set_ylabel(
      label.format(style.legible(formats.setting(omitted["class"])))
    )
    axes.tick_params(axis="x", labelsize=8)
  panels[0].set_ylim(-4, 104)
  return drawing


def _strips(
  axes: Axes,
  columns: Mapping[str, np.ndarray],
  networks: Sequence[str] | None = None,
  *,
  digits: int = 2,
) -> None:
  """Draws a column of dots for each network, its mean as a bar with a number.

  Where no names are given, the columns are the networks, and the pairs of
  baseline and student are joined.
  """
  has_pair = networks is None and {"baseline", "student"} <= set(columns)
  networks = list(columns) if networks is None else networks
  is_narrow = len(columns) > 4
  if has_pair:
    _join(axes, list(columns), columns)
  for place, (values, name) in enumerate(
    zip(columns.values(), networks, strict=True)
  ):
    _strip(axes, place, values, name)
    mean = float(reading.finite_mean(values))
    # The joining lines leave the baseline to the right: its number goes left.
    side = -1 if has_pair and name == "baseline" else 1
    axes.annotate(
      f"{mean:.{digits}f}" if np.isfinite(mean) else formats.MISSING,
      (place + 0.27 * side, mean if np.isfinite(mean) else 0),
      ha="left" if side > 0 else "right",
      va="center",
      color=style.colour_of(name),
      weight="bold",
      size=8 if is_narrow else 10,
    )
  axes.set_xticks(range(len(columns)), [_tick(name) for name in columns])
  if is_narrow:
    axes.tick_params(axis="x", labelrotation=90, labelsize=8)
  left = -0.5 if not has_pair else -1.2 if is_narrow else -0.9
  axes.set_xlim(left, len(columns) - 0.2)
  axes.margins(y=0.1)
  axes.grid(axis="y")


def _strip(axes: Axes, place: int, values: np.ndarray, name: str) -> None:
  colour = style.colour_of(name)
  axes.plot(
    place + _beside(values),
    values,
    style.marker_of(name),
    color=colour,
    alpha=0.6,
    markersize=5,
    markeredgewidth=0,
  )
  mean = float(reading.finite_mean(values))
  axes.plot([place - 0.2, place + 0.2], [mean, mean], color=colour, lw=2.6)


def _beside(values: np.ndarray) -> np.ndarray:
  """Offsets that put equal values side by side instead of on each other."""
  offsets = np.zeros(len(values))
  keys = np.round(values, 6)
  for key in np.unique(keys[np.isfinite(keys)]):
    places = np.flatnonzero(keys == key)
    step = min(0.09, 0.4 / len(places))
    offsets[places] = step * (np.arange(len(places)) - (len(places) - 1) / 2)
  return offsets


def _join(
  axes: Axes, names: Sequence[str], columns: Mapping[str, np.ndarray]
) -> None:
  """Joins baseline and student seed by seed, so that pairs can be seen."""
  first, second = columns["baseline"], columns["student"]
  pairs = zip(
    names.index("baseline") + _beside(first),
    names.index("student") + _beside(second),
    first,
    second,
    strict=False,
  )
  for left, right, start, end in pairs:
    axes.plot([left, right], [start, end], color="#9ca3af", lw=0.9, zorder=1)


def _level(axes: Axes, values: np.ndarray, name: str, digits: int) -> None:
  """Draws a dashed line across at the mean, named above its left end."""
  values = values[np.isfinite(values)]
  if not values.size:
    return
  mean = values.mean()
  axes.axhline(mean, color=style.colour_of(name), ls="--", lw=1.4)
  axes.annotate(
    f"{reading.title_of(name)} {mean:.{digits}f}",
    (0, mean),
    xycoords=("axes fraction", "data"),
    xytext=(4, 3),
    textcoords="offset points",
    ha="left",
    va="bottom",
    weight="bold",
    color=style.colour_of(name),
  )


def _tick(name: str) -> str:
  title = name if "\n" in name else reading.title_of(name)
  return title if "\n" in title else title.replace(" ", "\n", 1)


def _positive(axes: Axes) -> bool:
  values = [line.get_ydata() for line in axes.get_lines()]
  values = np.concatenate(values) if values else np.empty(0)
  values = values[np.isfinite(values)]
  return values.size > 0 and values.min() > 0
