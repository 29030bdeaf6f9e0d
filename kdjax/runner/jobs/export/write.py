"""Every format is written, read back by its own runtime, and held to the network.

The folder appears when all is well, or not at all.
"""

import hashlib
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import KdjaxError, StorageError, UserError
from kdjax.core.storage import one_line
from kdjax.models.export.signature import compile_network, forward
from kdjax.runner.config import Export
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.export import card, parity, read_run
from kdjax.runner.report import logs, reading

SUMS = "SHA256SUMS"


def write_formats(setup: read_run.Exported, context: Context) -> dict[str, Any]:
  """Writes all formats and the card; returns what the card says."""
  network, settings, wanted = setup.network, setup.settings, setup.formats
  folder = context.workdir / settings.network
  beside = folder.with_name(f".{folder.name}.new")
  try:
    beside.mkdir()
    logits, checked = _reference(network, settings)
    for name, one in wanted.items():
      checked[name] = _written(name, one, beside, network, logits)
      print(_line(name, checked[name], network), flush=True)
    described = card.describe(network, settings, checked, context.command)
    logs.write_json(beside / card.CARD, described)
    (beside / card.PAGE).write_text(card.page(described), encoding="utf-8")
    (beside / SUMS).write_text(_sums(beside))
    _make_readable(beside)
    beside.rename(folder)
  except OSError as error:
    raise StorageError(f"cannot write {folder}: {error.strerror}") from error
  finally:
    shutil.rmtree(beside, ignore_errors=True)
  return described


def measure(setup: read_run.Exported, context: Context) -> Measured:
  """Says what was written, and where the model card is."""
  folder = context.workdir / setup.settings.network
  described = context.values["formats"] | {"card": str(folder / card.PAGE)}
  return Measured({"export": described})


def summary(results: Mapping[str, Any]) -> str:
  """The path of the model card."""
  return results["export"]["card"]


def _reference(
  stored: read_run.StoredNetwork, settings: Export
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns the linen network's logits, once its run's score is confirmed."""
  task = stored.task
  reported = stored.scores[f"test_{task.score}"][settings.member]
  devices = stored.run.results["environment"]["devices"]
  alike = devices[0].startswith(jax.default_backend())
  alike = alike and stored.run.experiment.computing.compute_dtype == "float32"
  network = forward(stored.about, stored.variables, stored.measured)
  own = parity.answers(compile_network(network), stored.scored.images)
  tie = parity.TOLERANCE if alike else parity.COARSE
  parity.check_reported(task, own, stored.scored, reported, tie)
  # What is exported computes in float32, whatever the run did.
  answer = compile_network(forward(stored.about, stored.variables))
  logits = {"scored": parity.answers(answer, stored.scored.images)}
  if len(stored.more.labels):
    logits["more"] = parity.answers(answer, stored.more.images)
  exported = parity.score(task, logits["scored"], stored.scored)
  return logits, {"linen": {task.score: exported, "reported": reported}}


def _written(name, one, folder, stored, logits) -> dict[str, Any]:
  """Writes one format, reads it back, and returns its figures."""
  path = folder / one.file
  try:
    one.write(path, stored.about, stored.variables)
  except (KdjaxError, OSError):
    raise
  except Exception as error:  # converters raise whatever they meet
    raise UserError(
      f"--format={name} cannot hold {stored.about.model}: {one_line(error)};"
      " nothing was exported"
    ) from error
  answer = one.load(path, stored.about)
  first = np.asarray(stored.scored.images[0])[None]
  task = stored.task
  check = partial(parity.check, classes=task.kind == "categories")
  check(f"{name}, one image", answer(first), logits["scored"][:1])
  answers = {
    part: parity.answers(answer, getattr(stored, part).images)
    for part in logits
  }
  agreed = check(
    name,
    np.concatenate([*answers.values()]),
    np.concatenate([*logits.values()]),
  )
  return {
    "file": one.file,
    "bytes": sum(file.stat().st_size for file in _files(path)),
    "runtime": one.runtime,
    **agreed,
    task.score: parity.score(task, answers["scored"], stored.scored),
  }


def _files(path: Path) -> list[Path]:
  if path.is_file():
    return [path]
  return sorted(file for file in path.rglob("*") if file.is_file())


def _make_readable(folder: Path) -> None:
  """Gives all files the rights of new ones: some writers make theirs private."""
  plain = (folder / SUMS).stat().st_mode
  for file in _files(folder):
    file.chmod(plain)
  for inner in folder.rglob("*"):
    if inner.is_dir():
      inner.chmod(folder.stat().st_mode)


def _sums(folder: Path) -> str:
  """The digests of all files, as `sha256sum --check` reads them."""
  lines = []
  for file in _files(folder):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    lines.append(f"{digest}  {file.relative_to(folder)}\n")
  return "".join(lines)


def _line(
  name: str, scores: Mapping[str, Any], stored: read_run.StoredNetwork
) -> str:
  score = reading.right_of(stored.run.results)
  same = "class" if stored.task.kind == "categories" else "answers"
  return (
    f"{name}: {scores['file']}, {scores['bytes']:,} bytes; same {same} on all"
    f" {scores['images']:,} images, {stored.about.output} within"
    f" {scores['largest_difference']:.1e}, {score.words.title}"
    f" {card.written(score, scores[score.name])}"
  )
