"""A run once more, from its results.json alone, and whether it came out alike."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdjax.core import plugins
from kdjax.core.errors import KdjaxError, UserError, warn
from kdjax.runner.config import Cluster
from kdjax.runner.config.commands import ReproduceConfig
from kdjax.runner.job import Command, find_jobs, run_job
from kdjax.runner.pipeline.stored_run import Stored, stored_run
from kdjax.runner.report import logs
from kdjax.runner.system.platform import (
  order_for_memory,
  prepare_environment,
)

# Where these are the same, a run is the same, bit for bit.
VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy", "python")
MACHINE = ("platform", "processor", "processors", "devices")


class Row(NamedTuple):
  """One thing that was compared.

  Attributes:
    what: its name.
    before: what the first run had.
    again: what the second one has.
    verdict: in words.
    agrees: None for what explains, and decides nothing.
  """

  what: str
  before: str
  again: str
  verdict: str
  agrees: bool | None


def run(call: Any) -> None:
  """Runs `distill` with the stored settings, and compares."""
  run = read(call.words)
  now, before = call.experiment.run, run.experiment.run
  accelerator = now.accelerator
  if accelerator == "auto":
    accelerator = before.accelerator
  prepare_environment(accelerator, before.host_devices)
  order_for_memory(run.experiment.computing.remat)
  settings = dataclasses.replace(
    before, workdir=now.workdir, accelerator=accelerator, resume=True
  )
  workdir = run_job(
    find_jobs()["distill"],
    dataclasses.replace(run.experiment, run=settings, cluster=Cluster()),
    name=run.results["name"],
    command=call.repeat,
  )
  check(run, workdir)


def read(words: Sequence[str]) -> Stored:
  """Reads what is to be run again."""
  if len(words) != 1:
    raise UserError("reproduce takes one results.json, or its folder")
  run = stored_run(Path(words[0]))
  _check_plugins(run.results.get("plugins", {}))
  return run


def _check_plugins(digests: Mapping[str, str]) -> None:
  """Wants what the run was given; of a file that has changed it warns."""
  here = plugins.digests()
  if missing := sorted(digests.keys() - here.keys()):
    raise UserError(
      f"the run had --plugins with {', '.join(missing)}: give them again"
    )
  for name, digest in digests.items():
    if here[name] != digest:
      warn(f"--plugins: {name} is not the file that the run had")


def check(run: Stored, workdir: Path) -> None:
  """Compares a run with the stored one; prints and keeps the table, or raises."""
  from kdjax.runner.report import text

  again = json.loads((workdir / "results.json").read_text())
  rows = list(compared(run.results, again))
  logs.write_json(workdir / "reproduce.json", [row._asdict() for row in rows])
  exact = same_machine(run.results, again)
  table = text.Table(
    "Run again",
    ("What", "Before", "Again", "Verdict"),
    tuple(tuple(row[:4]) for row in rows),
    (
      "The same kind of machine and the same packages: equal digests are due."
      if exact
      else "Another machine or other packages: scores are due within the spread,"
      " two standard errors of the difference of the means.",
    ),
  )
  print(f"\n{text.to_text(table)}")
  differing = [row.what for row in rows if row.agrees is False]
  if differing:
    raise KdjaxError(f"not reproduced: {', '.join(differing)}")
  print("Reproduced.")


def same_machine(before: Mapping, again: Mapping) -> bool:
  """Says whether equal digests are due.

  Example:
    >>> one = {"environment": {name: "1" for name in VERSIONS + MACHINE}}
    >>> same_machine(one, one), same_machine(one, {"environment": {}})
    (True, False)
  """
  one, other = before.get("environment", {}), again.get("environment", {})
  return all(
    one.get(name) is not None and one.get(name) == other.get(name)
    for name in VERSIONS + MACHINE
  )


def compared(before: Mapping, again: Mapping) -> Iterator[Row]:
  """Compares two runs, thing by thing."""
  one, other = before.get("environment", {}), again.get("environment", {})
  for name in sorted(one.keys() | other.keys()):
    if one.get(name) != other.get(name):
      values = (_plain(side.get(name)) for side in (one, other))
      yield Row(name, *values, "differs", None)
  old, new = before.get("plugins", {}), again.get("plugins", {})
  for name in sorted(old.keys() | new.keys()):
    if old.get(name) != new.get(name):
      digests = ((side.get(name) or "–")[:12] for side in (old, new))
      yield Row(name, *digests, "another plugin", None)
  data, there = before.get("fingerprints", {}), again.get("fingerprints", {})
  for name in sorted(data.keys() & there.keys()):
    agrees = data[name] == there[name]
    verdict = "the same images" if agrees else "other images"
    digests = (data[name][:12], there[name][:12])
    yield Row(f"{name} data", *digests, verdict, agrees)
  from kdjax.runner.report import reading

  exact, score = same_machine(before, again), reading.score_of(before)
  first, second = (_networks(side, score.key) for side in (before, again))
  for name in first | second:
    if name in first and name in second:
      yield _network(name, first[name], second[name], exact, score)
    else:
      there = ["yes" if name in side else "no" for side in (first, second)]
      yield Row(name, *there, "only in one", False)


def _network(
  name: str, before: Mapping, again: Mapping, exact: bool, score: Any
) -> Row:
  scores = tuple(
    f"{score.written(score.mean(side))} {score.words.title}"
    for side in (before, again)
  )
  old, new = before.get("digest"), again.get("digest")
  if old and new and len(old) == len(new):
    equal = sum(x == y for x, y in zip(old, new, strict=True))
    words = f"{equal} of {len(old)} digests equal"
    if equal == len(old) or exact:
      return Row(name, *scores, words, equal == len(old))
  gap, spread = _gap(before, again, score)
  if exact and not (old and new):
    return Row(
      name, *scores, "figures equal" * (gap == 0) or "differs", gap == 0
    )
  near = gap <= spread
  points, spread = score.difference(gap), score.difference(spread)
  words = " ".join(f"{points} {score.points}".split())
  words = f"{words} apart, spread {spread}"
  return Row(name, *scores, words, near)


def _gap(before: Mapping, again: Mapping, score: Any) -> tuple[float, float]:
  """The distance of two mean scores, and what chance makes of it."""
  one = np.atleast_1d(before[score.key])
  other = np.atleast_1d(again[score.key])
  mean = float(one.mean())
  # A single network has no spread over seeds; its test set has one: of a share
  # of its examples, or of a mean of numbers that vary as much as they are large.
  variance = mean * (1 - mean) if score.words.unit == "%" else mean**2
  chance = math.sqrt(variance / (before.get("test_examples") or 1))
  deviation = float(one.std(ddof=1)) if len(one) > 1 else 0.0
  spread = max(deviation, chance) * math.sqrt(1 / len(one) + 1 / len(other))
  return abs(mean - float(other.mean())), 2 * spread


def _networks(results: Mapping, score: str) -> dict[str, Mapping]:
  by_name = {
    name: results.get(name) for name in ("teacher", "student", "baseline")
  }
  entries = by_name | results.get("controls", {})
  return {
    name: entry
    for name, entry in entries.items()
    # Of a teacher that is only known by what it left in a cache it is unknown.
    if entry is not None and entry.get(score) is not None
  }


def _plain(value: Any) -> str:
  if isinstance(value, list):
    return ", ".join(map(str, value))
  return "–" if value is None else str(value)[:40]


COMMAND = Command("reproduce", ReproduceConfig, run)
