"""Entropies of checkpoints: mapped over devices, and kept on disk.

An entry is named after what decides it: the variables that the feature depends
on, the images and the settings. So a run that was stopped, or one that differs
elsewhere, finds what is already there.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError
from kdjax.evaluate import knowledge
from kdjax.evaluate.knowledge import Estimate
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.train.devices import placement as on_devices
from kdjax.train.devices import processes

# Changes when the same settings are to give other numbers.
VERSION = 1
FOLDER = "entropies"
DESCENTS = {"optimise": knowledge.Descent(), "published": knowledge.PUBLISHED}


class Meter:
  """Measures the entropies of one network after the other.

  Attributes:
    computed: how many checkpoints were computed.
    reused: how many were found on disk.
  """

  def __init__(
    self, setup: KnowledgeSetup, mask: Any, folder: Path | None = None
  ):
    """Compiles nothing yet.

    Args:
      folder: where entries are written; None keeps none.
    """
    self.computed = self.reused = 0
    self._setup, self._mask = setup, jax.tree.leaves(mask)
    self._programs: dict[str, tuple[Callable, ...]] = {}
    self._folders = [] if folder is None else [folder / FOLDER]
    earlier = setup.experiment.quantify.quantify_from
    if earlier is not None:
      source = Path(earlier).expanduser() / FOLDER
      if processes.is_first() and not source.is_dir():
        raise UserError(f"--quantify_from={earlier}: there is no {source}")
      self._folders.append(source)
    self._images = hashlib.sha256(setup.images.tobytes()).hexdigest()

  def entropies(self, network: Any) -> Estimate:
    """Measures one network, or reads what was measured before."""
    name = self.entry(network)
    estimate = self._find(name)
    if estimate is None:
      self.computed += 1
      estimate = self.compute(
        network, self._setup.experiment.quantify.estimator
      )
    self._keep(name, estimate)
    return estimate

  def recall(self, name: str) -> Estimate:
    """Reads what was measured before."""
    estimate = self._find(name)
    if estimate is None:
      raise StorageError(f"{self._folders[-1] / name}.npz is missing")
    self._keep(name, estimate)
    return estimate

  def entry(self, network: Any) -> str:
    """Names a network's estimate after all that decides it."""
    leaves = jax.tree.leaves(jax.device_get(network))
    trunk = [x for x, keep in zip(leaves, self._mask, strict=True) if keep]
    quantify, setup = self._setup.experiment.quantify, self._setup
    settings = (
      VERSION,
      setup.model,
      quantify.tap,
      quantify.estimator,
      quantify.probes,
    )
    text = f"{settings} {setup.problem} {storage.digest(trunk)} {self._images}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]

  def compute(
    self, network: Any, estimator: str, count: int | None = None
  ) -> Estimate:
    """Measures one network."""
    devices = self._setup.devices
    here, part = len(on_devices.local(devices)), on_devices.portion(devices)
    images = self._setup.images[:count]
    total = len(images)
    at_once = self._setup.experiment.quantify.images_at_once
    size = len(devices) * min(at_once, -(-total // len(devices)))
    network = on_devices.replicate(network, devices)
    passes = []
    for first in range(0, total, size):
      # The last pass is filled up with its own first image.
      numbers = np.arange(first, first + size)
      numbers = np.where(numbers < total, numbers, first)
      numbers = on_devices.cut(numbers.astype(np.int32), part, axis=0)
      inputs = on_devices.shard((images[numbers], numbers), here, axis=0)
      passes.append(self._one_pass(network, *inputs, estimator))
    return jax.tree.map(
      lambda *x: np.concatenate([np.asarray(one) for one in x])[:total], *passes
    )

  def _one_pass(self, network, images, numbers, estimator) -> Estimate:
    if estimator not in self._programs:
      make = _closed_form if estimator == "jacobian" else _descent
      self._programs[estimator] = make(self._setup, estimator)
    programs = self._programs[estimator]
    if estimator == "jacobian":
      return programs[0](network, images, numbers)
    begin, advance = programs
    problem, descent = self._setup.problem, DESCENTS[estimator]
    if descent.rule == "published":
      total = numbers.shape[-1] * len(self._setup.devices)
      sigma = np.full((total, *problem.grid), problem.reference, "f4")
    else:
      # Where the closed form is right there is nothing left to do.
      near = self._one_pass(network, images, numbers, "jacobian")
      sigma = np.exp(np.asarray(near.entropy) - knowledge.CEILING)
    return knowledge.minimise(
      lambda images, keys, sigma: begin(network, images, keys, sigma),
      lambda *rest: advance(network, *rest),
      images,
      numbers,
      problem,
      descent,
      sigma=sigma,
    )

  def _find(self, name: str) -> Estimate | None:
    paths = [folder / f"{name}.npz" for folder in self._folders]
    there = [path for path in paths if processes.is_first() and path.is_file()]
    entry = processes.broadcast(
      (None, list(_read(there[0]))) if there else None
    )
    if entry is None:
      return None
    self.reused += 1
    return Estimate(*entry[1])

  def _keep(self, name: str, estimate: Estimate) -> None:
    if not (self._folders and processes.is_first()):
      return
    path = self._folders[0] / f"{name}.npz"
    if not path.is_file():
      _write(path, estimate)


def _closed_form(setup: KnowledgeSetup, estimator: str) -> tuple[Callable, ...]:
  settings = setup.experiment.quantify

  def run(network, images, numbers):
    estimate = knowledge.jacobian(
      lambda x: setup.feature(network, x),
      images,
      _keys(numbers),
      setup.problem,
      probes=settings.probes,
      at_once=settings.probes_at_once,
    )
    return _gathered(estimate)

  return (on_devices.parallel(run, setup.devices, sharded=(1, 2)),)


def _descent(setup: KnowledgeSetup, estimator: str) -> tuple[Callable, ...]:
  """Compiles the start and a step; states hold all images on every device."""
  options = {"problem": setup.problem, "descent": DESCENTS[estimator]}

  def begin(network, images, numbers, sigma):
    estimate = knowledge.start(
      lambda x: setup.feature(network, x),
      images,
      _keys(numbers),
      _own(sigma, numbers),
      **options,
    )
    return _gathered(estimate)

  def advance(network, images, numbers, state, step):
    estimate = knowledge.step(
      lambda x: setup.feature(network, x),
      images,
      _keys(numbers),
      _own(state, numbers),
      step,
      **options,
    )
    return _gathered(estimate)

  return tuple(
    on_devices.parallel(program, setup.devices, sharded=(1, 2))
    for program in (begin, advance)
  )


def _keys(numbers: jax.Array) -> jax.Array:
  """A key an image, whatever device it is on."""
  return jax.vmap(lambda n: jax.random.fold_in(jax.random.key(0), n))(numbers)


def _gathered(tree):
  return jax.tree.map(
    lambda x: jax.lax.all_gather(x, on_devices.AXIS, axis=0, tiled=True), tree
  )


def _own(tree, numbers):
  """This device's part of arrays that hold all images."""
  size = numbers.shape[0]
  first = jax.lax.axis_index(on_devices.AXIS) * size
  return jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(jnp.asarray(x), first, size), tree
  )


def _write(path: Path, estimate: Estimate) -> None:
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when it is whole: a killed run leaves no half entry.
    part = path.with_suffix(".part")
    with part.open("wb") as file:
      np.savez(file, **estimate._asdict())
    part.rename(path)
  except OSError as error:
    raise StorageError(f"cannot write {path}: {error}") from error


def _read(path: Path) -> Estimate:
  try:
    # NumPy leaves a damaged file open: it gets the bytes.
    whole = io.BytesIO(path.read_bytes())
    with np.load(whole, allow_pickle=False) as arrays:
      return Estimate(*(arrays[name] for name in Estimate._fields))
  except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
    raise StorageError(f"{path} is damaged: {error}; remove it") from error
