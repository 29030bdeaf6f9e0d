"""From entropies to the scores of results.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.evaluate import knowledge
from kdjax.evaluate.knowledge import Concepts, Estimate
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.runner.report import reading
from kdjax.taps import Tap

# What the paper expects of the student against the baseline. D_std is the
# variance there; both are tested.
HYPOTHESES = {
  "n_fg": "larger",
  "n_bg": "smaller",
  "lambda": "larger",
  "d_mean": "smaller",
  "d_std": "smaller",
  "d_var": "smaller",
  "rho": "larger",
}
# Ours, free of a threshold or of the union; expected alike.
COMPANIONS = {"auc": "larger", "entropy_gap": "larger", "d95": "smaller"}
THRESHOLDS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)


class History(NamedTuple):
  """What is kept of one network's training.

  Attributes:
    entries: names of the estimates on disk.
    estimates: of every checkpoint, the initialisation first.
    trail: of the tapped layer's weights.
  """

  entries: tuple[str, ...] = ()
  estimates: tuple[Estimate, ...] = ()
  trail: knowledge.Trail | None = None
  whole: knowledge.Trail | None = None


def extended(
  history: History,
  entry: str,
  estimate: Estimate,
  network: Any,
  tap: Tap,
  mask: Any,
) -> History:
  """Adds a checkpoint."""
  layer, whole = weights_of(network, tap, mask)
  return History(
    (*history.entries, entry),
    (*history.estimates, estimate),
    knowledge.extended(history.trail, layer),
    knowledge.extended(history.whole, whole),
  )


def weights_of(
  network: Any, tap: Tap, mask: Any
) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """Returns the weights whose way is followed."""
  params = jax.device_get(network["params"])
  return layer_weights(params, tap, mask["params"]), jax.tree.leaves(params)


def layer_weights(params: Any, tap: Tap, mask: Any) -> list[np.ndarray]:
  """Returns the weights that make a tapped layer's feature.

  Args:
    tap: its path leads to the layer, or to a part of it without parameters.
  """
  nodes = [(params, mask)]
  if tap.site != "in":
    for name in tap.path:
      node, mask_node = nodes[-1]
      if not isinstance(node, Mapping) or name not in node:
        break
      nodes.append((node[name], mask_node[name]))
  for node, mask_node in reversed(nodes):
    pairs = zip(jax.tree.leaves(node), jax.tree.leaves(mask_node), strict=True)
    weights = [x for x, keep in pairs if keep and np.ndim(x) > 1]
    if weights:
      return weights
  return jax.tree.leaves(params)


def concepts_of(
  setup: KnowledgeSetup, history: History, *, whole=False
) -> Concepts:
  """Puts the histories' arrays together."""
  trail = history.whole if whole else history.trail
  return Concepts(
    np.stack([one.entropy for one in history.estimates]),
    np.stack([one.valid for one in history.estimates]),
    setup.on_object,
    np.array(trail.lengths),
  )


def network_scores(
  setup: KnowledgeSetup, networks: Any, histories: list[History]
) -> dict[str, Any]:
  """The scores of networks that differ by their seed."""
  logits = evaluate.predict(
    setup.network.apply,
    networks,
    setup.dataset.test.images,
    data.to_float,
    together=setup.together,
  )
  params = jax.device_get(networks["params"])
  seeds = range(len(histories))
  seed_params = [jax.tree.map(lambda x, m=m: x[m], params) for m in seeds]
  concepts = [concepts_of(setup, history) for history in histories]
  whole = [concepts_of(setup, history, whole=True) for history in histories]
  rows = [knowledge.metrics(one, setup.threshold) for one in concepts]
  everything = [knowledge.metrics(one, setup.threshold) for one in whole]
  return {
    "model": setup.model,
    "parameters": evaluate.parameters(seed_params[0]),
    **evaluate.measure(logits, setup.dataset.test.labels),
    "digest": [storage.digest(one) for one in seed_params],
    "metrics": {name: [row[name] for row in rows] for name in rows[0]},
    "all_weights": {
      name: [row[name] for row in everything]
      for name in ("d_mean", "d_std", "d_var", "d95")
    },
    "curves": [knowledge.curves(one, THRESHOLDS) for one in concepts],
    "training": [knowledge.counts(one, setup.threshold) for one in concepts],
    "convergence": _convergence(histories),
  }


