"""What `launch.py quantify` found, as tables and sentences."""

from collections.abc import Callable, Mapping
from typing import Any

from kdjax.runner.report import teachers, text
from kdjax.runner.report.formats import count, p_value, signed, with_spread
from kdjax.runner.report.reading import numbers
from kdjax.runner.report.tables import without_empty_columns
from kdjax.runner.report.text import Table

ARROWS = {"larger": "↑", "smaller": "↓"}
NETWORKS = ("teacher", "student", "baseline")
# The paper's sign of each metric, and what it is.
SIGNS = {
  "n_fg": "N_fg",
  "n_bg": "N_bg",
  "lambda": "lambda",
  "d_mean": "D_mean",
  "d_std": "D_std",
  "d_var": "D_var",
  "rho": "rho",
  "d95": "D95",
}
WORDS = {
  "n_fg": "foreground concepts",
  "n_bg": "background concepts",
  "lambda": "share on the foreground",
  "d_mean": "mean learning distance",
  "d_std": "deviation of the distance",
  "d_var": "variance of the distance",
  "rho": "share of concepts kept",
  "auc": "foreground AUC",
  "entropy_gap": "entropy gap, nats",
  "d95": "distance to 95 % of the concepts",
}
# Few seeds allow neither "reproduced" nor its contrary.
VERDICTS = {
  "as expected, not significant": "not shown, as expected",
  "not reproduced": "not shown, not as expected",
}
DIGITS = {"n_fg": 1, "n_bg": 1}
# Made from images on which some epoch finds a foreground concept.
OF_SOME_IMAGES = ("d_mean", "d_std", "d_var", "rho", "d95")
FEW = 0.5


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal."""
  return text.summary(table_makers(results), lambda: [headline(results)])


def headline(results: Mapping[str, Any]) -> str:
  """Says which of the paper's hypotheses hold here, and which do not."""
  rows = [r for r in results["quantify"]["comparisons"] if r["by"] == "paper"]
  groups: dict[str, list[str]] = {}
  for row in rows:
    name = row["metric"]
    title = f"{SIGNS[name]}{_mark(results, name)} ({WORDS[name]})"
    groups.setdefault(verdict_of(row), []).append(title)
  text = "; ".join(
    f"{verdict}: {', '.join(names)}" for verdict, names in groups.items()
  )
  pairs = max((row["pairs"] for row in rows), default=0)
  few = " † Rests on few images." if "†" in text else ""
  return teachers.before(
    results,
    f"The paper's hypotheses on student and baseline, {pairs} paired seeds, b ="
    f" {results['quantify']['threshold']:g}: {text}.{few}",
  )


def table_makers(
  results: Mapping[str, Any],
) -> dict[str, Callable[[], list[Table]]]:
  """Returns how the tables are made, in order, by what they tell."""
  return {
    "metrics": lambda: [metrics_table(results)],
    "thresholds": lambda: [thresholds_table(results)],
    "networks": lambda: [_networks_table(results)],
    "convergence": lambda: [_convergence_table(results)],
  }


def metrics_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of all metrics, with the direction that is expected."""
  quantify = results["quantify"]
  rows = []
  for row in quantify["comparisons"]:
    name, digits = row["metric"], DIGITS.get(row["metric"], 3)
    title = title_of(name) + ("" if row["by"] == "paper" else " (ours)")
    rows.append(
      (
        f"{title} {ARROWS[row['expected']]}",
        *(
          with_spread(results[one]["metrics"][name], digits) for one in NETWORKS
        ),
        signed(row["mean"], digits),
        p_value(row["p_value"]),
        f"{row['wins']} of {row['pairs']}",
        verdict_of(row) + _mark(results, name),
      )
    )
  table = Table(
    f"Visual concepts at {quantify['tap']}, {quantify['images']} images, threshold b"
    f" = {quantify['threshold']:g} nats",
    ("Metric", "Teacher", "Student", "Baseline", "Student − baseline", "p",
     "Seeds as expected", "Verdict"),
    tuple(rows),
    (
      "Arrows: what the hypothesis expects of the student. ±: standard deviation"
      " over seeds. p: paired t-test over the seeds, two-sided; with few seeds"
      " only large and even differences reach 0.05.",
      "Concept: a cell whose entropy is more than b below the mean of the"
      " background's. Foreground: the object. Learning distance: how far the"
      " weights have gone, in their first length, when the most foreground"
      " concepts are there. Kept: concepts of the last epoch among all that there"
      " were.",
      "D_std is the standard deviation over images, D_var the variance, which"
      " the paper calls D_std. One teacher is shared by all seeds.",
      _left_out(results),
      "† rests on few images: on more than half of them one of the two networks"
      " has no foreground concept in any epoch, so that there is nothing to follow.",
    ),
  )  # fmt: skip
  return without_empty_columns(table)


def thresholds_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of verdicts over the threshold b."""
  tests = results["quantify"]["thresholds"]
  names = [name for name in tests if name != "threshold"]
  rows = tuple(
    (
      f"{threshold:g}",
      *(
        f"{tests[name][k]['wins']} of {tests[name][k]['pairs']}"
        for name in names
      ),
    )
    for k, threshold in enumerate(tests["threshold"])
  )
  return Table(
    "Seeds as expected, for every threshold b",
    ("b, nats", *map(title_of, names)),
    rows,
    (
      "b is in nats on converged maps. The authors' early stop finds about a"
      " quarter of the spread of entropies: their b = 0.2 marks about the cells"
      " that 0.75 marks here.",
    ),
  )


