"""Learned and real images side by side: networks trained on each, and scored.

Every network starts from a seed that no synthesis has seen; networks of one seed
start alike whatever they learn from, so that arms are compared pair by pair.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core import storage
from kdjax.runner.jobs.synthesis import training
from kdjax.runner.jobs.synthesis.build import SynthesisSetup
from kdjax.runner.jobs.synthesis.evaluate import (
  Choice,
  Course,
  follow,
  learned_course,
  search,
  shuffled_course,
  whole_course,
)
from kdjax.runner.jobs.synthesis.unroll import Synthetic

# Few real images may take more steps than learned ones, if that helps them.
LENGTHENED = (1, 3, 10)
# Shares of the epochs that all real images may take.
SHORTENED = (0.25, 0.5, 1.0)
# The search's own draws and networks, which no score uses.
SEARCH_SEEDS = (10_001, 10_002, 10_003)
# Keeps these networks apart from those that images are learned with.
UNSEEN = 2**31 - 2


class TrainedStudents(NamedTuple):
  """Networks that learned from one kind of images.

  Attributes:
    networks: parameters by seed, each with a leading axis (M,).
    choice: what the search found; None for learned rates.
    images: images a class; None for all.
  """

  networks: list[Any]
  choice: Choice | None
  images: int | None
  steps: int


def from_learned(
  setup: SynthesisSetup, image_sets: Sequence[Synthetic]
) -> TrainedStudents:
  """Trains unseen networks on learned images, with the learned rates."""
  networks = []
  for seed, synthetic in enumerate(image_sets):
    course, rates = learned_course(synthetic)
    networks.append(_follow(setup, _starts(setup, seed), course, rates))
  images_per_class = setup.experiment.synthesis.images_per_class
  return TrainedStudents(networks, None, images_per_class, len(rates))


def from_few(setup: SynthesisSetup, kind: str) -> TrainedStudents:
  """Trains unseen networks on a few real images at their own best rate."""
  settings = setup.experiment.synthesis
  steps = settings.inner_steps * settings.inner_epochs
  lengths = [factor * steps for factor in LENGTHENED]
  sets = [_few(setup, kind, setup.search_train, seed) for seed in SEARCH_SEEDS]
  courses = [_whole(setup, *one, lengths[-1]) for one in sets]
  choice = _search(setup, courses, lengths)
  networks = []
  for seed in range(setup.experiment.student.seeds):
    some = _few(setup, kind, np.arange(len(setup.labels)), seed)
    course = _whole(setup, *some, choice.steps)
    rates = np.full(choice.steps, choice.rate)
    networks.append(_follow(setup, _starts(setup, seed), course, rates))
  return TrainedStudents(
    networks, choice, settings.images_per_class, choice.steps
  )


def from_all(setup: SynthesisSetup) -> TrainedStudents:
  """Trains one unseen network a seed on all real images."""
  epochs = setup.experiment.student.epochs
  lengths = sorted({max(1, round(share * epochs)) for share in SHORTENED})
  course, steps = _passes(
    setup, setup.search_train, lengths[-1], SEARCH_SEEDS[0]
  )
  choice = _search(setup, [course], [steps * length for length in lengths])
  # As many passes, over more images.
  passes = choice.steps // steps
  networks = []
  for seed in range(setup.experiment.student.seeds):
    everything = np.arange(len(setup.labels))
    course, _ = _passes(setup, everything, passes, seed)
    rates = np.full(len(course.plan), choice.rate)
    starts = jax.tree.map(lambda x: x[:1], _starts(setup, seed))
    networks.append(_follow(setup, starts, course, rates))
  return TrainedStudents(networks, choice, None, len(rates))


def centroids(
  images: np.ndarray, labels: np.ndarray, images_per_class: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the centres of k-means in every class.

  Args:
    images: (N, H, W, C) float.
    labels: (N,) int.

  Example:
    >>> images = np.array([0.0, 1.0, 4.0, 6.0]).reshape(4, 1, 1, 1)
    >>> made, labels = centroids(images, np.array([0, 0, 1, 1]), 1, seed=0)
    >>> made.ravel().tolist(), labels.tolist()
    ([0.5, 5.0], [0, 1])
  """
  # Slow to import, and only needed here.
  from sklearn.cluster import KMeans

  classes = np.unique(labels)
  centres = [
    KMeans(images_per_class, n_init=1, random_state=seed)
    .fit(images[labels == one].reshape(np.sum(labels == one), -1))
    .cluster_centers_
    for one in classes
  ]
  centre_images = np.concatenate(centres).astype(np.float32)
  return centre_images.reshape(-1, *images.shape[1:]), np.repeat(
    classes, images_per_class
  )


