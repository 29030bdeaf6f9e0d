"""What was written, for results.json and the terminal."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.core.errors import program, quantity
from kdjax.data.teacher_cache.store import FOLDER
from kdjax.runner.config import Experiment, options
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.cache import texts
from kdjax.runner.jobs.cache.build import Caching
from kdjax.runner.report import formats


def measure(setup: Caching, context: Context) -> Measured:
  """Says how large the cache is, and of which teacher."""
  if isinstance(setup, texts.Caching):
    return texts.measure(setup, context)
  folder, cache_files = context.workdir / FOLDER, context.values["cache"]
  files = folder.glob("*.array_record")
  cache = {
    "folder": str(folder),
    "records": cache_files.rows,
    "record_bytes": setup.kind.itemsize,
    "bytes": sum(file.stat().st_size for file in files),
    "records_per_second": cache_files.rows / cache_files.seconds,
    "views": setup.views,
    "next": shlex.join(_next(setup.base.experiment, context.workdir)),
  }
  task = setup.base.student.task.name
  return Measured(
    {"task": task, "teacher": cache_files.teacher, "cache": cache}
  )


def summary(results: Mapping[str, Any]) -> str:
  """Says how large the cache is, and which command learns from it."""
  cache = results["cache"]
  records = quantity(cache["records"], "record")
  return (
    f"{records} of {cache['record_bytes']} bytes,"
    f" {cache['bytes'] / 2**20:.1f} MiB, at"
    f" {formats.count(cache['records_per_second'])} a second:"
    f" {cache['folder']}\n{cache['next']}"
  )


def _next(experiment: Experiment, workdir: Path) -> list[str]:
  """The command that learns from the cache."""
  words = ["kdjax"] if program() == "kdjax" else ["python", "launch.py"]
  for one in options.options():
    value = getattr(getattr(experiment, one.group), one.field.name)
    is_needed = one.group == "data" or one.flag in (
      "augment",
      "views",
      "view_seed",
      "sequence_length",
    )
    if is_needed and value != one.field.default:
      several = isinstance(value, tuple)
      text = ",".join(map(str, value)) if several else str(value)
      words.append(f"--{one.flag}={text}")
  return [*words, f"--teacher_cache={workdir}"]
