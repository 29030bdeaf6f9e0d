"""The record of `launch.py quantify`: pictures and page around its tables."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kdjax.runner.report import knowledge_plots as plots
from kdjax.runner.report import page, record
from kdjax.runner.report.knowledge_tables import (
  NETWORKS,
  headline,
  summary,
  table_makers,
)
from kdjax.runner.report.pictures import Picture

__all__ = ["headline", "makers", "summary", "write"]


def write(
  workdir: Path, results: Mapping[str, Any], samples: Mapping[str, Any]
) -> Path:
  """Writes the figures and, last, the page."""
  content = {
    "name": results.get("name") or "Knowledge report",
    "sentences": lambda: [headline(results)],
    "tiles": lambda: page.score_tiles(
      (name, results[name]["test_accuracy"]) for name in NETWORKS
    ),
    "tables": table_makers(results),
  }
  return record.write(workdir, results, makers(results, samples), content)


def makers(
  results: Mapping[str, Any], samples: Mapping[str, Any]
) -> dict[str, Callable[[], Picture]]:
  """Returns how each picture is drawn, by name.

  Args:
    samples: "images" (K, H, W, C), "masks" (K, H, W), by network "entropy" and
      "concepts" (K, GH, GW), "moments" (T,) epochs, and by network "over_time"
      (T, GH, GW) of the first image.
  """
  return {
    "entropies": lambda: Picture(
      plots.maps_figure(samples),
      "What each network still knows, cell by cell",
      "Entropy in nats, one scale for all: dark cells are encoded, bright ones"
      " discarded. The line is the object's outline. First seed.",
      raster=True,
    ),
    "concepts": lambda: Picture(
      plots.concepts_figure(samples),
      "Visual concepts at the threshold b ="
      f" {results['quantify']['threshold']:g} nats",
      "Cells that stand out from the background's mean entropy: blue on the"
      " object, orange beside it.",
      raster=True,
    ),
    "over_time": lambda: Picture(
      plots.over_time_figure(samples),
      "One image over the training",
      "Entropy of student and baseline from the same initialisation on.",
      raster=True,
    ),
    "concepts_over_distance": lambda: Picture(
      plots.counts_figure(results),
      "Concepts over weight distance",
      "A line a seed; the mark is where the seed's mean number of foreground"
      " concepts is highest.",
    ),
    "thresholds": lambda: Picture(
      plots.thresholds_figure(results),
      "The metrics over the threshold b",
      "Means over seeds, bands one standard deviation. The dotted line is the"
      " threshold of the first table; the notes under it say what is what.",
    ),
  }
