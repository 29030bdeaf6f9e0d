"""How a run's texts become tokens: by the one tokenizer that its networks share."""

from functools import partial
from pathlib import Path
from typing import Any

from kdjax.core.errors import UserError
from kdjax.data import Dataset
from kdjax.data.text_set import encode
from kdjax.models.pretrained.packages import PREFIX, package_path
from kdjax.models.tokenizers import (
  encode_texts,
  save_tokenizer,
  tokenizer_of_folder,
)
from kdjax.runner.config import Experiment
from kdjax.train.devices import processes

# What a run of texts leaves in its folder.
FOLDER = "tokenizer"


def encode_for(experiment: Experiment, dataset: Dataset) -> Dataset:
  """Makes tokens of a data set's texts, as the settings say."""
  tokenizer = _find(experiment)
  length = experiment.language.sequence_length
  tokens = encode(dataset, partial(encode_texts, tokenizer), length)
  return tokens._replace(tokenizer=tokenizer)


def encode_as(folder: Path, length: int, dataset: Dataset) -> Dataset:
  """Makes tokens of a data set's texts as a finished run did.

  Args:
    folder: the run's.
    length: its `--sequence_length`.
  """
  tokenizer = tokenizer_of_folder(folder / FOLDER)
  if tokenizer is None:
    raise UserError(f"there is no tokenizer in {folder / FOLDER}")
  tokens = encode(dataset, partial(encode_texts, tokenizer), length)
  return tokens._replace(tokenizer=tokenizer)


def keep_tokenizer(dataset: Dataset, workdir: Path) -> None:
  """Writes what makes tokens of a run's texts beside its networks."""
  if dataset.tokenizer is None or not processes.is_first():
    return
  folder = workdir / FOLDER
  folder.mkdir(parents=True, exist_ok=True)
  save_tokenizer(folder, dataset.tokenizer)


def _find(experiment: Experiment) -> Any:
  """The tokenizer of the networks that are named; all must have the same."""
  folders = experiment.teacher.teacher_from or ""
  sources = [
    ("tokenizer", experiment.data.tokenizer),
    *(("teacher_from", one.strip()) for one in folders.split(",")),
    ("student_from", experiment.language.student_from),
    ("teacher_cache", experiment.teacher.teacher_cache),
  ]
  tokenizers = {
    f"--{flag}={where}": tokenizer_of(flag, where)
    for flag, where in sources
    if where
  }
  tokenizers = {name: one for name, one in tokenizers.items() if one}
  if not tokenizers:
    raise UserError(
      f"--dataset={experiment.data.dataset}: texts need a tokenizer, that of a trained"
      " teacher (--teacher_from=package:minilm-l6 or a folder) or one of its own"
      " (--tokenizer=FOLDER, with a tokenizer.json)"
    )
  (first, tokenizer), *others = tokenizers.items()
  for name, other in others:
    if other.fingerprint != tokenizer.fingerprint:
      raise UserError(
        f"{name} has another tokenizer ({other.vocabulary_size} ids) than {first}"
        f" ({tokenizer.vocabulary_size} ids): the same id would be another token for"
        " each; student and teacher of texts share one"
      )
  return tokenizer


def tokenizer_of(flag: str, where: str) -> Any:
  """Reads a network's tokenizer; None where there is none and none is asked for.

  Args:
    flag: that names it, for messages.
    where: a folder, that of a run, or package:NAME.
  """
  package = where.startswith(PREFIX)
  try:
    path = package_path(where.removeprefix(PREFIX)) if package else Path(where)
  except UserError as error:
    raise UserError(f"--{flag}={where}: {error}") from None
  path = path.expanduser()
  if not path.exists():
    raise UserError(f"--{flag}={where}: there is no such file or folder")
  folder = path if path.is_dir() else path.parent
  for one in (folder, folder / FOLDER, folder.parent / FOLDER):
    if (tokenizer := tokenizer_of_folder(one)) is not None:
      return tokenizer
  if flag == "tokenizer":
    raise UserError(
      f"--tokenizer={where}: there is no tokenizer.json; it takes a folder that has"
      " one, or package:minilm-l6"
    )
  return None
