"""The results of a finished run, read back."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment, options


class Stored(NamedTuple):
  """A finished run, as it noted itself."""

  results: dict[str, Any]
  experiment: Experiment


def stored_run(path: Path) -> Stored:
  """Reads a finished run."""
  path = path / "results.json" if path.is_dir() else path
  try:
    results = json.loads(path.read_text())
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from None
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is no JSON: {error}") from None
  if not _is_run(results):
    raise UserError(
      f"{path} holds no results of distill or sweep; its own command is"
      f" {_command(results)}"
    )
  experiment = options.from_dict(results["experiment"])
  options.check(experiment, sweep=options.has_grid(experiment))
  return Stored(results, experiment)


def _is_run(results: Any) -> bool:
  return (
    isinstance(results, dict)
    and {"experiment", "objective", "student", "baseline"} <= results.keys()
    and not {"methods", "rounds"} & results.keys()
  )


def _command(results: Any) -> str:
  is_run = isinstance(results, dict) and "command" in results
  return repr(results["command"]) if is_run else "unknown"
