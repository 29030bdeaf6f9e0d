"""The picture of a sweep: heat maps over two settings, a line over one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.runner.report import choices, formats, reading, style


@style.styled
def sweep_figure(
  sweep: Mapping[str, Any], score: reading.Score = reading.ACCURACY
) -> Figure:
  """Draws the scores of a sweep."""
  like = choices.like_best(sweep)
  sweep = reading.last_axes(
    sweep | {"like_best": None if like is None else like.tolist()},
    3,
    score.name,
  )
  sweep = _without_single_values(sweep, score)
  if len(sweep["axes"]) > 1:
    return _sweep_maps(sweep, score)
  (axis,) = sweep["axes"].items()
  return _sweep_line(sweep, axis, score)


def _without_single_values(
  sweep: Mapping[str, Any], score: reading.Score
) -> Mapping[str, Any]:
  """Drops axes that have one value alone, but for the last; scores as shown."""
  axes = dict(sweep["axes"])
  long = {name: values for name, values in axes.items() if len(values) > 1}
  long = long or dict(list(axes.items())[:1])
  shape = [len(values) for values in long.values()]
  recommendation = sweep.get("recommendation") or {}
  return {
    **sweep,
    "axes": long,
    "values": score.shown(sweep[score.name]).reshape(*shape, -1),
    "baseline": score.mean({score.key: sweep.get(f"baseline_{score.name}")}),
    "recommendation": {
      name: recommendation[name] for name in long if name in recommendation
    },
  }


def _sweep_line(
  sweep: Mapping[str, Any], axis: tuple[str, list], score: reading.Score
) -> Figure:
  (name, values), scores = axis, sweep["values"]
  drawing = style.figure(3.4)
  axes = drawing.subplots()
  numeric = all(
    isinstance(value, int | float) and not isinstance(value, bool)
    for value in values
  )
  collectives = values if numeric else range(len(values))
  style.draw_band(axes, collectives, list(scores), "student")
  axes.plot(
    collectives,
    reading.finite_mean(scores, axis=1),
    "o",
    color=style.colour_of("student"),
  )
  baseline = sweep["baseline"]
  if baseline is not None:
    colour = style.colour_of("baseline")
    label = f"Baseline {baseline:.{score.digits}f}"
    axes.axhline(baseline, color=colour, ls="--", label=label)
  cell = reading.recommended_cell(sweep)
  if cell:
    _star(axes, collectives[cell[0]], reading.finite_mean(scores[cell[0]]))
  drawing.legend(loc="outside upper center", ncols=3)
  axes.margins(y=0.12)
  axes.grid(axis="y")
  axes.set_ylabel(score.header)
  axes.set_xlabel(reading.axis_title(name))
  if numeric and min(values) > 0 and max(values) / min(values) >= 8:
    axes.set_xscale("log")
    axes.minorticks_off()
  axes.set_xticks(list(collectives), list(map(_value, values)))
  return drawing


def _star(axes: Axes, x: float, y: float) -> None:
  axes.plot(
    [x],
    [y],
    "*",
    markersize=15,
    color="#e69f00",
    markeredgecolor=style.INK,
    label="Recommended",
    zorder=5,
  )


def _sweep_maps(sweep: Mapping[str, Any], score: reading.Score) -> Figure:
  """A heat map, or one for each value of the first of three axes."""
  names, values = zip(*sweep["axes"].items(), strict=True)
  scores = sweep["values"]
  rows, columns = values[-2:]
  scores = scores.reshape(-1, len(rows), len(columns), scores.shape[-1])
  like = sweep.get("like_best")
  like = np.zeros(scores.shape[:-1], bool) if like is None else np.array(like)
  like = like.reshape(scores.shape[:-1])
  means = np.ma.masked_invalid(reading.finite_mean(scores, axis=-1))
  cell = reading.recommended_cell(sweep)
  equal = like.copy()
  if cell:
    # The best is framed already.
    equal[(0, *cell) if len(names) < 3 else cell] = False
  drawing = style.figure(0.9 + len(scores) * (0.5 + 0.5 * len(rows)))
  panels = drawing.subplots(len(scores), sharex=True, squeeze=False)[:, 0]
  for place, panel in enumerate(panels):
    image = panel.imshow(
      means[place],
      cmap="cividis" if score.sign > 0 else "cividis_r",
      aspect="auto",
      vmin=means.min(),
      vmax=means.max(),
    )
    panel.set_facecolor("#e5e7eb")
    panel.set_xticks(range(len(columns)), map(_value, columns))
    panel.set_yticks(range(len(rows)), map(_value, rows))
    panel.set_ylabel(reading.axis_title(names[-2]))
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    if len(names) > 2:
      panel.set_title(
        f"{reading.axis_title(names[0])} {_value(values[0][place])}"
      )
    if len(columns) <= 8:
      _write_cells(panel, image, scores[place], equal[place], score.digits)
    if cell and (len(names) < 3 or cell[0] == place):
      _frame(panel, cell[-2:])
  panels[-1].set_xlabel(reading.axis_title(names[-1]))
  bar = drawing.colorbar(image, ax=list(panels), pad=0.02, aspect=30)
  bar.set_label(score.header)
  bar.outline.set_visible(False)
  drawing.suptitle(_remarks(sweep, cell, equal, len(columns), score), size=10)
  return drawing


def _remarks(sweep, cell, equal, columns: int, score) -> str:
  remarks = []
  if sweep["baseline"] is not None:
    remarks.append(f"baseline: {score.written(sweep['baseline'])}")
  if cell:
    remarks.append("framed: recommended")
  if equal.any() and columns <= 8:
    remarks.append("=: not told from it")
  return "; ".join(remarks).capitalize()


def _write_cells(
  panel: Axes,
  image: Any,
  scores: np.ndarray,
  equal: np.ndarray,
  digits: int,
) -> None:
  """Writes mean and spread of each cell (R, C, seeds) into it."""
  narrow = scores.shape[1] > 5
  for place in np.ndindex(scores.shape[:2]):
    cell_scores = scores[place]
    mean = formats.with_spread(cell_scores, digits)
    missing = mean == formats.MISSING
    text = mean.split(" ")[0] if narrow else mean.replace(" ", "\n", 1)
    red, green, blue, _ = image.cmap(
      image.norm(reading.finite_mean(cell_scores))
    )
    dark = not missing and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
    panel.text(
      place[1],
      place[0],
      f"= {text}" if equal[place] and not missing else text,
      ha="center",
      va="center",
      size=8,
      linespacing=1.1,
      color="white" if dark else style.INK,
    )


def _frame(panel: Axes, cell: Sequence[int]) -> None:
  """Frames a cell twice, dark and light, to be seen on any colour."""
  from matplotlib.patches import Rectangle

  for colour, width in ((style.INK, 4.5), ("#e69f00", 2.5)):
    panel.add_patch(
      Rectangle(
        (cell[1] - 0.5, cell[0] - 0.5),
        1,
        1,
        fill=False,
        ec=colour,
        lw=width,
        zorder=4,
        clip_on=False,
      )
    )


def _value(value: Any) -> str:
  return style.legible(formats.setting(value), 40)
