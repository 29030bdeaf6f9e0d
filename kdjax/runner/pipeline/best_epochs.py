"""The best epochs of a student: its networks on disk, besides the last one's.

An epoch that is chosen by an accuracy is not measured by it any more. So the
test set never chooses: what is held out from training by `--validation` does,
or what the training itself says.
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError
from kdjax.core.task import Task
from kdjax.runner.config import Experiment, Run

FOLDER = "best"


class Best(NamedTuple):
  """Which epochs are kept, and where.

  Attributes:
    folder: has one folder an epoch, and in it one a seed.
    metric: a number of the log.
    note: what a saved network needs to be used again.
    better: +1 where a higher score is better, -1 where a lower one is.
  """

  folder: Path
  count: int
  metric: str
  note: Mapping[str, Any]
  score: str = "accuracy"
  better: int = 1

  @property
  def score_name(self) -> str:
    """How a log calls the score on what counts, held out or not."""
    return f"test_{self.score}"


def best_to_keep(
  experiment: Experiment, workdir: Path, note: Mapping[str, Any], task: Task
) -> Best | None:
  """Returns which epochs a run keeps, None for no other than the last.

  Example:
    >>> best_to_keep(Experiment(), Path("runs"), {}, None) is None
    True
  """
  settings = experiment.run
  if not settings.keep_best:
    return None
  note = {**note, "validation": experiment.data.validation}
  return Best(
    workdir / FOLDER,
    settings.keep_best,
    _metric(settings.best_metric, task),
    note,
    task.score,
    task.better,
  )


def _metric(name: str, task: Task) -> str:
  """The number that chooses; where none is named, the score on what is held out."""
  is_default = name == Run().best_metric
  return f"validation_{task.score}" if is_default else name


def keep(best: Best, epoch: int, networks: Any, row: Mapping[str, Any]) -> None:
  """Keeps an epoch's networks if it is among the best so far.

  An epoch counts by the mean of the metric over its members; of two that are
  alike the earlier one is the better.

  Args:
    row: of the log; an epoch in which nothing was measured does not count.
  """
  held_out = f"validation_{best.score}"
  name = best.score_name if best.metric == held_out else best.metric
  if name not in row:
    if name == best.score_name:
      return
    raise UserError(
      f"--best_metric={best.metric}: the log has no such number, but"
      f" {', '.join(_names(row, best.score_name))}"
    )
  value = float(np.mean(row[name]))
  if not math.isfinite(value):
    return
  ranking = _ranked(best, {epoch: value})
  for number in ranking[best.count :]:
    shutil.rmtree(_folder(best, number), ignore_errors=True)
  if epoch not in ranking[: best.count]:
    return
  note = {**best.note, "epoch": epoch, best.metric: value}
  for member in range(len(row[name])):
    one = jax.tree.map(lambda x, m=member: x[m], networks)
    storage.save_network(_folder(best, epoch) / f"seed_{member}", one, note)


def _folder(best: Best, epoch: int) -> Path:
  return best.folder / f"epoch_{epoch:04d}"


def _names(row: Mapping[str, Any], score: str) -> list[str]:
  """The metrics among the values of a row."""
  numbers = (name for name, value in row.items() if isinstance(value, list))
  return [name for name in numbers if name != score]


def _ranked(best: Best, new: Mapping[int, float]) -> list[int]:
  """The epochs that are there, and a new one, the best first."""
  values = {}
  for note in best.folder.glob(f"epoch_*/seed_0/{storage.NOTE}"):
    try:
      entry = json.loads(note.read_text())
      values[int(entry["epoch"])] = float(entry[best.metric])
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise StorageError(f"{note} is damaged: {error}") from error
  sign = -best.better if best.metric.endswith(best.score) else 1
  values |= new
  return sorted(values, key=lambda epoch: (sign * values[epoch], epoch))
