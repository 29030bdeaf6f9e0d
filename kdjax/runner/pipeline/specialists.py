"""Training a teacher's specialists, and asking all of them together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.methods import make_objective
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import fit, predict
from kdjax.runner.pipeline.loaders import with_examples
from kdjax.runner.pipeline.setup import Setup, TrainSpec, network_note
from kdjax.runner.report.logs import RunLog
from kdjax.train.precision import like
from kdjax.train.specialists import (
  confusable_subsets,
  merge_logits,
  specialist_examples,
  specialist_head,
  specialist_labels,
)


class Specialist(NamedTuple):
  """A network that tells some classes apart, and all others from these.

  Attributes:
    subset: (S,) its classes.
    oversampled: how many times too often it saw them.
    networks: its variables, with a leading axis (1,).
  """

  subset: np.ndarray
  oversampled: float
  train_spec: TrainSpec
  networks: Any


def train_specialists(
  experiment: Experiment,
  setup: Setup,
  generalist: Any,
  workdir: Path,
  log: RunLog,
) -> tuple[Specialist, ...]:
  """Trains a specialist for each subset of classes that the teacher confuses."""
  if "kernel" not in predict.first(generalist)["params"].get("head", {}):
    raise UserError(
      f"--specialists: {setup.teacher.model} has no linear layer 'head' to begin"
      " with"
    )
  train = setup.dataset.train
  logits = predict.predict(setup.teacher, generalist, train.images)[0]
  subsets = confusable_subsets(
    np.asarray(jax.nn.softmax(logits[setup.examples])),
    experiment.teaching.specialists,
  )
  return tuple(
    _train(experiment, setup, generalist, number, subset, workdir, log)
    for number, subset in enumerate(subsets)
  )


def _train(experiment, setup, generalist, number, subset, workdir, log):
  name = f"specialist_{number}"
  places, factor = specialist_examples(
    setup.dataset.train.labels[setup.examples], subset, seed=number
  )
  train_spec = _train_spec(experiment, setup, generalist, name, subset, places)
  # What it is measured on has its labels, the dustbin's among them.
  score_split = setup.score_split._replace(
    labels=specialist_labels(setup.score_split.labels, subset)
  )
  result = fit.fit(setup._replace(score_split=score_split), train_spec, log)
  networks = result.networks[name]
  note = network_note(setup, train_spec.model.text) | {
    "classes": len(subset) + 1,
    "subset": subset.tolist(),
    "oversampled": factor,
  }
  storage.save_network(workdir / name, predict.first(networks), note)
  return Specialist(subset, factor, train_spec, networks)


def _train_spec(
  experiment, setup, generalist, name, subset, places
) -> TrainSpec:
  """The teacher once more, with a new classifier, for some of its images."""
  teaching, teacher = experiment.teaching, experiment.teacher
  labels = setup.dataset.train.labels
  loader = with_examples(
    setup.teacher.loaders["labels"],
    setup.examples[places],
    np.where(labels < 0, -1, specialist_labels(labels, subset)),
    teacher.batch_size,
  )
  params = dict(predict.first(generalist)["params"])
  params["head"] = specialist_head(
    params["head"], subset, setup.dataset.classes
  )
  method = make_objective("hard")._replace(
    adopt=lambda fresh, inputs: jax.tree.map(
      lambda new, old: jnp.asarray(old, new.dtype), fresh, params
    )
  )
  rate = teaching.specialist_learning_rate or teacher.learning_rate / 3
  settings = {
    "seed": np.array([teacher.seed]),
    "learning_rate": np.array([rate]),
  }
  steps = loader.steps * teaching.specialist_epochs
  return setup.teacher._replace(
    network=like(
      setup.teacher.network,
      setup.teacher.model.make(classes=len(subset) + 1),
    ),
    optimizer=setup.teacher.optimizer_for(steps),
    arms={
      name: setup.teacher.arms["teacher"]._replace(
        method=lambda settings: method, settings=settings
      )
    },
    loaders={"labels": loader},
    epochs=teaching.specialist_epochs,
    images=loader.steps * teacher.batch_size,
    task=setup.teacher.task._replace(width=len(subset) + 1),
  )


def merge(
  generalist: np.ndarray, specialists: Sequence[Specialist], images
) -> np.ndarray:
  """Makes one answer (N, C) of the generalist's and the specialists'.

  A specialist is asked where the generalist's first choice is one of its own
  classes.
  """
  if not specialists:
    return generalist
  classes = generalist.shape[1]
  subsets = np.stack(
    [np.isin(np.arange(classes), one.subset) for one in specialists]
  )
  answers, dustbins = [], []
  for one in specialists:
    logits = predict.predict(one.train_spec, one.networks, images)[0]
    logits[:, -1] += np.log(one.oversampled)
    p = np.asarray(jax.nn.softmax(logits))
    answers.append(np.zeros_like(generalist))
    answers[-1][:, one.subset] = p[:, :-1]
    dustbins.append(p[:, -1])
  active = subsets[:, generalist.argmax(axis=-1)].T
  answer = jax.jit(jax.vmap(merge_logits, in_axes=(0, 0, 0, None, 0)))(
    jax.nn.softmax(generalist),
    np.stack(answers, axis=1),
    np.stack(dustbins, axis=1),
    subsets,
    active,
  )
  return np.asarray(answer)
