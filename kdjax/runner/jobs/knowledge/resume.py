"""Trainings on disk, so that a stopped run goes on where it was.

Of each training ("teacher", "students", "labels") the last epoch's states are
kept whole, optimiser included; of the epochs before only what the metrics need:
how far the weights had moved, and the names of the entropies.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError
from kdjax.evaluate.knowledge import Trail
from kdjax.runner.config.options import as_dict, options
from kdjax.runner.jobs.knowledge import metrics
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.runner.jobs.knowledge.entropies import Meter
from kdjax.runner.jobs.knowledge.metrics import History
from kdjax.taps import Tap
from kdjax.train.devices import processes
from kdjax.train.state import variables

FOLDER = "training"
# What may differ: where the run happens, and how its numbers are shown.
FREE = (
  "data_dir", "resident_megabytes", "threshold", "foreground_share",
  "compared_images", "images_at_once", "probes_at_once", "quantify_from",
)  # fmt: skip


class Saved(NamedTuple):
  """A training as it was left.

  Attributes:
    epoch: the last one that was kept.
    leaves: arrays of its states, in the order of `jax.tree.leaves`.
    note: what was written beside them.
  """

  epoch: int
  leaves: list[np.ndarray]
  note: Mapping[str, Any]


class Keeper:
  """Writes trainings, and finds those of an earlier run."""

  def __init__(self, setup: KnowledgeSetup, workdir: Path):
    """Reads nothing but the settings of the earlier run."""
    self._folder = workdir / FOLDER
    self._settings = settings(setup)
    self._given = setup.experiment.quantify.quantify_from
    # First this run's own, which may have been stopped as well.
    self._places = [self._folder]
    if self._given is not None:
      self._places.append(Path(self._given).expanduser() / FOLDER)

  def save(
    self,
    training: str,
    epoch: int,
    states: Any,
    histories: Mapping[str, list[History]] | None = None,
  ) -> None:
    """Writes an epoch and removes the one before; of several processes the first."""
    if not processes.is_first():
      return
    folder = self._folder / training / f"{epoch:06d}"
    leaves = jax.tree.leaves(jax.device_get(states))
    note = {
      "epoch": epoch,
      "settings": self._settings,
      "histories": {
        arm: [_written(one) for one in members]
        for arm, members in (histories or {}).items()
      },
    }
    # A run that was killed while it wrote left half an epoch.
    shutil.rmtree(folder, ignore_errors=True)
    arrays = {f"{i:06d}": leaf for i, leaf in enumerate(leaves)}
    storage.save_network(folder, arrays, note)
    for other in folder.parent.iterdir():
      if other != folder:
        shutil.rmtree(other, ignore_errors=True)

  def load(self, training: str) -> Saved | None:
    """Finds the last whole epoch of a training, read by the first process for all."""
    entry = self._read(training) if processes.is_first() else None
    entry = processes.broadcast(entry)
    if entry is None:
      return None
    note, leaves = entry
    return Saved(note["epoch"], leaves, note)

  def _read(self, training: str) -> tuple[Any, list[np.ndarray]] | None:
    # The note is written last: without it an epoch is not whole.
    whole = [
      file.parent
      for place in reversed(self._places)
      for file in sorted((place / training).glob(f"*/{storage.NOTE}"))
    ]
    if not whole:
      return None
    note = storage.read_note(whole[-1])
    self._compare(note)
    arrays = storage.load_variables(whole[-1], note)
    return note, [arrays[name] for name in sorted(arrays)]

  def _compare(self, note) -> None:
    there, here = note.get("settings", {}), self._settings
    names = [
      name
      for name in dict.fromkeys((*there, *here))
      if there.get(name) != here.get(name)
    ]
    if names:
      settings = ", ".join(
        f"{name} ({there.get(name)}, now {here.get(name)})" for name in names
      )
      raise UserError(
        f"--quantify_from={self._given}: that run had other settings: {settings};"
        " give the same ones, or leave --quantify_from out"
      )


def settings(setup: KnowledgeSetup) -> dict[str, Any]:
  """Lists all that decides a training and its entropies."""
  groups = as_dict(setup.experiment)
  values = {
    one.flag: groups[one.group][one.field.name]
    for one in options()
    if one.group in ("data", "teacher", "student", "quantify")
    and one.field.name not in FREE
  }
  contents = {
    "images": setup.images,
    "labels": setup.dataset.train.labels,
    "lessons": setup.teacher_split.labels,
  }
  values |= {
    f"these {name}": storage.digest(x)[:12] for name, x in contents.items()
  }
  # As JSON gives them back.
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in values.items()
  }


def histories_of(
  saved: Saved, states: Any, meter: Meter, tap: Tap, mask: Any
) -> dict[str, list[History]]:
  """Puts the histories of a training together again."""
  histories = {}
  for arm, members in saved.note["histories"].items():
    networks = jax.device_get(variables(states[arm]))
    histories[arm] = [
      _read(one, jax.tree.map(lambda x, m=m: x[m], networks), meter, tap, mask)
      for m, one in enumerate(members)
    ]
  return histories


def _written(history: History) -> dict[str, Any]:
  return {
    "entries": list(history.entries),
    "layer": [history.trail.start, history.trail.lengths],
    "whole": [history.whole.start, history.whole.lengths],
  }


def _read(one, network, meter, tap, mask) -> History:
  estimates = tuple(meter.recall(entry) for entry in one["entries"])
  layer, whole = metrics.weights_of(network, tap, mask)
  (start, lengths), (whole_start, whole_lengths) = one["layer"], one["whole"]
  return History(
    tuple(one["entries"]),
    estimates,
    Trail(start, layer, tuple(lengths)),
    Trail(whole_start, whole, tuple(whole_lengths)),
  )


def restored(saved: Saved, template: Any) -> Any:
  """Gives a saved training's arrays the form of its states.

  Args:
    template: TrainStates by arm; only their form counts.
  """
  shapes, form = jax.tree.flatten(template)
  if [x.shape for x in shapes] != [np.shape(x) for x in saved.leaves]:
    raise StorageError(
      "what the earlier run left does not fit these networks; leave"
      " --quantify_from out"
    )
  return form.unflatten(saved.leaves)