def comparisons(
  student: Mapping[str, Any], baseline: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """Tests every hypothesis, seed by seed.

  Args:
    student: metrics by name, one value a seed; None where undefined.
  """
  rows = []
  for source, directions in (("paper", HYPOTHESES), ("ours", COMPANIONS)):
    for name, direction in directions.items():
      if name not in student:
        continue
      row = _compared(student[name], baseline[name], direction)
      rows.append({"metric": name, "expected": direction, "by": source} | row)
  return rows


def over_thresholds(
  student: list[Mapping[str, Any]], baseline: list[Mapping[str, Any]]
) -> dict[str, Any]:
  """Tests the paper's hypotheses at every threshold."""
  thresholds = student[0]["threshold"]
  result = {"threshold": thresholds}
  for name, direction in HYPOTHESES.items():
    result[name] = [
      _compared(
        [one[name][k] for one in student],
        [one[name][k] for one in baseline],
        direction,
      )
      for k in range(len(thresholds))
    ]
  return result


def agreement(closed: Estimate, reference: Estimate) -> dict[str, Any]:
  """Says how well the closed form agrees with the optimiser."""
  places = np.flatnonzero(closed.valid & reference.valid)
  correlation = [
    float(
      np.corrcoef(closed.entropy[i].ravel(), reference.entropy[i].ravel())[0, 1]
    )
    for i in places
  ]
  gap = np.abs(closed.entropy[places] - reference.entropy[places])
  return {
    "images": len(places),
    "correlation": float(np.mean(correlation)) if len(places) else None,
    "lowest_correlation": float(np.min(correlation)) if len(places) else None,
    "mean_difference": float(gap.mean()) if len(places) else None,
    "largest_difference": float(gap.max()) if len(places) else None,
    "steps": float(np.mean(reference.steps)),
    "ratio": float(np.mean(reference.ratio)),
    "at_bounds": float(np.mean(reference.at_bounds)),
  }


def _compared(student, baseline, direction) -> dict[str, Any]:
  pairs = [
    pair for pair in zip(student, baseline, strict=True) if None not in pair
  ]
  if not pairs:
    return {"mean": None, "standard_deviation": None, "p_value": None,
            "wins": 0, "pairs": 0, "verdict": "undefined"}  # fmt: skip
  ours, theirs = np.array(pairs).T / 100
  # `compare` reads accuracies: its errors' difference is 100 (second - first).
  larger = direction == "larger"
  comparison = evaluate.compare(*((ours, theirs) if larger else (theirs, ours)))
  mean = -comparison.mean if larger else comparison.mean
  return comparison._asdict() | {"mean": mean, "verdict": _verdict(comparison)}


def _verdict(comparison: evaluate.Comparison) -> str:
  clear = (
    comparison.p_value is not None and comparison.p_value < reading.SIGNIFICANT
  )
  if comparison.mean < 0:
    return "reproduced" if clear else "as expected, not significant"
  return "opposite" if clear else "not reproduced"


def _convergence(histories: list[History]) -> dict[str, float]:
  """The estimator's own report on the last checkpoints."""
  last = [history.estimates[-1] for history in histories]
  every = [one for history in histories for one in history.estimates]
  return {
    "steps": float(np.mean([one.steps for one in last])),
    "ratio": float(np.mean([one.ratio for one in last])),
    "at_bounds": float(np.mean([one.at_bounds for one in last])),
    "mean_entropy": float(np.mean([one.entropy for one in last])),
    "invalid": int(sum((~one.valid).sum() for one in every)),
  }
