"""What came out: scores on held-out documents, and the networks' folders."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core.task import Task
from kdjax.evaluate import over_batches
from kdjax.models import pretrained
from kdjax.models.pretrained.adapters import save_adapters
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.lm import card, compressed, written
from kdjax.runner.jobs.lm.networks import (
  as_stored,
  stored_network,
  without_adapters,
)
from kdjax.runner.pipeline import epochs, texts
from kdjax.runner.pipeline.sweep import ranking
from kdjax.runner.pipeline.values import objective_text
from kdjax.runner.report import logs
from kdjax.runner.report.progress import say
from kdjax.taps.network import Network

# What `measure_text` says, by what results.json calls it.
_NAMES = {
  "nats_per_token": "test_nats_per_token",
  "bits_per_byte": "test_bits_per_byte",
  "perplexity": "perplexity",
  "accuracy": "accuracy",
  "teacher_kl": "teacher_kl",
  "agreement": "agreement",
}


def measure(setup: Any, context: Context) -> Measured:
  """Measures all networks on the test documents, and saves those of the first seed."""
  setup, fitted = context.values["answers"], context.values["students"]
  tokenization = setup.tokenization
  say("measuring on the test documents")
  results = {"task": tokenization.task.name, "teacher": _teacher(setup)}
  best = {
    arm: _at_best_rate(setup, members)
    for arm, members in fitted.networks.items()
  }
  seeds_of = {arm: seeds for arm, (seeds, _) in best.items()}
  scores = _scores(setup, seeds_of | {"untrained": _untrained(setup)})
  networks = {}
  if setup.teacher.network is not None:
    networks["teacher"] = (
      setup.teacher.network, lambda: [setup.teacher.variables],
    )  # fmt: skip
  for arm, (seeds, rate) in best.items():
    results[arm] = scores[arm] | rate
    first, folder = _member(seeds, 0), context.workdir / arm
    stored = partial(as_stored, setup.student_model, sample=setup.sample)
    network = stored_network(setup.student_model)
    networks[arm] = network, partial(_each, seeds, stored)
    _save(setup, folder, network, stored(first))
    if setup.student_model.lora is not None:
      _save_adapters(setup, folder / "adapter", first)
    if arm == "student":
      results |= compressed.scores(setup, seeds, folder)
  results |= written.measure(setup, networks)
  controls = {
    name: results.pop(name) | {"objective": objective_text(setup.experiment, x)}
    for name, x in setup.values.alternatives.items()
  }
  results["controls"] = controls | {"untrained": scores["untrained"]}
  results |= tokenization.results
  scored = {**results, **results["controls"]}
  pairs = [("student", name) for name in ("baseline", *results["controls"])]
  results |= {
    "comparisons": evaluate.compare_networks(
      scored, pairs, tokenization.scored_task
    ),
    "objective": objective_text(setup.experiment, setup.values.objective),
    "text": texts.described(setup.texts),
    "tokens_per_second": _speed(context),
  }
  card.write(context.workdir / "student", results, context.command)
  return Measured(results, {"history": logs.read_history(context.workdir)})


def on_validation(
  setup: Any, network: Network, task: Task, members: Any
) -> dict[str, list[float]]:
  """The score of each member on some validation sequences, for the log.

  Args:
    members: variables with a leading axis (M,).
  """
  most = setup.experiment.language.validation_sequences
  validation = setup.texts.parts["validation"].sequences
  sequences = {name: x[:most] for name, x in validation.items()}
  scores = [
    over_batches.evaluate(
      network,
      one,
      sequences,
      task=task,
      batch_size=setup.experiment.student.batch_size,
    )
    for one in _each(members)
  ]
  return {f"validation_{task.score}": [one[task.score] for one in scores]}


def _scores(
  setup: Any, members: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
  """What results.json says of the students of some seeds, by what they are.

  Args:
    members: by name, variables with a leading axis (M,); where they are fewer than
      the seeds, all seeds have these networks.
  """
  network = setup.student.network

  def each():
    return (one for group in members.values() for one in _each(group))

  scores = setup.tokenization.measure_students(network, each)
  counts = [len(jax.tree.leaves(group)[0]) for group in members.values()]
  ends = np.cumsum(counts)
  return {
    name: _described(setup, group, scores[end - count : end])
    for (name, group), count, end in zip(
      members.items(), counts, ends, strict=True
    )
  }


def _described(
  setup: Any, members: Any, scores: list[dict[str, float]]
) -> dict[str, Any]:
  """What students are, and their scores."""
  seeds = setup.experiment.student.seeds
  scores = scores * (seeds // len(scores))
  model, first = setup.student_model, _member(members, 0)
  whole = jax.eval_shape(partial(without_adapters, model), first)
  counts = {"parameters": evaluate.parameters(whole["params"])}
  if model.lora is not None:
    counts["trained_parameters"] = evaluate.parameters(first["params"])
  return (
    {"model": model.text} | counts | {"seeds": [*range(seeds)]} | _lists(scores)
  )


def _untrained(setup: Any) -> Any:
  """What the students began with; one network where all seeds begin alike."""
  seeds = setup.experiment.student.seeds
  start = setup.student.variables.get("student")
  if start is not None:
    return jax.tree.map(lambda x: x[None], start)
  teachers = {"teacher": setup.training_teacher}
  states = epochs.initial_states(setup, setup.student, teachers)["student"]
  # Those of the first cell: all cells begin alike.
  networks = jax.vmap(setup.student.arms["student"].scheme.network)(states)
  return jax.tree.map(lambda x: x[:seeds], networks)


def _teacher(setup: Any) -> dict[str, Any]:
  """What results.json says of the teacher."""
  teachers = setup.teachers

  def scores_of(teacher):
    return setup.tokenization.measure_teacher(
      teacher.network, teacher.variables
    )

  scores, several = scores_of(teachers.together), {}
  masses = [name for name in scores if name.endswith("_mass")]
  if len(teachers.members) > 1:
    alone = [scores_of(member)["nats_per_token"] for member in teachers.members]
    several = {
      "pool": setup.experiment.teaching.pool,
      "members_test_nats_per_token": dict(
        zip(teachers.folders, alone, strict=True)
      ),
    }
  return (
    several
    | {
      "model": setup.experiment.teacher.teacher_from,
      # Of a served one nobody tells.
      "parameters": evaluate.parameters(teachers.together.variables["params"])
      or None,
      "top_mass": {name.split("_")[1]: scores[name] for name in masses},
    }
    | _lists([scores | {"teacher_kl": 0.0, "agreement": 1.0}])
  )


def _lists(scores: Sequence[Mapping[str, float]]) -> dict[str, Any]:
  """One float a network, by the names of results.json."""
  return {
    ours: [one[name] for one in scores] for name, ours in _NAMES.items()
  } | {"test_examples": scores[0]["tokens"]}


def _at_best_rate(setup: Any, members: Any) -> tuple[Any, dict[str, Any]]:
  """The members of the rate that is best on the validation documents."""
  seeds, spec = setup.experiment.student.seeds, setup.student
  if len(setup.grid) == 1:
    return members, setup.grid[0]
  scores = on_validation(setup, spec.network, spec.task, members)
  values = np.reshape([*scores.values()], (len(setup.grid), seeds))
  order = ranking(values, spec.task.better)
  cells = [
    setup.grid[i] | {key: values[i].tolist() for key in scores} for i in order
  ]
  start = order[0] * seeds
  best = jax.tree.map(lambda x: x[start : start + seeds], members)
  return best, setup.grid[order[0]] | {"cells": cells}


def _save(setup: Any, folder: Path, network: Network, variables: Any) -> None:
  """Writes a network as transformers loads it."""
  # A run that was killed here begins the folder anew.
  shutil.rmtree(folder, ignore_errors=True)
  pretrained.save(
    folder,
    network,
    jax.device_get(variables),
    tokenizer=setup.tokenizer,
  )


def _save_adapters(setup: Any, folder: Path, variables: Any) -> None:
  """Writes a student's adapters as PEFT loads them beside what it began as."""
  begins_as = setup.experiment.language.student_from
  whole = setup.student_model.text == begins_as
  save_adapters(
    folder,
    setup.student_model.pretrained.network,
    variables,
    setup.student_model.lora,
    base=begins_as if whole else None,
  )


def _speed(context: Context) -> dict[str, float]:
  """Tokens a second of the training, of all members together."""
  return {
    title: one["images_per_second"]
    for title, one in context.log.performance.items()
    if "images_per_second" in one
  }


def _member(members: Any, i: int) -> Any:
  return jax.tree.map(lambda x: x[i], members)


def _each(
  members: Any, change: Callable[[Any], Any] = lambda one: one
) -> Iterator[Any]:
  for i in range(len(jax.tree.leaves(members)[0])):
    yield change(_member(members, i))