def title_of(metric: str) -> str:
  """Returns a metric's sign, where it has one, and what it is in words.

  Example:
    >>> title_of("n_fg"), title_of("auc")
    ('N_fg, foreground concepts', 'Foreground AUC')
  """
  words = WORDS[metric]
  if metric in SIGNS:
    return f"{SIGNS[metric]}, {words}"
  return words[0].upper() + words[1:]


def verdict_of(row: Mapping[str, Any]) -> str:
  """Returns what a comparison allows to say.

  Example:
    >>> verdict_of({"verdict": "not reproduced", "pairs": 1})
    'not shown: one seed'
  """
  verdict = row["verdict"]
  if row["pairs"] == 1:
    return "not shown: one seed"
  return VERDICTS.get(verdict, verdict)


def _mark(results, metric: str) -> str:
  """A dagger where a metric leaves most images of a network out."""
  if metric not in OF_SOME_IMAGES:
    return ""
  images = results["quantify"]["images"]
  left_out = [
    sum(counts) / (images * len(counts))
    for name in ("student", "baseline")
    for counts in [results[name]["metrics"]["no_foreground_concepts"]]
  ]
  return " †" if max(left_out) > FEW else ""


def _left_out(results) -> str:
  parts = []
  for name in NETWORKS:
    metrics = results[name]["metrics"]
    parts.append(
      f"{name} {sum(metrics['no_concepts'])} / {sum(metrics['no_foreground_concepts'])}"
      f" / {sum(metrics['invalid'])}"
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
    (
      "Network",
      "Parameters",
      "Test accuracy, %",
      "D_mean, mean learning distance, of all weights",
    ),
    tuple(rows),
  )


def _convergence_table(results) -> Table:
  rows = []
  for name in NETWORKS:
    convergence = results[name]["convergence"]
    other = results["quantify"]["estimators"].get(name, {})
    rows.append(
      (name.capitalize(),
       f"{convergence['mean_entropy']:.2f}", f"{convergence['ratio']:.2f}",
       f"{100 * convergence['at_bounds']:.1f}", f"{convergence['steps']:.0f}",
       _number(other.get("correlation"), 3),
       _number(other.get("mean_difference"), 3), _number(other.get("steps"), 0))
    )  # fmt: skip
  note = (
    "Change: the feature's, squared, under the noise that was found; s_f²: the"
    " same under a deviation of 0.01. The ratio tends to half the entropy's weight"
    " where no bound binds."
  )
  if results["quantify"]["estimators"]:
    note += (
      " The last three columns compare the closed form with the optimiser on a"
      " few images of the first seed."
    )
  return without_empty_columns(
    Table(
      f"Convergence of the estimator ({results['quantify']['estimator']})",
      ("Network", "Mean entropy, nats", "Change / s_f²", "Cells at bounds, %",
       "Steps", "Correlation with optimiser", "Mean difference, nats",
       "Its steps"),
      tuple(rows),
      (note,),
    )
  )  # fmt: skip


def _number(value, digits) -> str:
  return "–" if value is None else f"{value:.{digits}f}"
