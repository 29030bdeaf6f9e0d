"""Checkpoints of a loop of one's own: parameters, optimiser, iterator's place."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_path, check_whole, misfit
from kdjax.core.errors import UserError, warn
from kdjax.train.fault_tolerance import checkpoints


class Checkpoints:
  """A folder of checkpoints: each is written whole or not at all, and verified.

  A training that is killed at any step and starts again with the same folder
  goes on from its last checkpoint, bit for bit, if all that it depends on is
  saved: parameters, optimiser, PRNG keys and the place of its iterator.

  Args:
    folder: made if it is not there. What killed runs left half written in it is
      removed.
    keep: how many of the last checkpoints stay.
    every_steps: `save` writes only where at least so many steps have gone by
      since the last checkpoint.
    every_minutes: likewise, minutes. With both, whichever comes first; with
      neither, every call writes.

  Raises:
    UserError: for what is no path, and numbers below 1 (`keep`, `every_steps`) or
      0, or not whole.
    StorageError: for a folder that cannot be made or read.

  Example:
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with Checkpoints(folder) as checkpoints:
    ...   checkpoints.save(7, {"w": jnp.ones(3)}, {"epoch": 1})
    True
    >>> with Checkpoints(folder) as checkpoints:
    ...   step, tree, note = checkpoints.restore({"w": jnp.zeros(3)})
    >>> print(step, tree["w"], note)
    7 [1. 1. 1.] {'epoch': 1}
  """

  def __init__(
    self,
    folder: str | Path,
    *,
    keep: int = 2,
    every_steps: int | None = None,
    every_minutes: float | None = None,
  ):
    check_path("folder", folder)
    keep = check_whole("keep", keep)
    if every_steps is not None:
      every_steps = check_whole("every_steps", every_steps)
    number = isinstance(every_minutes, int | float | np.number)
    if every_minutes is not None and not (number and every_minutes >= 0):
      raise misfit("every_minutes", "a number >= 0, or None", every_minutes)
    self.folder = Path(folder)
    self.keep, self.every_steps = keep, every_steps
    self.every_minutes = every_minutes
    self._series = checkpoints.open_series(self.folder, latest=keep)
    self._written = time.monotonic()

  @property
  def latest(self) -> int | None:
    """The step of the last checkpoint; None where there is none."""
    return self._series.manager.latest_step()

  def is_due(self, step: int) -> bool:
    """Says whether `save` would write at a step."""
    if self.every_steps is None and self.every_minutes is None:
      return True
    steps, minutes = self.every_steps, self.every_minutes
    since = time.monotonic() - self._written
    return (steps is not None and step - (self.latest or 0) >= steps) or (
      minutes is not None and since >= 60 * minutes
    )

  def save(
    self, step: int, tree: Any, note: Any = None, *, always: bool = False
  ) -> bool:
    """Writes a checkpoint if one is due, and waits until it is whole.

    Of several processes, which call this alike, the first writes.

    Args:
      step: of the training; no earlier than the last checkpoint's, and what is
        there of the same step stays.
      tree: arrays on any devices, NumPy arrays, PRNG keys and numbers: linen
        variables, `nnx.state`, optax states, any pytree of them.
      note: JSON values, such as the state of the data's iterator.
      always: written even where it is not due, as at the end of a training.

    Returns:
      Whether it was written.

    Raises:
      UserError: for what is no step, an earlier one, a note that is no JSON, or a tree with
        leaves that are no arrays.
      StorageError: if it cannot be written; the ones before it stay.
    """
    step, latest = check_whole("step", step, least=0), self.latest
    if latest is not None and step < latest:
      raise UserError(
        f"save(step={step}): {self.folder} has a checkpoint of step {latest}"
        " already; restore() goes on from it, another folder begins anew"
      )
    if step == latest or not (always or self.is_due(step)):
      return False
    _check_json(note)
    tree = jax.tree.map(_on_host, tree)
    if jax.process_index() == 0:
      checkpoints.save(self._series, step, tree, {"note": note})
      checkpoints.wait(self._series)
    self._written = time.monotonic()
    return True

  def restore(self, like: Any) -> tuple[int, Any, Any] | None:
    """Reads the newest checkpoint that is whole.

    A damaged one is named in one line on stderr and put aside, into the folder
    "damaged", for the one before it.

    Args:
      like: arrays, or `jax.ShapeDtypeStruct`s, in the form of what was saved.
        What is restored lies where they do, whatever devices have saved it.

    Returns:
      (step, tree, note); None where there is no checkpoint.

    Raises:
      UserError: for a checkpoint of another form; both forms are named.
      StorageError: if there are checkpoints, and all are damaged.
    """
    return self.restore_by_note(lambda note: like)

  def restore_by_note(
    self, make_like: Callable[[Any], Any]
  ) -> tuple[int, Any, Any] | None:
    """As `restore`, where the form of what was saved is known from its note.

    Args:
      make_like: note -> like.
    """
    trees = []

    def of_note(note):
      trees.append(make_like(note["note"]))
      return trees[-1]

    checkpoint = checkpoints.restore(self._series, of_note)
    if checkpoint is None:
      return None
    for line in checkpoint.damaged:
      warn(
        f"{line}; the one before, of step {checkpoint.step}, is used", "kdjax"
      )
    tree = jax.tree.map(_placed, trees[-1], checkpoint.tree)
    return checkpoint.step, tree, checkpoint.note["note"]

  def close(self) -> None:
    """Lets go of the folder."""
    checkpoints.close(self._series)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_) -> None:
    self.close()


def _check_json(note: Any) -> None:
  try:
    json.dumps(note)
  except (TypeError, ValueError) as error:
    raise UserError(
      f"a checkpoint's note holds JSON values: {error}; the bytes of an"
      " iterator's state go in as note.decode('latin-1')"
    ) from None


def _on_host(leaf: Any) -> Any:
  """Gathers what other processes hold a part of."""
  if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(leaf, tiled=True)
  return leaf


def _placed(like: Any, value: Any) -> Any:
  """Puts a restored leaf where, and into the type that, the one in use has."""
  sharding = getattr(like, "sharding", None)
  if checkpoints.is_key(like):
    return value if sharding is None else jax.device_put(value, sharding)
  if isinstance(like, np.generic):
    return value[()]
  if isinstance(like, bool | int | float | complex):
    return value.item()
  if isinstance(like, np.ndarray):
    return value
  if getattr(like, "weak_type", False):
    # Only what is set in an array of weak type stays one.
    blank = jnp.full(value.shape, value.dtype.type(0).item())
    if blank.dtype == value.dtype:
      value = blank.at[...].set(value)
  # What was bound to no device must not be bound to one now.
  if sharding is None or not getattr(like, "committed", True):
    return jnp.asarray(value)
  return jax.device_put(value, sharding)
