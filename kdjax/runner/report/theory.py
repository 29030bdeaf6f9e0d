"""Two teaching pictures with their numbers: temperature, and norms."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.runner.report import style

_ORDERS = {"1": 1, "2": 2, "3": 3, "inf": np.inf}


def temperature_data() -> dict[str, Any]:
  """Returns arange(10), softened at the temperatures 1 to 4, as plain lists."""
  logits = np.arange(10.0)
  temperatures = [1.0, 2.0, 3.0, 4.0]
  rows = [softmax(logits / temperature) for temperature in temperatures]
  return {
    "logits": logits.tolist(),
    "temperatures": temperatures,
    "probabilities": [row.tolist() for row in rows],
    "entropies": [float(-(row * np.log(row)).sum()) for row in rows],
    "largest_entropy": float(np.log(10)),
  }


@style.styled
def temperature_figure() -> Figure:
  """Draws `temperature_data`: a panel a temperature, a bar a class."""
  data = temperature_data()
  drawing = style.figure(4.0)
  panels = drawing.subplots(2, 2, sharex=True, sharey=True)
  for panel, temperature, row, entropy in zip(
    panels.flat,
    data["temperatures"],
    data["probabilities"],
    data["entropies"],
    strict=True,
  ):
    panel.bar(range(10), row, color=style.colour_of("student"), width=0.8)
    panel.set_title(f"T = {temperature:g}: entropy {entropy:.2f} nats")
    panel.set_xticks(range(10))
    panel.grid(axis="y")
  drawing.supxlabel("Class c, with logit c", size=10)
  drawing.supylabel("Probability", size=10)
  return drawing


def norms_data(
  seed: int = 0, *, rows: int = 8, columns: int = 10
) -> dict[str, Any]:
  """Returns random normal rows with their means and norms, as plain lists."""
  values = np.random.default_rng(seed).normal(size=(rows, columns))
  return {
    "seed": seed,
    "rows": values.tolist(),
    "mean": values.mean(axis=1).tolist(),
    "norms": {
      name: np.linalg.norm(values, ord=order, axis=1).tolist()
      for name, order in _ORDERS.items()
    },
  }


@style.styled
def norms_figure(seed: int = 0) -> Figure:
  """Draws `norms_data`: the entries and their mean above, the norms below."""
  data = norms_data(seed)
  places = np.arange(len(data["mean"]))
  drawing = style.figure(5.2)
  above, below = drawing.subplots(2, 1, sharex=True)
  _entries(above, places, np.asarray(data["rows"]), data["mean"])
  marks = zip(
    data["norms"].items(),
    (-0.24, -0.08, 0.08, 0.24),
    ("#0072b2", "#009e73", "#cc79a7", "#000000"),
    "o^Ds",
    strict=True,
  )
  for (name, norms), shift, colour, marker in marks:
    label = "order ∞" if name == "inf" else f"order {name}"
    below.plot(places + shift, norms, marker, color=colour, label=label)
  below.set_ylabel("Norm of the row")
  below.set_xlabel("Row")
  below.set_ylim(0)
  below.set_xticks(places)
  for panel in (above, below):
    panel.grid(axis="y")
    panel.legend(
      loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, columnspacing=1
    )
  return drawing


def softmax(logits: np.ndarray) -> np.ndarray:
  """Returns probabilities over the last axis.

  Args:
    logits: (..., C) float.

  Example:
    >>> softmax(np.array([0.0, 0.0]))
    array([0.5, 0.5])
  """
  # Shifted by the largest logit: exp(1e4) would overflow.
  powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def _entries(
  axes: Axes, places: np.ndarray, rows: np.ndarray, means: list[float]
) -> None:
  collectives = np.repeat(places, rows.shape[1])
  axes.plot(
    collectives,
    rows.ravel(),
    "o",
    markersize=4,
    alpha=0.45,
    markeredgewidth=0,
    color=style.GREY,
    label="entries",
  )
  axes.hlines(
    means, places - 0.3, places + 0.3, lw=3, colors="#d55e00", label="mean"
  )
  axes.axhline(0, color=style.GREY, lw=0.8)
  axes.set_ylabel("Entries of the row")
