"""From trained networks to the figures of results.json."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import cached_teacher, sweep
from kdjax.runner.pipeline.arms import objective_temperature
from kdjax.runner.pipeline.predict import first, predict
from kdjax.runner.pipeline.setup import Prepared, Trainee
from kdjax.runner.report.progress import say

# A network's rounds of one batch size; compiling comes on top.
LATENCY_SECONDS = 2.0


class Measured(NamedTuple):
  """What measuring a run gives.

  Attributes:
    figures: JSON values, as they stand in results.json.
    networks: by arm, variables of the best cell, with a leading axis (seeds,).
    best: by arm, the number of the best cell.
    samples: some scored images with what teacher and student say of them;
      None without a teacher.
  """

  figures: dict[str, Any]
  networks: dict[str, Any]
  best: dict[str, int]
  samples: dict[str, Any] | None


def measure(
  experiment: Experiment,
  parts: Prepared,
  teacher: Any,
  students: dict[str, Any],
  together: Mapping[str, Any] | None = None,
  lesson: np.ndarray | None = None,
) -> Measured:
  """Scores the teacher and every arm, each arm at its own best cell.

  Args:
    experiment: the settings.
    parts: of the run.
    teacher: the teachers' variables, with a leading axis (T,), or None.
    students: by arm, variables with a leading axis (cells * seeds,).
    together: by arm of networks that learnt together, the variables of all of
      them, (cells * seeds, roles, ...).
    lesson: (N, C) the logits that the student learns from, on the scored
      images, for the agreement with them; the first teacher's by default.

  Returns:
    Figures, networks and samples.
  """
  seeds = experiment.student.seeds
  say(f"measuring the networks on {len(parts.scored.labels):,} images")
  taught = None
  if teacher is not None:
    taught = predict(parts.teacher, teacher, parts.scored.images)
    lesson = taught[0] if lesson is None else lesson
  logits = {
    arm: predict(parts.student, networks, parts.scored.images).reshape(
      -1, seeds, *parts.scored.labels.shape, parts.dataset.classes
    )
    for arm, networks in students.items()
  }
  accuracy = {
    arm: evaluate.accuracy(values, parts.scored.labels)
    for arm, values in logits.items()
  }
  best = {
    arm: int(np.argmax(values.mean(axis=1))) for arm, values in accuracy.items()
  }
  chosen = {
    arm: _cell(networks, best[arm], seeds) for arm, networks in students.items()
  }
  logits = {arm: values[best[arm]] for arm, values in logits.items()}
  found = figures(parts, teacher, chosen, taught, logits, lesson)
  for arm in chosen:
    found[arm]["settings"] = parts.grids[arm][best[arm]]
  for arm, networks in (together or {}).items():
    found[arm]["peers"] = _together(
      parts, arm, _cell(networks, best[arm], seeds)
    )
  controls = [arm for arm in students if arm not in ("student", "baseline")]
  found["controls"] = {arm: found.pop(arm) for arm in controls}
  found["comparisons"] = comparisons(found)
  if len(parts.grids["student"]) > 1:
    found["sweep"] = sweep.sweep_figures(parts.grids, accuracy, best)
  if experiment.data.omit_classes:
    found["omitted_class"] = _omitted(
      experiment, parts, logits, chosen["student"]
    )
  samples = None
  if taught is not None:
    samples = _samples(experiment, parts, lesson, logits["student"][0])
  return Measured(found, chosen, best, samples)


def _cell(networks: Any, number: int, seeds: int) -> Any:
  """The networks of one cell of a grid, (cells * seeds, ...) -> (seeds, ...)."""
  return jax.tree.map(
    lambda x: x.reshape(-1, seeds, *x.shape[1:])[number], networks
  )


def _together(parts: Prepared, arm: str, networks: Any) -> dict[str, Any]:
  """Scores all networks that learnt together, and the mean of their answers."""
  roles = parts.student.arms[arm].learner.roles
  flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), networks)
  logits = predict(parts.student, flat, parts.scored.images)
  logits = logits.reshape(-1, len(roles), *logits.shape[1:])
  return evaluate.measure_together(logits, parts.scored.labels, roles)


def history_at_best(
  experiment: Experiment, measured: Measured, history: list[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Keeps the members of each arm's best cell in the rows of a run's log.

  Args:
    experiment: the settings.
    measured: of the run.
    history: rows of metrics.jsonl.

  Returns:
    The rows, with lists of one number a seed.
  """
  seeds = experiment.student.seeds

  def kept(row):
    if row["network"] not in measured.best:
      return row
    start = measured.best[row["network"]] * seeds
    return {
      name: value[start : start + seeds] if isinstance(value, list) else value
      for name, value in row.items()
    }

  return [kept(row) for row in history]


