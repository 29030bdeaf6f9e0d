"""The picture of a sweep: a heat map over two settings, a line over one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import formats, reading, style


@style.styled
def sweep_figure(sweep: Mapping[str, Any]) -> Figure:
  """Draws the test error of a sweep.

  Args:
    sweep: as `tables.sweep_table` takes it.

  Returns:
    A heat map over two axes, or a line over the one axis that has more than one
    value; the recommended setting is marked.
  """
  sweep = reading.two_axes(sweep)
  errors = 100 * (1 - np.asarray(sweep["accuracy"], dtype=float))
  axes = [(name, list(values)) for name, values in sweep["axes"].items()]
  long = [place for place, (_, values) in enumerate(axes) if len(values) > 1]
  if len(long) < 2:
    place = long[0] if long else 0
    values = axes[place][1]
    return _sweep_line(
      sweep, axes[place], errors.reshape(len(values), -1), place
    )
  return _sweep_map(sweep, axes, reading.finite_mean(errors, axis=-1))


def _sweep_line(
  sweep: Mapping[str, Any],
  axis: tuple[str, list],
  errors: np.ndarray,
  place: int,
) -> Figure:
  name, values = axis
  drawing = style.figure(3.4)
  axes = drawing.subplots()
  numeric = all(
    isinstance(value, int | float) and not isinstance(value, bool)
    for value in values
  )
  across = values if numeric else range(len(values))
  style.draw_band(axes, across, list(errors), "student")
  axes.plot(
    across,
    reading.finite_mean(errors, axis=1),
    "o",
    color=style.colour_of("student"),
  )
  if sweep.get("baseline_accuracy"):
    baseline = reading.finite_mean(
      100 * (1 - reading.numbers(sweep["baseline_accuracy"]))
    )
    colour = style.colour_of("baseline")
    axes.axhline(
      baseline, color=colour, ls="--", label=f"Baseline {baseline:.2f}"
    )
  cell = reading.recommended_cell(sweep)
  if cell:
    _star(axes, across[cell[place]], reading.finite_mean(errors[cell[place]]))
  drawing.legend(loc="outside upper center", ncols=3)
  axes.margins(y=0.12)
  axes.grid(axis="y")
  axes.set_ylabel("Test error, %")
  axes.set_xlabel(reading.axis_title(name))
  if numeric and min(values) > 0 and max(values) / min(values) >= 8:
    axes.set_xscale("log")
    axes.minorticks_off()
  axes.set_xticks(list(across), [formats.setting(value) for value in values])
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


def _sweep_map(
  sweep: Mapping[str, Any], axes: Sequence[tuple[str, list]], mean: np.ndarray
) -> Figure:
  (down, rows), (across, columns) = axes
  drawing = style.figure(min(1.4 + 0.42 * len(rows), 6.5))
  panel = drawing.subplots()
  grid = np.ma.masked_invalid(mean)
  image = panel.imshow(grid, cmap="cividis_r", aspect="auto")
  panel.set_facecolor("#e5e7eb")
  panel.set_xticks(range(len(columns)), map(formats.setting, columns))
  panel.set_yticks(range(len(rows)), map(formats.setting, rows))
  panel.set_xlabel(reading.axis_title(across))
  panel.set_ylabel(reading.axis_title(down))
  panel.tick_params(length=0)
  panel.spines[:].set_visible(False)
  if len(columns) <= 8:
    _write_cells(panel, image, grid)
  bar = drawing.colorbar(image, ax=panel, pad=0.02, aspect=30)
  bar.set_label("Test error, %")
  bar.outline.set_visible(False)
  remarks = []
  if sweep.get("baseline_accuracy"):
    baseline = reading.finite_mean(
      100 * (1 - reading.numbers(sweep["baseline_accuracy"]))
    )
    remarks.append(f"baseline: {baseline:.2f} %")
  cell = reading.recommended_cell(sweep)
  if cell:
    _frame(panel, cell)
    remarks.append("framed: recommended")
  drawing.suptitle("; ".join(remarks).capitalize(), size=10)
  return drawing


def _write_cells(panel: Axes, image: Any, grid: np.ma.MaskedArray) -> None:
  for place, value in np.ndenumerate(grid):
    missing = bool(np.ma.getmaskarray(grid)[place])
    red, green, blue, _ = image.cmap(image.norm(value))
    dark = not missing and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
    panel.text(
      place[1],
      place[0],
      formats.MISSING if missing else f"{value:.2f}",
      ha="center",
      va="center",
      size=9 if grid.shape[1] <= 5 else 8,
      color="white" if dark else style.INK,
    )


def _frame(panel: Axes, cell: tuple[int, int]) -> None:
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
