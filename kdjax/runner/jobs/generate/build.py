"""From settings to a network and prompts; what is wrong ends here."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.data import text
from kdjax.models.generation.generate import decoding_for
from kdjax.models.pretrained.load import Pretrained
from kdjax.models.tokenizers import prompt_ids
from kdjax.runner.job import Plan
from kdjax.runner.pipeline import language_models
from kdjax.train.devices import placement


class Setup(NamedTuple):
  """What is continued.

  Attributes:
    settings: of the command.
    continuation: how texts are continued.
    source: where the network comes from.
    rows: the prompts as they were read.
    prompts: their token ids.
    devices: among which texts are divided.
  """

  settings: Any
  continuation: Any
  source: str
  network: Pretrained
  rows: Sequence[text.Row]
  prompts: list[list[int]]
  devices: Sequence[Any]


def build(experiment: Any) -> Plan:
  """Loads the network, reads the prompts and checks that they fit."""
  settings, source = experiment.generation, experiment.export.source
  language_models.check_named(
    "generate",
    "a language model and prompts, --from=FOLDER and --prompts=FILE",
    **{"from": source, "prompts": settings.prompts},
  )
  continuation = dataclasses.replace(
    experiment.continuation, sampling=language_models.sampling_of(experiment)
  )
  rows = text.read_prompts(settings.prompts)
  devices = placement.choose(experiment.run.accelerator)
  network = language_models.open_language_model("from", source)
  prompts = [_ids(network, row, continuation.max_new_tokens) for row in rows]
  setup = Setup(settings, continuation, source, network, rows, prompts, devices)
  return Plan(setup, experiment, devices, resumable=False)


def _ids(network: Pretrained, row: text.Row, count: int) -> list[int]:
  """Encodes a prompt that the network can read."""
  try:
    ids = prompt_ids(network.tokenizer, row.values)
    if not ids:
      raise UserError("the prompt is empty")
    decoding = decoding_for(network.network, network.variables, len(ids), count)
  except UserError as error:
    raise UserError(f"--prompts: {row.place}: {error}") from None
  if max(ids) >= decoding.classes:
    raise UserError(
      f"--prompts: {row.place}: the tokenizer has the id {max(ids)}, the network"
      f" {decoding.classes} classes"
    )
  return ids
