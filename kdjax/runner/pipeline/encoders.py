"""Pretrained encoders of texts, as the classifiers that a run trains or asks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.calling import call_with
from kdjax.core.errors import UserError
from kdjax.data import Dataset
from kdjax.data.dataset import empty_examples
from kdjax.models import ModelSpec
from kdjax.models.pretrained.architectures import ARCHITECTURES
from kdjax.models.pretrained.files import read_json
from kdjax.models.pretrained.load import load
from kdjax.models.pretrained.masked import load_masked
from kdjax.models.pretrained.named import spec_of
from kdjax.models.pretrained.packages import PREFIX, package_path

_CONFIG = "config.json"


class Encoder(NamedTuple):
  """A pretrained encoder with as many answers as there are classes.

  Attributes:
    model: builds the network.
    variables: its arrays; without those of its classifier where it has none.
    classes: how many its own classifier knows; 0 for none.
    class_names: what it calls them; None where it does not say.
  """

  model: ModelSpec
  variables: dict[str, Any]
  classes: int
  class_names: tuple[str, ...] | None


def is_language_model(where: str) -> bool:
  """Says whether a name is that of a network of texts: a package, or a folder."""
  folder = Path(where).expanduser()
  if where.startswith(PREFIX) or where.endswith(".gguf"):
    return True
  if not (folder / _CONFIG).is_file():
    return False
  kind = read_json(folder / _CONFIG).get("model_type")
  # Of a folder of images a file of weights is read, by the name of its network.
  return kind in ARCHITECTURES or (folder / "tokenizer.json").is_file()


def open_encoder(flag: str, where: str, dataset: Dataset) -> Encoder:
  """Loads an encoder.

  Args:
    flag: that names it, for messages.
    where: a folder of Hugging Face's form, or package:NAME.
    dataset: what it is for: of hidden tokens it is a BERT that tells them.
  """
  try:
    _check_encoder(where)
    if dataset.task is not None and dataset.task.redraw is not None:
      return _masked(where, dataset.classes)
    loaded = load(
      where if where.startswith(PREFIX) else Path(where).expanduser()
    )
    module = loaded.network.module
    body = (
      module.clone(normalise=False) if hasattr(module, "normalise") else module
    )
    text = spec_of(body)
  except UserError as error:
    raise UserError(f"--{flag}={where}: {error}") from None
  return Encoder(
    ModelSpec(str(text), text),
    loaded.variables,
    module.classes,
    _names(loaded.config),
  )


def _check_encoder(where: str) -> None:
  """Refuses decoders before their weights are read."""
  package = where.startswith(PREFIX)
  path = package_path(where.removeprefix(PREFIX)) if package else Path(where)
  path = path.expanduser()
  kind = None
  if (path / _CONFIG).is_file():
    kind = read_json(path / _CONFIG).get("model_type")
  decoder = kind in ARCHITECTURES and ARCHITECTURES[kind].about == "decoder"
  if decoder or path.suffix == ".gguf":
    raise UserError(
      f"it is a decoder{f' ({kind})' if kind else ''}, which writes texts"
      " (`lm` distils those); texts are classified by encoders: bert, roberta,"
      " distilbert, modernbert"
    )


def _masked(where: str, tokens: int) -> Encoder:
  """A BERT that tells hidden tokens."""
  spec, variables = load_masked(Path(where).expanduser())
  (known,) = variables["params"]["head_bias"].shape
  if known != tokens:
    raise UserError(f"it has {known} tokens, and its tokenizer {tokens}")
  return Encoder(ModelSpec(str(spec), spec), variables, tokens, None)


def without_classifier(encoder: Encoder) -> dict[str, Any]:
  """An encoder's variables but for those of its classifier."""
  params = encoder.variables["params"]
  kept = {name: x for name, x in params.items() if name != "head"}
  return {**encoder.variables, "params": kept}


def as_embedder(flag: str, encoder: Encoder, dataset: Dataset) -> Encoder:
  """An encoder without a classifier, whose answers are its vectors of texts.

  They go through a layer that changes nothing, as networks of a run end in one.

  Args:
    flag: that names it, for messages.
    dataset: of tokens; as many numbers are wanted as it has classes.
  """
  module = encoder.model.make(classes=0)
  apply = partial(call_with, module.apply, train=False)
  vectors = jax.eval_shape(apply, encoder.variables, empty_examples(dataset, 1))
  width = vectors.shape[-1]
  if width != dataset.classes:
    raise UserError(
      f"{flag}: its vectors have {width} numbers, and those of {dataset.name}"
      f" {dataset.classes}: --task='embedding({width})'"
    )
  head = {
    "kernel": np.eye(width, dtype=np.float32),
    "bias": np.zeros(width, np.float32),
  }
  params = {**encoder.variables["params"], "head": head}
  return encoder._replace(variables={**encoder.variables, "params": params})


def _names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
  """What a config.json calls the classes, unless it numbers them."""
  named = config.get("id2label")
  if not isinstance(named, Mapping):
    return None
  try:
    names = tuple(str(named[key]) for key in sorted(named, key=int))
  except ValueError:
    return None
  numbered = tuple(f"LABEL_{i}" for i in range(len(names)))
  return None if names == numbered else names