def entry(setup: SynthesisSetup, students: TrainedStudents) -> dict[str, Any]:
  """The scores of one kind of images."""
  each = [
    evaluate.measure(
      _logits(setup, params, setup.scored.images), _labels(setup)
    )
    for params in students.networks
  ]
  lists = [name for name, value in each[0].items() if isinstance(value, list)]
  one = jax.tree.map(lambda x: x[0], students.networks[0])
  return {
    "model": setup.model,
    "parameters": evaluate.parameters(one),
    **{name: [float(np.mean(x[name])) for x in each] for name in lists},
    "test_examples": len(_labels(setup)),
    "each": [one["test_accuracy"] for one in each],
    "digest": [
      storage.digest(jax.device_get(params)) for params in students.networks
    ],
    "seeds": list(range(len(each))),
    "images_per_class": students.images,
    "steps": students.steps,
    "rate": students.choice and students.choice.rate,
    "tried": students.choice and students.choice.tried,
  }


def _search(setup: SynthesisSetup, courses: list[Course], lengths) -> Choice:
  starts = [
    _starts(setup, seed) for seed, _ in zip(SEARCH_SEEDS, courses, strict=False)
  ]

  def train(rate, states, first, last):
    return [
      _follow(
        setup,
        state,
        course._replace(plan=course.plan[first:last]),
        np.full(last - first, rate),
      )
      for state, course in zip(states or starts, courses, strict=True)
    ]

  def score(states):
    images, labels = (
      setup.images[setup.search_test],
      setup.labels[setup.search_test],
    )
    accuracies = [
      evaluate.measure(_logits(setup, state, images), labels)["test_accuracy"]
      for state in states
    ]
    return float(np.mean(accuracies))

  return search(train, score, setup.experiment.synthesis.real_rates, lengths)


def _few(setup: SynthesisSetup, kind: str, places: np.ndarray, seed: int):
  images, labels = setup.images[places], setup.labels[places]
  images_per_class = setup.experiment.synthesis.images_per_class
  if kind == "centroids":
    return centroids(images, labels, images_per_class, seed)
  subset = training.draw(labels, images_per_class, seed)
  return images[subset], labels[subset]


def _whole(setup: SynthesisSetup, images, labels, steps: int) -> Course:
  return whole_course(images, labels, setup.dataset.classes, steps)


def _passes(
  setup: SynthesisSetup, places, epochs: int, seed: int
) -> tuple[Course, int]:
  """A course over many images, and the steps of one pass."""
  course = shuffled_course(
    setup.images[places],
    setup.labels[places],
    setup.dataset.classes,
    epochs=epochs,
    batch_size=setup.experiment.student.batch_size,
    seed=seed,
  )
  return course, len(course.plan) // epochs


def _starts(setup: SynthesisSetup, seed: int) -> Any:
  key = jax.random.fold_in(jax.random.key(UNSEEN), seed)
  count = setup.experiment.synthesis.fresh_networks
  return training.make_starts(setup, key, count)


def _follow(setup: SynthesisSetup, starts, course: Course, rates) -> Any:
  return follow(setup.apply, starts, course, rates, together=setup.together)


def _logits(setup: SynthesisSetup, params, images) -> np.ndarray:
  return evaluate.predict(
    setup.network.apply,
    {"params": params},
    images,
    data.to_float,
    together=setup.together,
  )


def _labels(setup: SynthesisSetup) -> np.ndarray:
  return setup.scored.labels
