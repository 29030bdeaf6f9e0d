"""The folder that holds all that one run writes; a killed run goes on in it."""

import dataclasses
import datetime
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.core import plugins
from kdjax.core.errors import StorageError, UserError
from kdjax.runner.config import Cluster, Experiment
from kdjax.runner.config.options import as_dict
from kdjax.train.devices import processes
from kdjax.train.fault_tolerance import preemption

LOCK = "run.lock"
SETTINGS = "run.json"
RESULTS = "results.json"
# What is drawn of the results comes after them; then checkpoints are removed.
PAGE, CHECKPOINTS = "report.html", "checkpoints"
UNWRITTEN = "run.json.new"
MOST = 4  # things that changed, in one line
# Where a run happens does not change what it is; and a run that a bad step
# ended may go on by passing over it.
FREE = {("run", "workdir"), ("run", "accelerator"), ("run", "host_devices")}
FREE |= {("run", name) for name in ("resume", "checkpoint_minutes")}
FREE |= {("run", "compilation_cache")}
FREE |= {("data", "data_workers")}
FREE |= {
  ("run", name) for name in ("nan", "nan_patience", "latency", "profile")
}
FREE |= {("cluster", field.name) for field in dataclasses.fields(Cluster)}
FREE |= {("computing", name) for name in ("preflight", "profile_steps")}
FREE |= {("computing", name) for name in ("mesh", "shard_rules")}


def claim(
  workdir: str | None,
  name: str,
  settings: Mapping[str, Mapping[str, Any]] | None = None,
  *,
  resume: bool = False,
  fingerprints: Mapping[str, Any] | None = None,
) -> Path:
  """Makes the folder of a run, and makes sure that no other run has it.

  Args:
    workdir: `--workdir`; None for a new folder below runs/.
    settings: JSON values by group and name; what was killed before it ended can
      go on with the same ones. None for a run that cannot.
    fingerprints: what it must find again besides, such as the images' sha256; JSON
      values by what they are.
  """
  stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
  folder = (
    Path(workdir).expanduser() if workdir else Path("runs") / f"{name}-{stamp}"
  )
  if not processes.is_first():
    return folder
  settings = None if settings is None else _as_json(settings)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    # A run that was killed at once leaves no more than its lock.
    here = {file.name for file in folder.iterdir()} - {LOCK, UNWRITTEN}
    undrawn = PAGE not in here and CHECKPOINTS in here
    is_unfinished = SETTINGS in here and (RESULTS not in here or undrawn)
    takes_up = settings is not None and resume and is_unfinished
    if here and not takes_up:
      raise UserError(_occupied(folder, is_unfinished, settings, resume))
    _lock(folder)
    if takes_up:
      _check_same(folder, settings, fingerprints or {})
    elif settings is not None:
      note = {"name": name, "experiment": settings, "seen": fingerprints or {}}
      note |= {"plugins": plugins.digests()}
      _write(folder / SETTINGS, note)
  except FileExistsError:
    raise UserError(f"--workdir={folder} is in use or no folder") from None
  except OSError as error:
    raise UserError(
      f"--workdir={folder} cannot be written: {error.strerror or error}"
    ) from None
  preemption.leaves(
    f"stopped; {folder} is left as it is, start again with a new --workdir"
    if settings is None
    else f"stopped; the same command with --workdir={folder} goes on"
  )
  return folder


def _lock(folder: Path) -> None:
  """Takes the folder; of two runs that try at once, one fails.

  The system frees the locks of the dead, so that nothing is left to clear away.
  """
  # Never closed: the lock would be gone.
  file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
  try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    os.close(file)
    raise FileExistsError from None
  os.truncate(file, 0)
  os.write(file, f"{os.getpid()}\n".encode())


def _write(path: Path, value: Any) -> None:
  beside = path.with_name(UNWRITTEN)
  beside.write_text(json.dumps(value, indent=2) + "\n")
  beside.replace(path)


def _occupied(folder, is_unfinished, settings, resume) -> str:
  if is_unfinished and settings is not None and not resume:
    return (
      f"--workdir={folder} holds an unfinished run; --resume goes on with it, or"
      " give a new folder"
    )
  over = " of a run that is over" if (folder / RESULTS).is_file() else ""
  return (
    f"--workdir={folder} holds files already{over}; nothing was overwritten. Give"
    " a new folder, or remove this one"
  )


def _check_same(
  folder: Path,
  settings: Mapping[str, Mapping[str, Any]],
  fingerprints: Mapping[str, Any],
) -> None:
  """Refuses to go on with a run of other settings, or over other data."""
  try:
    note = json.loads((folder / SETTINGS).read_text())
    settings_now, defaults = (
      _flat(settings),
      _flat(_as_json(as_dict(Experiment()))),
    )
    # Code from before a setting did what the setting's default does.
    values = {key: defaults.get(key) for key in settings_now}
    values |= _flat(note["experiment"])
    # Runs from before this was noted have none.
    before = dict(note.get("seen", {}))
    old, new = dict(note.get("plugins", {})), plugins.digests()
  # Whatever else may stand there raises anything.
  except Exception as error:
    raise StorageError(f"{folder / SETTINGS} is damaged: {error}") from error
  differing = [
    f"{key[1]} was {values.get(key)!r} and is {settings_now.get(key)!r}"
    for key in sorted(values.keys() | settings_now.keys())
    if key not in FREE and values.get(key) != settings_now.get(key)
  ]
  if differing:
    raise UserError(
      f"--workdir={folder} holds an unfinished run of other settings:"
      f" {'; '.join(differing)}"
    )
  others = [
    f"{file} was {_short(old.get(file))} and is {_short(new.get(file))}"
    for file in sorted(old | new)
    if old.get(file) != new.get(file)
  ]
  if others:
    raise UserError(
      f"--workdir={folder} holds an unfinished run with other --plugins:"
      f" {'; '.join(others)}. Nothing was changed: bring back what it had, or give"
      " a new folder"
    )
  differences = [
    f"{what} was {_short(before.get(what))} and is {_short(fingerprints.get(what))}"
    for what in before | dict(fingerprints)
    if before and before.get(what) != fingerprints.get(what)
  ]
  if differences:
    more = (
      f"; and {len(differences) - MOST} more" if len(differences) > MOST else ""
    )
    raise UserError(
      f"--workdir={folder} holds an unfinished run over other data:"
      f" {'; '.join(differences[:MOST])}{more}. Nothing was changed: bring back what"
      " it saw, or give a new folder"
    )


def _short(value: Any) -> str:
  """Of a sha256 no more than tells it from another."""
  text = repr(value)
  return f"{text[1:13]}..." if len(text) == 66 else text


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Settings as JSON has them, so that a tuple equals the list that was written."""
  return json.loads(json.dumps(settings))


def _flat(settings: Mapping[str, Mapping[str, Any]]) -> dict:
  return {
    (group, name): value
    for group, values in settings.items()
    for name, value in values.items()
  }
