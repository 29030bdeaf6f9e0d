"""Checkpoints of one training, in a row: written in the background, verified.

Orbax writes each as a whole or not at all, but does not notice a flipped bit:
every checkpoint carries a digest of its content, and a damaged one is put aside
for the one before it.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from kdjax.core.errors import StorageError, UserError
from kdjax.core.storage import alone, digest, one_line

DAMAGED = "damaged"
# Bytes above which a checkpoint is written before the training goes on: else there
# would be a copy of it in memory while it is written.
LARGE = 2**30


class Series(NamedTuple):
  """An open series.

  Attributes:
    folder: where it is.
    manager: orbax's.
  """

  folder: Path
  manager: ocp.CheckpointManager


class Restored(NamedTuple):
  """What a checkpoint held.

  Attributes:
    step: of the training.
    tree: the arrays, as NumPy arrays in the form that was asked for.
    note: JSON values.
    damaged: one line for each later checkpoint that could not be used.
  """

  step: int
  tree: Any
  note: dict[str, Any]
  damaged: tuple[str, ...]


def open_series(folder: Path, *, latest: int = 2) -> Series:
  """Opens a folder of checkpoints, new or old.

  Args:
    folder: made if it is not there; what killed runs left half written in it is
      removed.
    latest: how many of the last checkpoints stay.
  """
  # Orbax tells forty lines about every checkpoint, and more about a bad one;
  # what matters of them is raised.
  for name in ("absl", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  options = ocp.CheckpointManagerOptions(
    preservation_policy=policies.LatestN(latest),
    step_format_fixed_length=9,
    cleanup_tmp_directories=True,
    create=False,
    multiprocessing_options=alone(),
  )
  # How much is compressed at a time.
  by_parts = ocp.StandardCheckpointHandler(
    save_concurrent_gb=1, multiprocessing_options=alone()
  )
  handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
  for args in (ocp.args.StandardSave, ocp.args.StandardRestore):
    handlers.add("arrays", args, by_parts)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    manager = ocp.CheckpointManager(
      folder.absolute(), options=options, handler_registry=handlers
    )
  except (OSError, ValueError) as error:
    raise StorageError(f"cannot open {folder}: {one_line(error)}") from error
  return Series(folder, manager)


def save(series: Series, step: int, tree: Any, note: Mapping[str, Any]) -> None:
  """Begins to write a checkpoint; returns once the arrays may change again.

  Args:
    step: of the training; later than all others.
  """
  arrays = _arrays(tree)
  note = dict(note) | {"digest": digest(arrays), "paths": _paths(tree)}
  note["seal"] = _seal(note)
  at_once = sum(x.nbytes for x in arrays.values()) > LARGE
  if at_once and jax.process_count() == 1:
    # Of NumPy's arrays orbax makes a copy, whoever waits.
    processor = jax.local_devices(backend="cpu")[0]
    arrays = jax.device_put(arrays, processor)
  args = ocp.args.Composite(
    arrays=ocp.args.StandardSave(arrays), note=ocp.args.JsonSave(note)
  )
  # A full disk comes as half a dozen unrelated exceptions.
  try:
    series.manager.save(step, args=args)
    if at_once:
      series.manager.wait_until_finished()
  except Exception as error:
    raise _failed("write", series, error) from error


def wait(series: Series) -> None:
  """Waits until the last checkpoint is written."""
  try:
    series.manager.wait_until_finished()
  except Exception as error:
    raise _failed("write", series, error) from error


def restore(
  series: Series, make_like: Callable[[Mapping[str, Any]], Any]
) -> Restored | None:
  """Reads the newest checkpoint that is whole.

  Args:
    series: the series. Damaged checkpoints are put aside into its folder
      "damaged", so that their steps can be written again.
    make_like: note -> arrays, PRNG keys or shapes in the form of what was saved.

  Returns:
    What it held; None where there is no checkpoint at all.
  """
  damages = []
  for step in sorted(series.manager.all_steps(), reverse=True):
    try:
      with _quiet():
        arrays, note = _read(series, step)
    # Damage surfaces as unrelated exceptions, bare ones among them.
    except Exception as error:
      damages.append(
        f"checkpoint {step} in {series.folder} is damaged: {one_line(error)}"
      )
      _put_aside(series, step)
      continue
    return Restored(
      step, _tree(arrays, note, make_like(note)), note, tuple(damages)
    )
  if damages:
    raise StorageError("; ".join(damages))
  return None


def plain(tree: Any) -> list[np.ndarray]:
  """Returns a tree's leaves as NumPy arrays, PRNG keys as their numbers."""
  leaves = jax.device_get([_plain(leaf) for leaf in jax.tree.leaves(tree)])
  return [np.asarray(leaf) for leaf in leaves]


