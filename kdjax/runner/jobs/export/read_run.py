"""The network of a finished run, and the images that it is held to."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data
from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError, quantity
from kdjax.core.signature import Signature
from kdjax.core.task import Task
from kdjax.data import Dataset, Split
from kdjax.models import quantized
from kdjax.models.export import formats
from kdjax.models.export.signature import About
from kdjax.runner.config import Experiment, Export
from kdjax.runner.job import Plan
from kdjax.runner.jobs.export import parity
from kdjax.runner.pipeline import dataset as sources
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.setup import about_network
from kdjax.runner.pipeline.stored_run import Stored, stored_run
from kdjax.runner.pipeline.tokens import encode_as
from kdjax.train.precision import with_precision

# As many images decide whether a file is the network, where there are as many.
LEAST = 1000


class StoredNetwork(NamedTuple):
  """A network of a run.

  Attributes:
    scores: its entry in results.json, of all seeds.
    dataset: what it was trained on, as stored.
    scored: the images that counted in the run.
    more: training images besides, where those are few.
    licence: of the data; None where it is not stated.
  """

  run: Stored
  about: About
  variables: Mapping[str, Any]
  scores: Mapping[str, Any]
  dataset: Dataset
  scored: Split
  more: Split
  licence: str | None

  @property
  def task(self) -> Task:
    """What its answers are."""
    return sources.task_of(self.dataset)

  @property
  def compared(self) -> Split:
    """Those of the images that counted on which all answers are compared."""
    return parity.compared(self.task, self.scored)

  @property
  def signature(self) -> Signature:
    """What the network takes, of what it sees of an image, and gives."""
    size = self.run.experiment.data.crop_size
    return sources.signature(sources.crop_dataset(self.dataset, size))

  def kept(self, answer: Callable) -> np.ndarray:
    """What the task keeps of answers to all images that counted."""
    crop_size = self.run.experiment.data.crop_size
    return predict.outside(answer, self.task, self.scored.images, crop_size)

  @property
  def measured(self) -> Any:
    """What computed the reported scores: the module, in the run's precision."""
    dtype = self.run.experiment.computing.compute_dtype
    return with_precision(self.about.module(), dtype=dtype)


class Exported(NamedTuple):
  """What is to be exported.

  Attributes:
    formats: those that can hold it, by name.
  """

  network: StoredNetwork
  settings: Export
  formats: dict[str, formats.Format]


def build(experiment: Experiment) -> Plan:
  """Finds the network of the finished run, and the formats that it can have."""
  settings = experiment.export
  files = formats.parse_formats(settings.formats)
  network = find(settings, experiment.data.data_dir)
  files = formats.fitting(files, network.about, settings.formats)
  setup = Exported(network, settings, files)
  return Plan(setup, experiment, jax.devices()[:1], resumable=False)


def find(settings: Export, data_dir: str | None) -> StoredNetwork:
  """Finds the network that is to be exported."""
  if settings.source is None:
    raise UserError("export needs --from=WORKDIR, the folder of a finished run")
  folder = Path(settings.source).expanduser()
  run = stored_run(folder)
  folder = folder.parent if folder.is_file() else folder
  note, variables = _network(settings, folder)
  scores = run.results[settings.network]
  _check_is_the_run_s(settings, scores, variables)
  images = run.experiment.data
  if data_dir is not None:
    images = images.__class__(**vars(images) | {"data_dir": data_dir})
  length = run.experiment.language.sequence_length
  dataset = sources.open_stored(
    images, encode=partial(encode_as, folder, length)
  )
  as_shown = sources.crop_dataset(dataset, images.crop_size)
  examples, score_split = sources.hold_out(as_shown, images.validation)
  _check_same_images(run, score_split)
  short = max(0, LEAST - len(score_split.labels))
  if sources.task_of(dataset).kept is not None:
    short = 0  # every image has many answers
  about = about_network(
    dataset,
    score_split.images,
    note["model"],
    crop_size=images.crop_size,
    quantization=note.get("quantization", quantized.NONE),
  )
  return StoredNetwork(
    run,
    about,
    variables,
    scores,
    dataset,
    score_split,
    data.select(dataset.train, examples[:short]),
    data.licence(images.dataset, images.data_dir),
  )


def _network(settings: Export, folder: Path) -> tuple[dict, Any]:
  """Reads what the run has saved: students in one folder, a teacher in each."""
  member, several = settings.member, settings.network == "student"
  name = settings.network
  if member and not several:
    name = f"{name}_{member}"
  note = storage.read_note(folder / name)
  missing = {"model", "classes", "class_names"} - set(note)
  if missing:
    raise StorageError(
      f"{folder / name} is damaged: its note lacks {sorted(missing)}"
    )
  variables = storage.load_variables(folder / name, note)
  if not several:
    return note, variables
  seeds = len(jax.tree.leaves(variables)[0])
  if member >= seeds:
    raise UserError(
      f"--member={member}: the run has {quantity(seeds, 'seed')}, 0 to {seeds - 1}"
    )
  return note, jax.tree.map(lambda x: x[member], variables)


def _check_is_the_run_s(settings: Export, scores, variables) -> None:
  """Refuses a network that is not the one of the results."""
  digests = (scores or {}).get("digest", [])
  digest = storage.digest(variables["params"])
  if settings.member >= len(digests) or digests[settings.member] != digest:
    raise StorageError(
      f"--from={settings.source}: the {settings.network} there is not the one that"
      " results.json was measured on"
    )


def _check_same_images(run: Stored, score_split: Split) -> None:
  fingerprint = run.results.get("fingerprints", {}).get("scored")
  if fingerprint != data.fingerprint(score_split):
    raise UserError(
      f"the images of {run.experiment.data.dataset} are not those that the run"
      " was measured on; --data_dir=DIR says where those are"
    )
