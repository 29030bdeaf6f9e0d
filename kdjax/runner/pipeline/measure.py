"""From trained networks to the scores of results.json."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.core.calling import call_with
from kdjax.core.task import Task
from kdjax.data.dataset import empty_examples
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import cached_teacher, sweep
from kdjax.runner.pipeline.predict import (
  first,
  measured,
  predict,
  predict_pooled,
)
from kdjax.runner.pipeline.setup import Setup, TrainSpec
from kdjax.runner.pipeline.values import objective_temperature
from kdjax.runner.report.progress import say

# What tables call the names of an answer's numbers, by its kind.
NAMES = {"categories": "class_names"} | dict.fromkeys(
  ("binary", "values", "gaussians"), "label_names"
)
# A network's rounds of one batch size; compiling comes on top.
LATENCY_SECONDS = 2.0


class Measurement(NamedTuple):
  """What measuring a run gives.

  Attributes:
    scores: JSON values, as they stand in results.json.
    networks: by arm, variables of the best cell, with a leading axis (seeds,).
    best: by arm, the number of the best cell.
    samples: some scored images with what teacher and student say of them, or maps
      of it; None without a teacher.
  """

  scores: dict[str, Any]
  networks: dict[str, Any]
  best: dict[str, int]
  samples: dict[str, Any] | None


def measure(
  experiment: Experiment,
  setup: Setup,
  teacher: Any,
  students: dict[str, Any],
  together: Mapping[str, Any] | None = None,
  target_logits: np.ndarray | None = None,
) -> Measurement:
  """Scores the teacher and every arm, each arm at its own best cell.

  Args:
    teacher: the teachers' variables, with a leading axis (T,), or None.
    students: by arm, variables with a leading axis (cells * seeds,).
    together: by arm of networks that learnt together, the variables of all of
      them, (cells * seeds, roles, ...).
    target_logits: (N, C) the logits that the student learns from, on the scored
      images, for the agreement with them; the first teacher's by default.
  """
  seeds = experiment.student.seeds
  noun = setup.dataset.noun
  say(f"measuring the networks on {len(setup.score_split.labels):,} {noun}s")
  teacher_logits = None
  if teacher is not None:
    teacher_logits = predict(setup.teacher, teacher, setup.score_split.images)
    target_logits = (
      teacher_logits[0] if target_logits is None else target_logits
    )
  logits = {
    arm: predict(setup.student, networks, setup.score_split.images)
    for arm, networks in students.items()
  }
  task = setup.student.task
  values = {
    arm: np.reshape(
      evaluate.score(task, arm_logits, setup.score_split.labels), (-1, seeds)
    )
    for arm, arm_logits in logits.items()
  }
  best = {
    arm: int(sweep.ranking(arm_values, task.better)[0])
    for arm, arm_values in values.items()
  }
  best_networks = {
    arm: _cell(networks, best[arm], seeds) for arm, networks in students.items()
  }
  logits = {
    arm: _cell(arm_logits, best[arm], seeds)
    for arm, arm_logits in logits.items()
  }
  results = scores(
    setup, teacher, best_networks, teacher_logits, logits, target_logits
  )
  for arm in best_networks:
    results[arm]["settings"] = setup.grids[arm][best[arm]]
  for arm, networks in (together or {}).items():
    results[arm]["peers"] = _together(
      setup, arm, _cell(networks, best[arm], seeds)
    )
  controls = [arm for arm in students if arm not in ("student", "baseline")]
  results["controls"] = {arm: results.pop(arm) for arm in controls}
  results["comparisons"] = comparisons(results, task)
  if len(setup.grids["student"]) > 1:
    results["sweep"] = sweep.sweep_scores(setup.grids, values, best, task=task)
  if experiment.data.omit_classes:
    results["omitted_class"] = _omitted(
      experiment, setup, logits, best_networks["student"]
    )
  samples = None
  if teacher_logits is not None and task.samples is not None:
    if task.kept is None:
      samples = _samples(experiment, setup, target_logits, logits["student"][0])
    else:
      samples = _maps(setup, teacher, best_networks, target_logits)
  return Measurement(results, best_networks, best, samples)


def _cell(networks: Any, number: int, seeds: int) -> Any:
  """The networks of one cell of a grid, (cells * seeds, ...) -> (seeds, ...)."""
  return jax.tree.map(
    lambda x: x.reshape(-1, seeds, *x.shape[1:])[number], networks
  )


def _together(setup: Setup, arm: str, networks: Any) -> dict[str, Any]:
  """Scores all networks that learnt together, and the mean of their answers."""
  roles = setup.student.arms[arm].scheme.roles
  flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), networks)
  logits = predict(setup.student, flat, setup.score_split.images)
  logits = logits.reshape(-1, len(roles), *logits.shape[1:])
  pooled = None
  if setup.student.task.kept is not None:
    each = [
      jax.tree.map(lambda x, i=i: x[i], networks) for i in range(len(logits))
    ]
    images = setup.score_split.images
    pooled = np.stack(
      [predict_pooled(setup.student, one, images) for one in each]
    )
  return evaluate.measure_together(
    setup.student.task, logits, setup.score_split.labels, roles, pooled
  )


def history_at_best(
  experiment: Experiment,
  measurement: Measurement,
  history: list[dict[str, Any]],
) -> list[dict[str, Any]]:
  """Keeps the members of each arm's best cell in the rows of a run's log."""
  seeds = experiment.student.seeds

  def kept(row):
    if row["network"] not in measurement.best:
      return row
    start = measurement.best[row["network"]] * seeds
    return {
      name: value[start : start + seeds] if isinstance(value, list) else value
      for name, value in row.items()
    }

  return [kept(row) for row in history]


def scores(
  setup: Setup,
  teacher: Any,
  networks_of: Mapping[str, Any],
  teacher_logits: np.ndarray | None,
  logits: Mapping[str, np.ndarray],
  target_logits: np.ndarray | None = None,
) -> dict[str, Any]:
  """Scores the teacher and networks of the student's architecture, as JSON values.

  Args:
    teacher: the teachers' variables, with a leading axis (T,), or None.
    networks_of: variables by name, with a leading axis (seeds,); "student" among
      them.
    teacher_logits: (T, N, C) the teachers' logits on the scored images, or
      None.
    logits: by name, (seeds, N, C).
  """
  results = {"task": setup.student.task.name, "teacher": None}
  results |= setup.data_facts
  results |= names_of(setup)
  to_time, answers = {}, None
  if setup.cached is not None:
    results["teacher"] = cached_teacher.scores(
      setup.cached, setup.student.task.score
    )
  if teacher is not None:
    results["teacher"] = _network(
      setup, setup.teacher, teacher, teacher_logits
    ) | {"digest": _digests(teacher["params"])}
    to_time["teacher"] = (setup.teacher, first(teacher))
    answers = teacher_logits[0] if target_logits is None else target_logits
  # Compiled once, and not once an arm.
  flops = _flops(setup, setup.student, networks_of["student"])
  for arm, networks in networks_of.items():
    digests = _digests(networks["params"])
    results[arm] = _network(
      setup, setup.student, networks, logits[arm], answers, flops
    ) | {"digest": digests, "seeds": list(range(len(digests)))}
  to_time["student"] = (setup.student, first(networks_of["student"]))
  if setup.experiment.run.latency:
    for name, value in latencies(setup, to_time).items():
      results[name] |= value
  return results


def names_of(setup: Setup) -> dict[str, list[str]]:
  """What the tables of labels, of classes and of groups call their rows."""
  dataset, kind = setup.dataset, setup.student.task.kind
  names = {}
  if kind in NAMES:
    names[NAMES[kind]] = list(dataset.class_names)
  if dataset.group_names:
    names["group_names"] = list(dataset.group_names)
  return names


def _flops(setup: Setup, train_spec: TrainSpec, networks: Any) -> int | None:
  def forward(variables, images):
    return call_with(train_spec.network.apply, variables, images, train=False)

  return evaluate.flops(forward, first(networks), setup.sample)


def _network(
  setup, train_spec, networks, logits, teacher_logits=None, flops=None
) -> dict[str, Any]:
  """The scores of networks of one architecture."""
  one = first(networks)
  return {
    "model": train_spec.model.text,
    "parameters": evaluate.parameters(one["params"]),
    "parameter_bytes": sum(x.nbytes for x in jax.tree.leaves(one["params"])),
    "flops": flops or _flops(setup, train_spec, networks),
    **measured(setup, train_spec.task, logits, teacher_logits),
  }


def _digests(params: Any) -> list[str]:
  members = len(jax.tree.leaves(params)[0])
  params = jax.device_get(params)
  return [
    storage.digest(jax.tree.map(lambda x, m=m: x[m], params))
    for m in range(members)
  ]


def latencies(
  setup: Setup, networks: Mapping[str, tuple[TrainSpec, Any]]
) -> dict[str, dict[str, Any]]:
  """Times the forward passes of networks in turn, for one image and for 64."""
  calls = {1: {}, 64: {}}
  for batch in calls:
    inputs = empty_examples(setup.dataset, batch)
    for name, (train_spec, variables) in networks.items():
      forward = jax.jit(
        lambda variables, x, network=train_spec.network: call_with(
          network.apply, variables, x, train=False
        )
      )
      calls[batch][name] = lambda f=forward, v=variables, x=inputs: f(v, x)
  return clock(calls)


def clock(
  calls: Mapping[int, Mapping[Any, Callable[[], Any]]],
) -> dict[Any, dict[str, Any]]:
  """Times networks in turn, no longer than their seconds allow, and says so."""
  seconds = len(calls) * LATENCY_SECONDS
  say(
    f"measuring latency, some {seconds:.0f} s a network besides compiling"
    " (--nolatency leaves it out)"
  )
  result = {}
  for batch, by_name in calls.items():
    rounds = evaluate.time_rounds(by_name, seconds=LATENCY_SECONDS)
    for name, times in rounds.items():
      one = result.setdefault(name, {"latency_ms": {}, "latency_rounds": {}})
      one["latency_ms"][str(batch)] = float(np.median(times))
      one["latency_rounds"][str(batch)] = len(times)
  return result


def comparisons(results: Mapping[str, Any], task: Task) -> list[dict[str, Any]]:
  """Compares the student with its baseline and every control, seed by seed."""
  networks = {**results, **results["controls"]}
  others = ["baseline", *results["controls"]]
  pairs = [("student", name) for name in others]
  return evaluate.compare_networks(networks, pairs, task)


def _samples(
  experiment, setup, teacher_logits, student_logits
) -> dict[str, Any]:
  """Some examples that the report shows, and what is said of them."""
  labels = setup.score_split.labels
  places = setup.student.task.samples(teacher_logits, labels)
  return {
    "inputs": data.shown(setup.score_split, places),
    "labels": labels[places],
    "teacher_logits": teacher_logits[places],
    "student_logits": student_logits[places],
    "temperature": objective_temperature(experiment, setup.values.objective),
    "class_names": setup.dataset.class_names,
  }


def _maps(setup, teacher, networks_of, teacher_called) -> dict[str, Any]:
  """Some examples as maps: classes of all networks, and where two disagree."""
  places = setup.student.task.samples(teacher_called, setup.score_split.labels)
  split = data.select(setup.score_split, np.array(places))
  images = np.stack([split.images[i] for i in range(len(places))])
  asked = {"teacher": (setup.teacher, first(teacher))} | {
    name: (setup.student, first(networks_of[name]))
    for name in ("student", "baseline")
  }
  logits = {
    name: predict(
      train_spec, jax.tree.map(lambda x: x[None], one), images, whole=True
    )[0]
    for name, (train_spec, one) in asked.items()
  }
  inputs = setup.student.show(images)
  kept = setup.student.task.kept.of
  return {
    "images": np.asarray(inputs),
    "labels": split.labels,
    "called": {
      name: np.asarray(kept(values, inputs)) for name, values in logits.items()
    },
    "divergence": evaluate.pixel_divergence(
      logits["student"], logits["teacher"]
    ),
    "class_names": setup.dataset.class_names,
  }


def _omitted(experiment, setup, logits, students) -> dict[str, Any]:
  """Measures classes that the student never saw, with and without their bias.

  The bias is chosen on training images without their labels, such that the
  classes come out as often as they are common.
  """
  classes, labels = experiment.data.omit_classes, setup.score_split.labels
  train = data.select(setup.dataset.train, setup.examples)
  prior = float(np.mean(np.isin(train.labels, classes)))
  train_logits = predict(setup.student, students, train.images)
  bias = evaluate.match_prior(train_logits, classes, prior)
  shifted_logits = logits["student"] + bias[:, None, :]
  accuracy = {
    name: [float(x) for x in evaluate.accuracy(values, labels)]
    for name, values in (
      ("accuracy", logits["student"]),
      ("corrected", shifted_logits),
    )
  }
  return {
    "class": classes[0] if len(classes) == 1 else list(classes),
    "prior": prior,
    "bias": [float(x) for x in bias.max(axis=-1)],
    "recall": evaluate.recall(logits["student"], labels, classes),
    "recall_corrected": evaluate.recall(shifted_logits, labels, classes),
    "baseline_recall": evaluate.recall(logits["baseline"], labels, classes),
    "accuracy": accuracy["accuracy"],
    "accuracy_corrected": accuracy["corrected"],
  }
