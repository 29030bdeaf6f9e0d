"""Gradient-boosted trees of scikit-learn, stored as the teacher of a network.

  python -m examples.boosted_teacher diabetes runs/boosted
  python launch.py --dataset=diabetes --teacher_cache=runs/boosted --student='mlp(8)'

DATASET is what `--dataset` takes, a table of classes or of numbers. The trees answer
each training row as trees that were grown on the other four fifths do (out of
fold); with --in_sample as those that have seen it, which repeats its label. With
--held_out=0.2 they see nothing of what a run with --validation=0.2 is scored on.
"""

import argparse

import numpy as np
from sklearn.ensemble import (
  HistGradientBoostingClassifier,
  HistGradientBoostingRegressor,
)
from sklearn.model_selection import cross_val_predict

from kdjax import data, stored_teacher, write_teacher_cache
from kdjax.evaluate import measure_task
from kdjax.tasks import classification, regression

# A probability of 0 has no logarithm.
LEAST = 1e-6


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("dataset")
  parser.add_argument("folder")
  parser.add_argument("--in_sample", action="store_true")
  parser.add_argument("--held_out", type=float, default=0.0)
  settings = parser.parse_args()
  dataset = data.load(settings.dataset)
  numbers = dataset.train.labels.dtype == np.float32
  task = _task(dataset, numbers)
  places = np.arange(len(dataset.train.labels))
  if settings.held_out:
    strata = task.split(dataset.train.labels)
    places, _ = data.split_validation(strata, settings.held_out, seed=0)
  x, test_x = (_rows(split) for split in (dataset.train, dataset.test))
  y = dataset.train.labels[:, 0] if numbers else dataset.train.labels
  trees = (
    HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
  )(max_iter=100, random_state=0)
  method = "predict" if numbers else "predict_proba"
  fitted = trees.fit(x[places], y[places])

  def answers(values):
    if numbers:  # as the task's networks answer: in deviations from the mean
      return np.asarray(task.units.answers(values[:, None]))
    return np.log(np.clip(values, LEAST, 1)).astype(np.float32)

  values = getattr(fitted, method)(x)
  if not settings.in_sample:
    values[places] = cross_val_predict(
      trees, x[places], y[places], cv=5, method=method
    )
  on_test = answers(getattr(fitted, method)(test_x))
  scores = measure_task(task, on_test[None], dataset.test.labels)
  write_teacher_cache(
    settings.folder,
    stored_teacher(answers(values)),
    {"image": dataset.train.images, "label": dataset.train.labels},
    task=task,
    name=type(trees).__name__,
    scores=scores,
  )
  score = task.words.told(scores[f"test_{task.score}"][0])
  print(f"{settings.folder}: {len(x)} answers; on the test rows, {score}")


def _task(dataset, numbers):
  if not numbers:
    return classification(dataset.classes)
  return regression(dataset.classes, **data.target_statistics(dataset))


def _rows(split):
  return split.images.reshape(len(split.images), -1)


if __name__ == "__main__":
  main()
