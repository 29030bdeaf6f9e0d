"""The record of `launch.py synthesise`: tables, pictures, page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.runner.report import (
  formats,
  page,
  record,
  style,
  text,
  verdicts,
)
from kdjax.runner.report.pictures import Picture
from kdjax.runner.report.reading import networks, numbers
from kdjax.runner.report.tables import paired_table, without_empty_columns
from kdjax.runner.report.text import Table

TITLES = {
  "student": "Learned images",
  "baseline": "Random real images",
  "centroids": "Class centroids",
  "teacher": "All real images",
}
# More columns than this would be too small to see.
SHOWN = 5


def write(
  workdir: Path, results: Mapping[str, Any], samples: Mapping[str, Any]
) -> Path:
  """Writes the figures and, last, the page."""
  content = {
    "name": results.get("name") or "Learned images",
    "sentences": lambda: [headline(results), *notes(results)],
    "tiles": lambda: page.score_tiles(
      (
        (name, entry["test_accuracy"])
        for name, entry in networks(results).items()
      ),
      TITLES,
    ),
    "tables": table_makers(results),
  }
  return record.write(workdir, results, makers(results, samples), content)


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal."""
  return text.summary(
    table_makers(results), lambda: [headline(results), *notes(results)]
  )


def headline(results: Mapping[str, Any]) -> str:
  """Says what learned images teach, against as many real ones."""
  synthesis = results["synthesis"]
  count = synthesis["images_per_class"] * synthesis["classes"]
  return (
    f"Networks that learn from {count} learned images in"
    f" {results['student']['steps']} steps reach {_accuracy(results['student'])} %"
    f" test accuracy; from {count} random real images, at their best rate and"
    f" number of steps, {_accuracy(results['baseline'])} %"
    f" ({_evidence(results, 'baseline')})."
  )


