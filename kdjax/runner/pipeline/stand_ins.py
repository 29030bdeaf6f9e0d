"""Who teaches the arms of a run: the teacher, and stand-ins that know less.

What a student still learns from a stand-in was never the teacher's knowledge.
All of them answer in the teacher's place, under the student's own objective.
"""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special

from kdjax import data
from kdjax.core.teacher import Teacher, stored_teacher
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import teachers
from kdjax.runner.pipeline.arms import (
  STAND_INS,
  looks_inside,
  views_of,
)
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.teachers import TeacherPool
from kdjax.runner.pipeline.values import objective_temperature
from kdjax.train.arm import Arm

SEED = 0


def make_teachers(
  experiment: Experiment,
  setup: Setup,
  pool: TeacherPool | None,
  arms: Iterable[Arm],
  plain: TeacherPool | None = None,
) -> dict[str, Teacher]:
  """Readies everyone whom the arms learn from.

  Args:
    pool: whom the student learns from, or None.
    plain: whose first teacher the reference learns from; `pool` by default.
  """
  arms = list(arms)
  if setup.cached is not None:
    return _cached(experiment, setup, arms)
  names = {arm.teacher for arm in arms} - {None}
  train_split, views = setup.train_split, views_of(experiment)
  by_name = {}
  for name, whom in (("teacher", pool), ("plain_teacher", plain or pool)):
    if name not in names:
      continue
    inside = any(looks_inside(arm) for arm in arms if arm.teacher == name)
    # Where it is asked about the stored images themselves, answers never change.
    whom = teachers.first_teacher(whom) if name == "plain_teacher" else whom
    is_fixed = (
      views[name] == "none"
      and data.resident(train_split)
      and not inside
      and teachers.can_be_stored(setup, whom)
    )
    ready = (
      teachers.make_stored_teacher if is_fixed else teachers.make_live_teacher
    )
    by_name[name] = ready(experiment, setup, whom)
  stand_ins = names & set(STAND_INS)
  answers = None
  if stand_ins:
    images = train_split.images
    answers = teachers.pooled_answers(experiment, pool, images, whole=True)
  for name in sorted(stand_ins):
    logits = stand_in(
      name,
      answers,
      train_split.labels,
      temperature=objective_temperature(experiment, setup.values.objective),
    )
    by_name[name] = stored_teacher(jnp.asarray(logits))
  return by_name


def _cached(experiment, setup, arms) -> dict[str, Teacher]:
  """Everyone whom the arms learn from, from what a cache has of the teacher."""
  names = {arm.teacher for arm in arms} - {None}
  first = np.arange(len(setup.dataset.train.labels))
  by_name = {}
  if "teacher" in names:
    # One row stands for the shapes where the others are read as needed.
    rows = first[:1] if setup.streams_answers else None
    by_name["teacher"] = setup.cached.teacher(rows)
  for name in sorted(names & set(STAND_INS)):
    logits = stand_in(
      name,
      setup.cached.read(first)[0],
      setup.dataset.train.labels,
      temperature=objective_temperature(experiment, setup.values.objective),
    )
    by_name[name] = stored_teacher(jnp.asarray(logits))
  return by_name


def stand_in(
  name: str, answers: np.ndarray, labels: np.ndarray, *, temperature: float
) -> np.ndarray:
  """Replaces a teacher's answers by those of one that knows less.

  "shuffled_teacher" gives every example the answer to another one of its class:
  the classes' likeness stays, what is special to an example goes.
  "uniform_teacher" finds all classes equally likely. "noise_teacher" draws
  logits, once for each example, as spread out as the teacher's.
  "matched_smoothing" knows the labels alone, softened so that at the
  temperature its answers have the teacher's mean entropy.

  Args:
    answers: (N, C) the teacher's logits.
    labels: (N,) int; where one is unknown (-1), the teacher's own class counts.

  Returns:
    (N, C) float32 logits.
  """
  labels = np.where(labels < 0, answers.argmax(axis=-1), labels)
  rng = np.random.default_rng(SEED)
  if name == "shuffled_teacher":
    return answers[_others_of_class(labels, rng)].astype(np.float32)
  if name == "noise_teacher":
    spread = np.std(answers - answers.mean(axis=-1, keepdims=True))
    return rng.normal(0, spread, answers.shape).astype(np.float32)
  if name == "matched_smoothing":
    return _smoothed(answers, labels, temperature)
  return np.zeros(answers.shape, np.float32)


def _others_of_class(labels: np.ndarray, rng) -> np.ndarray:
  """A permutation that keeps classes and, where it can, moves every example."""
  order = np.arange(len(labels))
  for label in np.unique(labels):
    (members,) = np.nonzero(labels == label)
    permutation = rng.permutation(members)
    order[permutation] = np.roll(permutation, 1)
  return order


def _smoothed(answers, labels, temperature) -> np.ndarray:
  """Labels smoothed to the teacher's mean entropy, as logits."""
  classes = answers.shape[-1]
  probabilities = scipy.special.softmax(answers / temperature, axis=-1)
  mean_entropy = scipy.special.entr(probabilities).sum(axis=-1).mean()

  def targets(share):
    return (1 - share) * np.eye(classes) + share / classes

  def excess(share):
    return scipy.special.entr(targets(share)[0]).sum() - mean_entropy

  # A logit of a class without any probability would not be finite.
  share = (
    scipy.optimize.brentq(excess, 0.0, 1.0) if mean_entropy > 1e-6 else 1e-6
  )
  table = temperature * np.log(targets(max(share, 1e-6)))
  return table[labels].astype(np.float32)