def figures(
  parts: Prepared,
  teacher: Any,
  chosen: Mapping[str, Any],
  taught: np.ndarray | None,
  logits: Mapping[str, np.ndarray],
  lesson: np.ndarray | None = None,
) -> dict[str, Any]:
  """Scores the teacher and networks of the student's architecture.

  Args:
    parts: of the run.
    teacher: the teachers' variables, with a leading axis (T,), or None.
    chosen: variables by name, with a leading axis (seeds,); "student" among
      them.
    taught: (T, N, C) the teachers' logits on the scored images, or None.
    logits: by name, (seeds, N, C).
    lesson: as in `measure`.

  Returns:
    JSON values by name; "teacher" is None where nobody taught.
  """
  found, timed, answers = {"teacher": None}, {}, None
  if parts.cached is not None:
    found["teacher"] = cached_teacher.figures(parts.cached)
  if teacher is not None:
    found["teacher"] = _network(parts, parts.teacher, teacher, taught) | {
      "digest": _digests(teacher["params"])
    }
    timed["teacher"] = (parts.teacher, first(teacher))
    answers = taught[0] if lesson is None else lesson
  # Compiled once, and not once an arm.
  flops = _flops(parts, parts.student, chosen["student"])
  for arm, networks in chosen.items():
    digests = _digests(networks["params"])
    found[arm] = _network(
      parts, parts.student, networks, logits[arm], answers, flops
    ) | {"digest": digests, "seeds": list(range(len(digests)))}
  timed["student"] = (parts.student, first(chosen["student"]))
  if parts.experiment.run.latency:
    for name, value in latencies(parts, timed).items():
      found[name] |= value
  return found


def _flops(parts: Prepared, trainee: Trainee, networks: Any) -> int | None:
  def forward(variables, images):
    return trainee.network.apply(variables, images, train=False)

  return evaluate.flops(forward, first(networks), parts.sample)


def _network(
  parts, trainee, networks, logits, teacher_logits=None, flops=None
) -> dict[str, Any]:
  """The figures of networks of one architecture."""
  one = first(networks)
  return {
    "model": trainee.model,
    "parameters": evaluate.parameters(one["params"]),
    "flops": flops or _flops(parts, trainee, networks),
    **evaluate.measure(logits, parts.scored.labels, teacher_logits),
  }


def _digests(params: Any) -> list[str]:
  members = len(jax.tree.leaves(params)[0])
  params = jax.device_get(params)
  return [
    storage.digest(jax.tree.map(lambda x, m=m: x[m], params))
    for m in range(members)
  ]


def latencies(
  parts: Prepared, networks: Mapping[str, tuple[Trainee, Any]]
) -> dict[str, dict[str, Any]]:
  """Times the forward passes of networks in turn, for one image and for 64.

  Args:
    parts: of the run.
    networks: by name, what a network is and its variables.

  Returns:
    As `clock`.
  """
  calls = {1: {}, 64: {}}
  for batch in calls:
    images = np.zeros((batch, *parts.dataset.image_shape), np.float32)
    for name, (trainee, variables) in networks.items():
      forward = jax.jit(
        lambda variables, x, network=trainee.network: network.apply(
          variables, x, train=False
        )
      )
      calls[batch][name] = lambda f=forward, v=variables, x=images: f(v, x)
  return clock(calls)