def notes(results: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the headline."""
  synthesis, pairs = (
    results["synthesis"],
    len(results["student"]["test_accuracy"]),
  )
  centroids = results["controls"]["centroids"]
  sentences = [
    f"From as many centroids of the classes: {_accuracy(centroids)} %"
    f" ({_evidence(results, 'centroids')}).",
    f"From all {synthesis['real_images']:,} real images:"
    f" {_accuracy(results['teacher'])} %.",
  ]
  if (results["experiment"].get("data") or {}).get("validation"):
    sentences.append(
      'Scored on held-out training images; "test" stands for them.'
    )
  if pairs < 5:
    sentences.append(
      f"Only {pairs} set{'s' * (pairs > 1)} of images: a difference can hardly be told from"
      " chance; use at least five."
    )
  return sentences


def table_makers(
  results: Mapping[str, Any],
) -> dict[str, Callable[[], list[Table]]]:
  """Returns how the tables are made, in order, by what they tell."""
  return {
    "accuracies": lambda: [accuracies_table(results)],
    "differences": lambda: [differences_table(results)],
  }


def accuracies_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of what networks learn from, and how well."""
  synthesis = results["synthesis"]
  rows = []
  for name, entry in networks(results).items():
    of_a_class = entry["images_per_class"]
    real, classes = synthesis["real_images"], synthesis["classes"]
    within = [np.std(one, ddof=1) for one in entry["each"] if len(one) > 1]
    rows.append(
      (
        TITLES[name],
        formats.count(of_a_class * classes if of_a_class else real),
        formats.count(entry["steps"]),
        "learned" if entry["rate"] is None else f"{entry['rate']:g}",
        formats.with_spread(100 * numbers(entry["test_accuracy"])),
        f"{100 * np.mean(within):.2f}" if within else formats.MISSING,
        formats.with_spread(entry["negative_log_likelihood"], 3),
      )
    )  # fmt: skip
  seeds = len(results["student"]["test_accuracy"])
  table = Table(
    f"{results['student']['model']} on {results['student']['test_examples']:,}"
    f" test images, {seeds} set{'s' * (seeds > 1)} of images",
    ("Learns from", "Images", "Steps", "Rate", "Test accuracy, %",
     "Between networks", "NLL, nats"),
    tuple(rows),
    (_explained(synthesis["networks"], seeds),),
  )  # fmt: skip
  return without_empty_columns(table)


def _explained(networks: int, seeds: int) -> str:
  """What the numbers of the table of accuracies are."""
  parts = []
  if seeds > 1:
    parts.append(f"Mean ± standard deviation over {seeds} sets.")
  if networks > 1:
    parts.append(
      f"Of each set the mean of {networks} fresh networks of unseen seeds;"
      " between networks: standard deviation within a set."
    )
  else:
    parts.append("Of each set a fresh network of an unseen seed.")
  parts.append(
    "Rates and steps for real images are the best of a grid, each tried on"
    " held-out training images. NLL: negative log-likelihood of the true class."
  )
  return " ".join(parts)


def differences_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of paired differences."""
  return paired_table(
    results["comparisons"],
    TITLES.get,
    turned=True,
    of="sets of images",
    first="learned images",
    note="Positive: learned images teach better. Set s starts from the very"
    " images that are random set s, and both teach networks of the same seeds.",
  )


def makers(
  results: Mapping[str, Any], samples: Mapping[str, Any]
) -> dict[str, Callable[[], Picture]]:
  """Returns how each picture is drawn, by name."""
  return {
    "images": lambda: Picture(
      images_figure(**samples),
      "The learned images",
      "The first set, a row a class: left what it started from, right what was"
      " learned. One grey scale for all learned images; they are made for a"
      " network's first steps, not for the eye.",
      raster=True,
    ),
    "accuracy": lambda: Picture(
      accuracy_figure(results),
      "What networks learn from each kind of images",
      "Bars are means over sets of images, a dot is one set.",
    ),
    "rates": lambda: Picture(
      rates_figure(results),
      "The learned rates",
      "Learning rate of every step, a line a set.",
    ),
  }


@style.styled
def images_figure(
  before: np.ndarray, after: np.ndarray, class_names: Sequence[str]
) -> Figure:
  """Draws learned images beside what they started from.

  Args:
    before: (K, M, H, W, C), a row a class.
  """
  shown_count = min(SHOWN, before.shape[1])
  drawing = style.figure(0.5 + len(before) * min(0.62, 4.0 / (2 * shown_count)))
  left, right = drawing.subfigures(1, 2, wspace=0.04)
  for part, images, title in (
    (left, before, "Started from"),
    (right, after, "Learned"),
  ):
    part.suptitle(title, fontsize=10)
    panels = part.subplots(len(images), shown_count, squeeze=False)
    low, high = np.percentile(images, [0.5, 99.5])
    pixels = np.clip((images - low) / max(high - low, 1e-9), 0, 1)
    for row, axes in enumerate(panels):
      for column, axis in enumerate(axes):
        one = pixels[row, column]
        axis.imshow(one[..., 0] if one.shape[-1] == 1 else one[..., :3],
                    cmap="gray", vmin=0, vmax=1)  # fmt: skip
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
      if part is left:
        axes[0].set_ylabel(
          style.legible(class_names[row], 12),
          rotation=0,
          ha="right",
          va="center",
          size=8,
        )
  return drawing


@style.styled
def accuracy_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the accuracy of every kind of images."""
  entries = networks(results)
  order = [name for name in TITLES if name in entries]
  drawing = style.figure(2.6)
  axes = drawing.subplots()
  for place, name in enumerate(order):
    values = 100 * numbers(entries[name]["test_accuracy"])
    colour = style.colour_of(name)
    axes.barh(place, values.mean(), color=colour, alpha=0.45, height=0.6)
    axes.plot(
      values, np.full(len(values), place), ls="", color=colour,
      marker=style.marker_of(name), ms=5,
    )  # fmt: skip
    axes.text(values.max() + 2, place, f"{values.mean():.1f}", va="center")
  axes.set_yticks(range(len(order)), [TITLES[name] for name in order])
  axes.invert_yaxis()
  axes.set(xlim=(0, 100), xlabel="Test accuracy, %")
  return drawing


@style.styled
def rates_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the learned rates."""
  drawing = style.figure(2.4)
  axes = drawing.subplots()
  for rates in results["synthesis"]["rates"]:
    axes.plot(
      range(1, len(rates) + 1), rates, color=style.colour_of("student"),
      lw=1, marker="o" if len(rates) < 3 else None,
    )  # fmt: skip
  highest = max(map(max, results["synthesis"]["rates"]))
  axes.set(xlabel="Step", ylabel="Learning rate", ylim=(0, 1.1 * highest))
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.grid(axis="y")
  return drawing


def _accuracy(entry: Mapping[str, Any]) -> str:
  return formats.with_spread(100 * numbers(entry["test_accuracy"]))


def _evidence(results: Mapping[str, Any], control: str) -> str:
  comparison = verdicts.find_comparison(results, control)
  return verdicts.evidence(comparison, turned=True, of="set")
