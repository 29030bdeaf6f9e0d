"""Every format is written, read back by its own runtime, and held to the network.

The folder appears when all is well, or not at all.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import StorageError
from kdjax.data.dataset import example
from kdjax.models.export import agreement, formats
from kdjax.models.export.signature import compile_network, forward
from kdjax.models.tokenizers import save_tokenizer
from kdjax.runner.config import Export
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.export import card, parity, read_run
from kdjax.runner.report import logs, reading

SUMS = "SHA256SUMS"


def write_formats(setup: read_run.Exported, context: Context) -> dict[str, Any]:
  """Writes all formats and the card; returns what the card says."""
  network, settings, files = setup.network, setup.settings, setup.formats
  folder = context.workdir / settings.network
  beside = folder.with_name(f".{folder.name}.new")
  try:
    beside.mkdir()
    logits, checks = _reference(network, settings)
    for name, one in files.items():
      checks[name] = _written(name, one, beside, network, logits)
      print(_line(name, checks[name], network), flush=True)
    description = card.describe(network, settings, checks, context.command)
    if network.dataset.tokenizer is not None:
      save_tokenizer(beside, network.dataset.tokenizer)
    logs.write_json(beside / card.CARD, description)
    (beside / card.PAGE).write_text(card.page(description), encoding="utf-8")
    (beside / SUMS).write_text(_sums(beside))
    _make_readable(beside)
    beside.rename(folder)
  except OSError as error:
    raise StorageError(f"cannot write {folder}: {error.strerror}") from error
  finally:
    shutil.rmtree(beside, ignore_errors=True)
  return description


def measure(setup: read_run.Exported, context: Context) -> Measured:
  """Says what was written, and where the model card is."""
  folder = context.workdir / setup.settings.network
  description = context.values["formats"] | {"card": str(folder / card.PAGE)}
  return Measured({"export": description})


def summary(results: Mapping[str, Any]) -> str:
  """The path of the model card."""
  return results["export"]["card"]


def _reference(
  network_of_run: read_run.StoredNetwork, settings: Export
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns the linen network's logits, once its run's score is confirmed."""
  task = network_of_run.task
  reported = network_of_run.scores[f"test_{task.score}"][settings.member]
  devices = network_of_run.run.results["environment"]["devices"]
  alike = devices[0].startswith(jax.default_backend())
  alike = (
    alike and network_of_run.run.experiment.computing.compute_dtype == "float32"
  )
  network = forward(
    network_of_run.about, network_of_run.variables, network_of_run.measured
  )
  ask = partial(parity.answers, units=network_of_run.about.units)
  compared = network_of_run.compared
  network = compile_network(network)
  answers = ask(network, compared.images)
  tie, largest = agreement.TOLERANCE if alike else parity.COARSE, None
  if task.kept is not None:
    largest = np.abs(answers).max()
    answers = network_of_run.kept(network)
  parity.check_reported(
    task, answers, network_of_run.scored, reported, tie, largest
  )
  # What is exported computes in float32, whatever the run did.
  answer = compile_network(
    forward(network_of_run.about, network_of_run.variables)
  )
  logits = {"compared": ask(answer, compared.images)}
  if len(network_of_run.more.labels):
    logits["more"] = ask(answer, network_of_run.more.images)
  score = _score(network_of_run, answer, logits)
  return logits, {"linen": {task.score: score, "reported": reported}}


def _written(name, one, folder, network_of_run, logits) -> dict[str, Any]:
  """Writes one format, reads it back, and returns what was checked."""
  path = folder / one.file
  formats.write(name, path, network_of_run.about, network_of_run.variables)
  answer = one.load(path, network_of_run.about)
  first = jax.tree.map(
    lambda x: np.asarray(x)[None], example(network_of_run.scored.images, 0)
  )
  task = network_of_run.task
  ask = partial(parity.answers, answer, units=network_of_run.about.units)
  check = partial(agreement.check, classes=task.kind == "categories")
  noun = network_of_run.dataset.noun
  check(f"{name}, one {noun}", ask(first), logits["compared"][:1])
  answers = {part: ask(getattr(network_of_run, part).images) for part in logits}
  difference = check(
    name,
    np.concatenate([*answers.values()]),
    np.concatenate([*logits.values()]),
  )
  return {
    "file": one.file,
    "bytes": sum(file.stat().st_size for file in _files(path)),
    "runtime": one.runtime,
    **difference,
    task.score: _score(network_of_run, answer, answers),
  }


def _score(
  network: read_run.StoredNetwork, answer: Callable, answers: Mapping[str, Any]
) -> float:
  """The score on all images that counted, of which some have been answered."""
  outputs = answers["compared"]
  if network.task.kept is not None:
    outputs = network.kept(answer)
  return parity.score(network.task, outputs, network.scored)


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
  name: str, scores: Mapping[str, Any], network: read_run.StoredNetwork
) -> str:
  score = reading.right_of(network.run.results)
  same = "class" if network.task.kind == "categories" else "answers"
  return (
    f"{name}: {scores['file']}, {scores['bytes']:,} bytes; same {same} on all"
    f" {scores['images']:,} {network.dataset.noun}s, {network.about.output} within"
    f" {scores['largest_difference']:.1e}, {score.words.title}"
    f" {card.written(score, scores[score.name])}"
  )