def clock(
  calls: Mapping[int, Mapping[Any, Callable[[], Any]]],
) -> dict[Any, dict[str, Any]]:
  """Times networks in turn, no longer than their seconds allow, and says so.

  Args:
    calls: by batch size and name, as in `evaluate.latency`.

  Returns:
    By name and batch size "latency_ms", the median of "latency_rounds" rounds.
  """
  seconds = len(calls) * LATENCY_SECONDS
  say(
    f"measuring latency, some {seconds:.0f} s a network besides compiling"
    " (--nolatency leaves it out)"
  )
  result = {}
  for batch, named in calls.items():
    rounds = evaluate.time_rounds(named, seconds=LATENCY_SECONDS)
    for name, times in rounds.items():
      one = result.setdefault(name, {"latency_ms": {}, "latency_rounds": {}})
      one["latency_ms"][str(batch)] = float(np.median(times))
      one["latency_rounds"][str(batch)] = len(times)
  return result


def comparisons(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Compares the student with its twin and every control, seed by seed.

  Args:
    results: with "student", "baseline" and "controls".

  Returns:
    A comparison each, in the order of the networks.
  """
  others = {"baseline": results["baseline"], **results["controls"]}
  student = results["student"]["test_accuracy"]
  return [
    {"student": "student", "control": name}
    | evaluate.compare(student, other["test_accuracy"])._asdict()
    for name, other in others.items()
  ]


def _samples(
  experiment, parts, teacher_logits, student_logits
) -> dict[str, Any]:
  """Picks images that the teacher gets right and finds most ambiguous.

  One of a class, the eight most ambiguous of these.
  """
  labels = parts.scored.labels
  margin = np.diff(np.sort(teacher_logits, axis=-1)[:, -2:], axis=-1)[:, 0]
  margin = np.where(
    np.argmax(teacher_logits, axis=-1) == labels, margin, np.inf
  )
  of_class = [
    np.flatnonzero(labels == label)[np.argmin(margin[labels == label])]
    for label in np.unique(labels)
  ]
  picked = sorted(of_class, key=lambda i: margin[i])[:8]
  return {
    "images": np.stack([parts.scored.images[int(i)] for i in picked]),
    "labels": labels[picked],
    "teacher_logits": teacher_logits[picked],
    "student_logits": student_logits[picked],
    "temperature": objective_temperature(experiment),
    "class_names": parts.dataset.class_names,
  }


def _omitted(experiment, parts, logits, students) -> dict[str, Any]:
  """Measures classes that the student never saw, with and without their bias.

  The bias is chosen on training images without their labels, such that the
  classes come out as often as they are common.
  """
  omitted, labels = experiment.data.omit_classes, parts.scored.labels
  train = data.select(parts.dataset.train, parts.examples)
  prior = float(np.mean(np.isin(train.labels, omitted)))
  unlabelled = predict(parts.student, students, train.images)
  bias = evaluate.match_prior(unlabelled, omitted, prior)
  corrected = logits["student"] + bias[:, None, :]
  accuracy = {
    name: [float(x) for x in evaluate.accuracy(values, labels)]
    for name, values in (
      ("accuracy", logits["student"]),
      ("corrected", corrected),
    )
  }
  return {
    "class": omitted[0] if len(omitted) == 1 else list(omitted),
    "prior": prior,
    "bias": [float(x) for x in bias.max(axis=-1)],
    "recall": evaluate.recall(logits["student"], labels, omitted),
    "recall_corrected": evaluate.recall(corrected, labels, omitted),
    "baseline_recall": evaluate.recall(logits["baseline"], labels, omitted),
    "accuracy": accuracy["accuracy"],
    "accuracy_corrected": accuracy["corrected"],
  }
