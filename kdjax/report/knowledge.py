"""The record of `launch.py quantify`: pictures and page around its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.report import knowledge_plots as plots
from kdjax.report import logs, page, pictures, teachers
from kdjax.report.knowledge_tables import NETWORKS, headline, summary, tables
from kdjax.report.pictures import Picture

__all__ = ["draw", "headline", "summary", "tables", "write"]


def write(
  workdir: Path, results: Mapping[str, Any], samples: Mapping[str, Any]
) -> Path:
  """Writes results.json, the figures and the page.

  Args:
    workdir: of the run.
    results: as they are to stand in results.json.
    samples: what the pictures show, see `draw`.

  Returns:
    The page.

  Raises:
    StorageError: if something cannot be written.
  """
  logs.write_json(workdir / "results.json", results)
  teachers.warn(results)
  drawn = draw(results, samples)
  pictures.save_figures(workdir / "figures", drawn)
  return page.write_html(workdir / "report.html", _parts(results, drawn))


def draw(
  results: Mapping[str, Any], samples: Mapping[str, Any]
) -> dict[str, Picture]:
  """Draws every picture.

  Args:
    results: as in results.json.
    samples: "images" (K, H, W, C), "masks" (K, H, W), by network "entropy" and
      "concepts" (K, GH, GW), "moments" (T,) epochs, and by network "over_time"
      (T, GH, GW) of the first image.

  Returns:
    Pictures by name.
  """
  threshold = results["quantify"]["threshold"]
  return {
    "entropies": Picture(
      plots.maps_figure(samples),
      "What each network still knows, cell by cell",
      "Entropy in nats, one scale for all: dark cells are encoded, bright ones"
      " discarded. The line is the object's outline. First seed.",
      raster=True,
    ),
    "concepts": Picture(
      plots.concepts_figure(samples),
      f"Visual concepts at the threshold b = {threshold:g} nats",
      "Cells that stand out from the background's mean entropy: blue on the"
      " object, orange beside it.",
      raster=True,
    ),
    "over_time": Picture(
      plots.over_time_figure(samples),
      "One image over the training",
      "Entropy of student and baseline from the same initialisation on.",
      raster=True,
    ),
    "concepts_over_distance": Picture(
      plots.counts_figure(results),
      "Concepts over weight distance",
      "A line a seed; the mark is where the seed's mean number of foreground"
      " concepts is highest.",
    ),
    "thresholds": Picture(
      plots.thresholds_figure(results),
      "The metrics over the threshold b",
      "Means over seeds, bands one standard deviation. The dotted line is the"
      " threshold of the first table; the notes under it say what is what.",
    ),
  }


def _parts(results, drawn) -> dict[str, Any]:
  shown = {
    "test_accuracy": [
      (name, results[name]["test_accuracy"]) for name in NETWORKS
    ]
  }
  return {
    "name": results.get("name") or "Knowledge report",
    "headline": headline(results),
    "notes": [],
    "accuracies": shown["test_accuracy"],
    "tables": tables(results),
    "figures": drawn,
    "results": results,
  }
