"""Pictures of entropies and visual concepts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from kdjax.runner.report import reading, style

ORDER = ("teacher", "student", "baseline")
CURVES = (
  ("n_fg", "Foreground concepts\n(N_fg)"),
  ("n_bg", "Background concepts\n(N_bg)"),
  ("lambda", "Share on foreground\n(lambda)"),
  ("d_mean", "Learning distance,\nmean (D_mean)"),
  ("d_std", "Learning distance,\ndeviation (D_std)"),
  ("rho", "Share of concepts\nkept (rho)"),
)
# Transparent, blue, orange: nothing, on the object, beside it.
_CONCEPTS = ListedColormap(["#00000000", "#0072b2", "#d55e00"])


@style.styled
def maps_figure(samples: Mapping[str, Any]) -> Figure:
  """Draws entropy maps of all networks beside the images."""
  maps = {name: samples["entropy"][name] for name in ORDER}
  drawing, panels = _panels(samples)
  low = min(x.min() for x in maps.values())
  high = max(x.max() for x in maps.values())
  for row, axes in enumerate(panels):
    for axis, name in zip(axes[1:], ORDER, strict=True):
      heat = axis.imshow(
        maps[name][row], vmin=low, vmax=high, extent=_extent(samples)
      )
      _outline(axis, samples["masks"][row])
  drawing.colorbar(
    heat, ax=panels[:, 1:], label="Entropy, nats", location="bottom",
    shrink=0.8, aspect=40,
  )  # fmt: skip
  return drawing


@style.styled
def concepts_figure(samples: Mapping[str, Any]) -> Figure:
  """Draws the concepts of all networks on the images."""
  drawing, panels = _panels(samples)
  grid = samples["concepts"][ORDER[0]].shape[1:]
  for row, axes in enumerate(panels):
    inside = _coarse(samples["masks"][row], grid)
    for axis, name in zip(axes[1:], ORDER, strict=True):
      _show(axis, samples["images"][row])
      kind = samples["concepts"][name][row] * np.where(inside, 1, 2)
      axis.imshow(
        kind, cmap=_CONCEPTS, vmin=0, vmax=2, alpha=0.6,
        extent=_extent(samples), interpolation="nearest",
      )  # fmt: skip
  return drawing


@style.styled
def over_time_figure(samples: Mapping[str, Any]) -> Figure:
  """Draws how the entropies of one image change over the training."""
  maps = samples["over_time"]
  low = min(x.min() for x in maps.values())
  high = max(x.max() for x in maps.values())
  drawing = style.figure(2.4)
  panels = drawing.subplots(len(maps), len(samples["moments"]), squeeze=False)
  for axis, epoch in zip(panels[0], samples["moments"], strict=True):
    axis.set_title(f"Epoch {epoch}")
  for axes, (name, values) in zip(panels, maps.items(), strict=True):
    for axis, one in zip(axes, values, strict=True):
      axis.imshow(one, vmin=low, vmax=high, extent=_extent(samples))
      _outline(axis, samples["masks"][0])
      _bare(axis)
    axes[0].set_ylabel(reading.title_of(name))
  return drawing


@style.styled
def counts_figure(results: Mapping[str, Any]) -> Figure:
  """Draws N_fg and N_bg over weight distance, student against baseline."""
  drawing = style.figure(5.0)
  panels = drawing.subplots(2, 1, sharex=True)
  for name in ("student", "baseline"):
    for seed, counts in enumerate(results[name]["training"]):
      best = int(np.argmax(reading.numbers(counts["n_fg"])[1:])) + 1
      for axis, key in zip(panels, ("n_fg", "n_bg"), strict=True):
        values = reading.numbers(counts[key])
        axis.plot(
          counts["distance"], values, color=style.colour_of(name), alpha=0.8,
          label=reading.title_of(name) if not seed else None,
        )  # fmt: skip
        axis.plot(
          counts["distance"][best], values[best], style.marker_of(name),
          color=style.colour_of(name), markeredgecolor="white",
        )  # fmt: skip
  for axis, (_, title) in zip(panels, CURVES[:2], strict=True):
    axis.set_ylabel(title)
    axis.grid(axis="y")
    axis.set_ylim(bottom=0)
  panels[1].set_xlabel("Weight distance of the examined layer")
  handles, labels = panels[0].get_legend_handles_labels()
  drawing.legend(handles, labels, loc="outside upper center", ncols=2)
  return drawing


@style.styled
def thresholds_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the six metrics over the threshold b."""
  drawing = style.figure(6.0)
  panels = drawing.subplots(3, 2, sharex=True)
  for axis, (key, title) in zip(panels.flat, CURVES, strict=True):
    for name in ORDER:
      curves = results[name]["curves"]
      values = np.array([reading.numbers(one[key]) for one in curves])
      style.draw_band(axis, curves[0]["threshold"], list(values.T), name)
    axis.axvline(
      results["quantify"]["threshold"], color=style.GREY, ls=":", lw=1
    )
    axis.set_ylabel(title)
    axis.set_ylim(bottom=0)
  for axis in panels[-1]:
    axis.set_xlabel("Threshold b, nats")
  handles, labels = panels[0, 0].get_legend_handles_labels()
  drawing.legend(handles, labels, loc="outside upper center", ncols=3)
  return drawing


def _panels(samples):
  """A row of panels an image, with the image in the first."""
  rows = len(samples["images"])
  drawing = style.figure(1.15 * rows + 0.8)
  panels = drawing.subplots(rows, 4, squeeze=False)
  titles = ("Image", *map(reading.title_of, ORDER))
  for axis, title in zip(panels[0], titles, strict=True):
    axis.set_title(title)
  for row, image in enumerate(samples["images"]):
    _show(panels[row, 0], image)
    for axis in panels[row]:
      _bare(axis)
  return drawing, panels


def _show(axis, image) -> None:
  grey = image.shape[-1] != 3
  pixels = image[..., 0] if grey else np.clip(image, 0, 1)
  height, width = image.shape[:2]
  axis.imshow(
    pixels, cmap="gray" if grey else None, extent=(0, width, height, 0)
  )


def _outline(axis, mask) -> None:
  height, width = mask.shape
  axis.contour(
    np.arange(width) + 0.5, np.arange(height) + 0.5, mask.astype(float),
    levels=[0.5], colors="white", linewidths=0.8,
  )  # fmt: skip


def _coarse(mask, grid) -> np.ndarray:
  rows = np.arange(mask.shape[0]) * grid[0] // mask.shape[0]
  columns = np.arange(mask.shape[1]) * grid[1] // mask.shape[1]
  total, area = np.zeros(grid), np.zeros(grid)
  np.add.at(total, (rows[:, None], columns[None]), mask)
  np.add.at(area, (rows[:, None], columns[None]), 1)
  return total / area > 0.25


def _extent(samples) -> tuple[int, int, int, int]:
  height, width = samples["masks"].shape[1:]
  return (0, width, height, 0)


def _bare(axis) -> None:
  axis.set_xticks([])
  axis.set_yticks([])