def in_form_of(leaves: Sequence[np.ndarray], like: Any) -> Any:
  """Undoes `plain`.

  Args:
    like: arrays, PRNG keys or shapes in the form of the tree.
  """
  arrays = [
    jax.random.wrap_key_data(value, impl=_key_impl(leaf))
    if is_key(leaf)
    else value
    for value, leaf in zip(leaves, jax.tree.leaves(like), strict=True)
  ]
  return jax.tree.unflatten(jax.tree.structure(like), arrays)


def close(series: Series) -> None:
  """Waits for what is being written and lets go of the folder."""
  try:
    wait(series)
  finally:
    # What it raises is what it was waited for.
    with contextlib.suppress(Exception):
      series.manager.close()


@contextmanager
def _quiet() -> Iterator[None]:
  """Keeps one error one line: reads that a failed one left behind end badly."""
  before = sys.unraisablehook
  sys.unraisablehook = lambda unraisable: None
  try:
    yield
  except Exception:
    time.sleep(0.1)
    raise
  finally:
    sys.unraisablehook = before


def _read(series: Series, step: int) -> tuple[dict, dict]:
  note = series.manager.restore(
    step, args=ocp.args.Composite(note=ocp.args.JsonRestore())
  )["note"]
  if _seal(note) != note.get("seal"):
    raise ValueError("its note is not the one written")
  targets = {
    f"{i:06d}": np.zeros(shape, _stored_type(dtype))
    for i, (_, dtype, shape) in enumerate(note["paths"])
  }
  arrays = series.manager.restore(
    step, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(targets))
  )["arrays"]
  if digest(arrays) != note["digest"]:
    raise ValueError("its digest is not the one noted")
  dtypes = [np.dtype(dtype) for _, dtype, _ in note["paths"]]
  arrays = {
    name: np.asarray(arrays[name]).astype(dtype, copy=False)
    if dtype == jnp.uint4
    else arrays[name]
    for name, dtype in zip(sorted(arrays), dtypes, strict=True)
  }
  return arrays, note


def _seal(note: Mapping[str, Any]) -> str:
  """The sha256 over a note, the seal itself left out."""
  content = {name: value for name, value in note.items() if name != "seal"}
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _put_aside(series: Series, step: int) -> None:
  aside = series.folder / DAMAGED
  aside.mkdir(exist_ok=True)
  for path in series.folder.glob(f"*{step:09d}"):
    target = aside / path.name
    shutil.rmtree(target, ignore_errors=True)
    path.rename(target)
  series.manager.reload()


def _arrays(tree: Any) -> dict[str, np.ndarray]:
  """The leaves by number: their paths need not be names that a store allows."""
  return {
    f"{i:06d}": leaf.astype(_stored_type(leaf.dtype), copy=False)
    for i, leaf in enumerate(plain(tree))
  }


def _stored_type(dtype: Any) -> np.dtype:
  """The type in which numbers are written: tensorstore knows no uint4."""
  dtype = np.dtype(dtype)
  return np.dtype(np.uint8) if dtype == jnp.uint4 else dtype


def _plain(leaf: Any) -> Any:
  return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _key_impl(key: Any) -> Any:
  """The implementation of PRNG keys, or of the shape of some."""
  kinds = []
  jax.eval_shape(lambda key: kinds.append(jax.random.key_impl(key)), key)
  return kinds[0]


def is_key(leaf: Any) -> bool:
  """Says whether a leaf is a typed PRNG key, or the shape of one."""
  return jax.dtypes.issubdtype(
    getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key
  )


def _paths(tree: Any) -> list[list[Any]]:
  """Path, type and shape of every leaf."""
  paths = []
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(path)
    if is_key(leaf):
      leaf = jax.eval_shape(_plain, leaf)
    elif not hasattr(leaf, "dtype"):
      leaf = np.asarray(leaf)
    if leaf.dtype.kind in "OSU":
      raise UserError(
        "a checkpoint's tree has arrays, PRNG keys and numbers as leaves; what"
        f" stands at {name or 'its root'} is none of them; JSON values go into"
        " the note"
      )
    paths.append([name, str(np.dtype(leaf.dtype)), list(leaf.shape)])
  return paths


def _tree(arrays: dict, note: Mapping[str, Any], like: Any) -> Any:
  """Puts the arrays into the form that is asked for."""
  paths, paths_here = note["paths"], _paths(like)
  if paths != paths_here:
    one, other = _by_path(paths), _by_path(paths_here)
    odd = [x for x in one | other if one.get(x) != other.get(x)]
    differences = [
      f"{path or 'the array'} is {one.get(path, 'nothing')} there and"
      f" {other.get(path, 'nothing')} here"
      for path in odd[:3]
    ] or ["the order of its arrays differs"]
    raise UserError(
      f"the checkpoint is of another training: {'; '.join(differences)}"
    )
  return in_form_of(list(arrays.values()), like)


def _by_path(paths: Sequence[Sequence[Any]]) -> dict[str, str]:
  return {path: f"{dtype}{shape}" for path, dtype, shape in paths}


def _failed(what: str, series: Series, error: Exception) -> StorageError:
  return StorageError(f"cannot {what} {series.folder}: {one_line(error)}")
