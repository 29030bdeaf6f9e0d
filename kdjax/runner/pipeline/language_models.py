"""Language models that commands name: loaded, and checked before anything is compiled."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import StorageError, UserError
from kdjax.data.text import Reader
from kdjax.models.generation.sampling import read_sampling
from kdjax.models.pretrained import tensors
from kdjax.models.pretrained.architectures import architecture_of
from kdjax.models.pretrained.files import read_json
from kdjax.models.pretrained.gguf import is_gguf, read_gguf_config
from kdjax.models.pretrained.load import Pretrained, load
from kdjax.models.pretrained.packages import PREFIX, package_path
from kdjax.models.tokenizers import token_bytes
from kdjax.runner.config import AUTO
from kdjax.runner.pipeline.partition import placed
from kdjax.runner.report.progress import say
from kdjax.train.devices.rules import Partition
from kdjax.train.served.endpoint import is_url

# What a run of `lm` leaves in its folder.
STUDENT = "student"
_CONFIG = "config.json"


def open_language_model(
  flag: str, where: str, partition: Partition | None = None
) -> Pretrained:
  """Loads a language model with its tokenizer.

  Args:
    flag: that names it, for messages.
    where: what `kdjax.pretrained.load` takes, or the folder of a finished run,
      whose student it then is.
    partition: how its arrays are cut over a mesh; None for one device.
  """
  if is_url(where):
    raise UserError(
      f"--{flag}={where}: only the teacher of lm can be behind an endpoint;"
      " kdjax.write_teacher_cache stores what a served one answers"
    )
  folder = _folder_of(where)
  try:
    # A package's name is no path.
    network = load(
      folder if folder.exists() else where,
      put=partition and partial(placed, partition=partition, stacked=0),
    )
  except UserError as error:
    raise UserError(f"--{flag}={where}: {error}") from None
  if network.tokenizer is None:
    raise UserError(
      f"--{flag}={where}: there is no tokenizer.json, without which texts cannot"
      " be read"
    )
  return network


def shapes_of(where: str) -> Any:
  """The shapes of a language model's variables, of which nothing is read.

  Args:
    where: as `open_language_model` takes it; of what loading refuses there are none.
  """
  try:
    config = _config_of(where)
    module = architecture_of(config).build(config)
  except (UserError, StorageError):
    return {}
  return tensors.shapes_of(module)


def _config_of(where: str) -> dict[str, Any]:
  """What a folder, a GGUF file or a package says of its network."""
  folder = _folder_of(where)
  if not folder.exists() and where.startswith(PREFIX):
    folder = package_path(where.removeprefix(PREFIX))
  return (
    read_gguf_config(folder) if is_gguf(folder) else read_json(folder / _CONFIG)
  )


def _folder_of(where: str) -> Path:
  """The folder that is named, or that of a run's student."""
  folder = Path(where).expanduser()
  of_run = not (folder / _CONFIG).is_file()
  if of_run and (folder / STUDENT / _CONFIG).is_file():
    return folder / STUDENT
  return folder


def check_named(command: str, needs: str, **flags: str | None) -> None:
  """Refuses a command without one of the flags that it cannot do without.

  Args:
    needs: what they are for, and how they are typed.
    **flags: their values.
  """
  for flag, value in flags.items():
    if not value:
      raise UserError(f"{command} needs {needs}; --{flag} is missing")


def sampling_of(experiment: Any, default: str = "greedy") -> str:
  """Says how tokens are chosen; refuses a `--sampling` that is none.

  Args:
    default: where it is left open.
  """
  text = experiment.continuation.sampling
  text = default if text == AUTO else text
  try:
    read_sampling(text)
  except UserError as error:
    raise UserError(f"--sampling: {error}") from None
  return text


def check_same_tokenizer(
  flag: str,
  network: Pretrained,
  other_flag: str,
  other: Pretrained,
  advice: str = "",
) -> None:
  """Refuses two networks that read texts differently, with some advice."""
  own, others = network.tokenizer, other.tokenizer
  if own.fingerprint != others.fingerprint:
    raise UserError(
      f"{flag} has another tokenizer ({own.vocabulary_size} ids) than {other_flag}"
      f" ({others.vocabulary_size} ids): the same id would be another token for"
      f" each{advice}"
    )


def readers(
  flag: str, own: Any, other_flag: str, other: Any
) -> tuple[Reader, Reader]:
  """How two tokenizers read the same bytes, the student's and the teacher's."""

  def one(flag, tokenizer):
    try:
      return Reader(tokenizer, token_bytes(tokenizer))
    except UserError as error:
      raise UserError(f"{flag}: {error}") from None

  return one(flag, own), one(other_flag, other)


def count_classes(flag: str, network: Pretrained, length: int) -> int:
  """Counts a network's logits, without computing them.

  Args:
    network: without variables, those that it draws are meant.
    length: T, tokens of the sequences that it is to read.
  """
  inputs = sample(length)

  def answers(variables):
    if variables is None:
      variables = network.network.init(jax.random.key(0), inputs)
    return network.network.apply(variables, inputs)[0]

  try:
    shape = jax.eval_shape(answers, network.variables).shape
  except (TypeError, ValueError) as error:
    message = str(error).split("\n")[0]
    raise UserError(f"{flag}: {message}") from None
  if len(shape) != 3 or shape[:2] != (1, length):
    raise UserError(
      f"{flag}: its answers to {length} tokens are {list(shape)}; a language model"
      " has one logit a token of its vocabulary at every place"
    )
  return shape[-1]


def sample(length: int) -> dict[str, Any]:
  """One empty sequence, (1, T), for shapes."""
  tokens = jnp.zeros((1, length), jnp.int32)
  whole = jnp.ones_like(tokens)
  return {"tokens": tokens, "mask": whole.astype(bool), "segments": whole}


def say_padding(name: str, classes: int, width: int) -> None:
  """Says whether a network has more classes than there are tokens."""
  if classes > width:
    say(
      f"the {name} has {classes:,} classes for {width:,} token ids; the others are"
      " padding, of probability 0"
    )


def check_ids(largest: int, classes: int) -> None:
  """Refuses texts with a token that a network does not know."""
  if largest >= classes:
    raise UserError(
      f"--text: the texts have the token id {largest}, and the networks know the"
      f" ids 0 to {classes - 1}"
    )
