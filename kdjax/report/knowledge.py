"""The record of `launch.py quantify`: tables, pictures, page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.report import knowledge_plots as plots
from kdjax.report import logs, page, pictures
from kdjax.report.formats import count, p_value, signed, with_spread
from kdjax.report.pictures import Picture
from kdjax.report.reading import numbers
from kdjax.report.text import Table, to_text

ARROWS = {"larger": "↑", "smaller": "↓"}
NETWORKS = ("teacher", "student", "baseline")
TITLES = {
  "n_fg": "N_fg",
  "n_bg": "N_bg",
  "lambda": "lambda",
  "d_mean": "D_mean",
  "d_std": "D_std",
  "d_var": "D_var",
  "rho": "rho",
  "auc": "Foreground AUC",
  "entropy_gap": "Entropy gap, nats",
  "d95": "D95",
}
DIGITS = {"n_fg": 1, "n_bg": 1}


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
  drawn = draw(results, samples)
  pictures.save_figures(workdir / "figures", drawn)
  return page.write_html(workdir / "report.html", _parts(results, drawn))


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal.

  Args:
    results: as in results.json.

  Returns:
    Tables and sentences.
  """
  return "\n".join([*map(to_text, tables(results)), headline(results)])


def headline(results: Mapping[str, Any]) -> str:
  """Says which of the paper's hypotheses hold here, and which do not.

  Args:
    results: as in results.json.

  Returns:
    One or two sentences.
  """
  rows = [r for r in results["quantify"]["comparisons"] if r["by"] == "paper"]
  groups: dict[str, list[str]] = {}
  for row in rows:
    groups.setdefault(row["verdict"], []).append(TITLES[row["metric"]])
  listed = "; ".join(
    f"{verdict}: {', '.join(names)}" for verdict, names in groups.items()
  )
  pairs = max((row["pairs"] for row in rows), default=0)
  return (
    f"The paper's hypotheses on student and baseline, {pairs} paired seeds, b ="
    f" {results['quantify']['threshold']:g}: {listed}."
  )


def tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the tables: metrics, thresholds, networks, convergence.

  Args:
    results: as in results.json.

  Returns:
    The tables, in order.
  """
  return [
    metrics_table(results),
    thresholds_table(results),
    _networks_table(results),
    _convergence_table(results),
  ]


def metrics_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of all metrics, with the direction that is expected.

  Args:
    results: as in results.json.
  """
  found = results["quantify"]
  rows = []
  for row in found["comparisons"]:
    name, digits = row["metric"], DIGITS.get(row["metric"], 3)
    title = TITLES[name] + ("" if row["by"] == "paper" else " (ours)")
    rows.append(
      (
        f"{title} {ARROWS[row['expected']]}",
        *(
          with_spread(results[one]["metrics"][name], digits) for one in NETWORKS
        ),
        signed(row["mean"], digits),
        p_value(row["p_value"]),
        f"{row['wins']} of {row['pairs']}",
        row["verdict"],
      )
    )
  return Table(
    f"Visual concepts at {found['tap']}, {found['images']} images, b ="
    f" {found['threshold']:g}",
    ("Metric", "Teacher", "Student", "Baseline", "Student − baseline", "p",
     "Seeds as expected", "Verdict"),
    tuple(rows),
    (
      "Arrows: what the hypothesis expects of the student. ±: standard deviation"
      " over seeds. p: paired t-test over the seeds, two-sided; with few seeds"
      " only large and even differences reach 0.05.",
      "D_std is the standard deviation over images, D_var the variance, which"
      " the paper calls D_std. One teacher is shared by all seeds.",
      _left_out(results),
    ),
  )  # fmt: skip


def thresholds_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of verdicts over the threshold b.

  Args:
    results: as in results.json.
  """
  found = results["quantify"]["thresholds"]
  names = [name for name in found if name != "threshold"]
  rows = tuple(
    (
      f"{threshold:g}",
      *(
        f"{found[name][k]['wins']} of {found[name][k]['pairs']}"
        for name in names
      ),
    )
    for k, threshold in enumerate(found["threshold"])
  )
  return Table(
    "Seeds as expected, for every threshold b",
    ("b, nats", *(TITLES[name] for name in names)),
    rows,
    (
      "b is in nats on converged maps. The authors' early stop finds about a"
      " quarter of the spread of entropies: their b = 0.2 marks about the cells"
      " that 0.75 marks here.",
    ),
  )


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
      f"Visual concepts, b = {threshold:g}",
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
      "The metrics as curves over b",
      "Means over seeds, bands one standard deviation. The dotted line is the b"
      " of the table.",
    ),
  }


def _left_out(results) -> str:
  parts = []
  for name in NETWORKS:
    found = results[name]["metrics"]
    parts.append(
      f"{name} {sum(found['no_concepts'])} / {sum(found['no_foreground_concepts'])}"
      f" / {sum(found['invalid'])}"
    )
  return (
    "Left out, over all seeds (lambda is 0/0 / no foreground concept in any epoch"
    f" / invalid entropies): {'; '.join(parts)}."
  )


def _networks_table(results) -> Table:
  rows = []
  for name in NETWORKS:
    one = results[name]
    errors = [100 * x for x in numbers(one["test_accuracy"])]
    rows.append(
      (name.capitalize(), count(one["parameters"]), with_spread(errors, 1),
       with_spread(one["all_weights"]["d_mean"], 3))
    )  # fmt: skip
  examples = results["student"]["test_examples"]
  return Table(
    f"Networks, {examples:,} test images",
    ("Network", "Parameters", "Test accuracy, %", "D_mean, all weights"),
    tuple(rows),
  )


def _convergence_table(results) -> Table:
  rows = []
  for name in NETWORKS:
    own = results[name]["convergence"]
    other = results["quantify"]["estimators"].get(name, {})
    rows.append(
      (name.capitalize(), f"{own['mean_entropy']:.2f}", f"{own['ratio']:.2f}",
       f"{100 * own['at_bounds']:.1f}", f"{own['steps']:.0f}",
       _number(other.get("correlation"), 3),
       _number(other.get("mean_difference"), 3), _number(other.get("steps"), 0))
    )  # fmt: skip
  return Table(
    f"Convergence of the estimator ({results['quantify']['estimator']})",
    ("Network", "Mean entropy, nats", "Change / s_f²", "Cells at bounds, %",
     "Steps", "Correlation with optimiser", "Mean difference, nats",
     "Its steps"),
    tuple(rows),
    ("Change / s_f² tends to half the entropy's weight where no bound binds. The"
     " last three columns compare the closed form with the optimiser on a few"
     " images of the first seed.",),
  )  # fmt: skip


def _number(value, digits) -> str:
  return "–" if value is None else f"{value:.{digits}f}"


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
