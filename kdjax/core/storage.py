"""Trained networks on disk: orbax for the arrays, a digest against bit rot."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from kdjax.core.errors import StorageError, UserError

NOTE = "network.json"


def digest(tree: Any) -> str:
  """Returns the sha256 over a tree's arrays in sorted path order.

  Two runs are the same run when the digests of their parameters are.

  Returns:
    64 hexadecimal digits, over paths, types, shapes and bytes.
  """
  leaves = {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  whole = hashlib.sha256()
  for path in sorted(leaves):
    leaf = leaves[path]
    whole.update(f"{path} {leaf.dtype} {leaf.shape}".encode())
    whole.update(np.ascontiguousarray(leaf).tobytes())
  return whole.hexdigest()


def save_network(folder: Path, variables: Any, note: dict[str, Any]) -> None:
  """Writes a network's variables and what is needed to use them.

  Of several processes the first writes, the others do nothing.

  Args:
    folder: appears as a whole, or not at all; one that is there is replaced.
    note: JSON values: model spec, classes, image shape, ...
  """
  if jax.process_index():
    return
  variables = jax.device_get(variables)
  beside = folder.with_name(f".{folder.name}.new")
  try:
    # Orbax's threads would wait a minute for a folder that cannot be made.
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    with ocp.StandardCheckpointer(
      multiprocessing_options=alone()
    ) as checkpointer:
      checkpointer.save(beside.absolute() / "variables", variables)
    note = note | {"digest": digest(variables)}
    (beside / NOTE).write_text(json.dumps(note, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
  # A full disk comes as half a dozen unrelated exceptions.
  except Exception as error:
    shutil.rmtree(beside, ignore_errors=True)
    raise StorageError(f"cannot write {folder}: {one_line(error)}") from error


def read_note(folder: Path) -> dict[str, Any]:
  """Reads what was noted beside a saved network."""
  try:
    note = json.loads((folder / NOTE).read_text())
    if not isinstance(note, dict):
      raise ValueError("it is no JSON object")
    return note
  except (FileNotFoundError, NotADirectoryError):
    raise UserError(f"there is no saved network in {folder}") from None
  except (OSError, ValueError, RecursionError) as error:
    raise StorageError(
      f"{folder / NOTE} is damaged: {one_line(error)}"
    ) from error


def load_variables(folder: Path, note: dict[str, Any]) -> Any:
  """Reads a network's variables and checks them against their digest."""
  path = folder.absolute() / "variables"
  # Damage surfaces as half a dozen unrelated exceptions, bare ones among them.
  try:
    with ocp.StandardCheckpointer(
      multiprocessing_options=alone()
    ) as checkpointer:
      shapes = checkpointer.metadata(path).item_metadata.tree
      targets = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
      variables = checkpointer.restore(path, targets)
  except Exception as error:
    raise StorageError(f"cannot read {path}: {one_line(error)}") from error
  if digest(variables) != note.get("digest"):
    raise StorageError(f"{path} is damaged: its digest is not the one noted")
  return variables


def alone() -> ocp.options.MultiprocessingOptions:
  """Tells orbax not to wait for other processes.

  Returns:
    Its options; what it writes or reads here is this process's own affair.

  Example:
    >>> alone().primary_host
    0
  """
  process = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=process,
    active_processes={process},
    barrier_sync_key_prefix=f"process_{process}",
  )


def one_line(error: Exception) -> str:
  """Returns the first line of what an error says.

  Returns:
    The line; the error's type where it says nothing.

  Example:
    >>> one_line(KeyError())
    'KeyError'
  """
  return (str(error).splitlines() or [type(error).__name__])[0]
