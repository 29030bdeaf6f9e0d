"""Teachers from outside: safetensors files of published networks."""

import dataclasses
import inspect
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.models.pretrained import published
from kdjax.models.pretrained.files import (
  COUNTER,
  common_prefix,
  load_safetensors,
  read_config,
)
from kdjax.models.pretrained.layouts import TABLES, Entry
from kdjax.models.registry import MAKERS

# Nothing that a network's outputs depend on, so a file may hold them.
IGNORED = (
  "*.num_batches_tracked",
  COUNTER,
  "pooler.dense.*",
  "vit.pooler.dense.*",
  "deit.pooler.dense.*",
  "embeddings.mask_token",
  "vit.embeddings.mask_token",
  "deit.embeddings.mask_token",
)
# By which transformers' files are known to have a classifier.
CLASSIFIERS = {"classifier.weight", "cls_classifier.weight"}


class OutsideTeacher(NamedTuple):
  """A network that was trained elsewhere.

  Attributes:
    model: its spec, completed by the options that it was trained with: what
      `make_model` needs to build it again.
    variables: nested dict of float32 NumPy arrays for the module's `apply`.
    prefix: what stood in front of all of the file's names, and was left out.
    class_names: what the file's config calls the classes; None if it doesn't.
  """

  model: str
  variables: dict[str, Any]
  prefix: str = ""
  class_names: tuple[str, ...] | None = None


def read_outside_teacher(
  path: Path,
  model: str,
  *,
  classes: int | None,
  image_shape: Sequence[int],
  headless: bool = False,
) -> OutsideTeacher:
  """Reads a published network and fits it into one of our models.

  Images arrive in [0, 1], but published networks were trained with
  standardised ones: where the model does not say `normalise`, it is added for
  images of three channels, so that the module does it itself. Other options in
  which libraries differ are added in the same way.

  Args:
    path: a safetensors file with the names of torchvision, timm or Hugging
      Face transformers; the index of its shards, or the folder of either. What
      config.json beside it says is held to the model.
    classes: number of classes of the data set; None for as many as the file's
      classifier knows.
    image_shape: (H, W, D) of the data set's images.
    headless: whether the file may lack a classifier; it gets one of zeros, of
      two classes where `classes` is None.

  Raises:
    UserError: if the file is of another kind, or does not fit the model, the
      classes or the images.
    StorageError: if the file is damaged.
  """
  path = Path(path)
  module = _build(model, classes or 2)
  if type(module) not in TABLES:
    raise UserError(
      f"{path}: outside names are not known for {model};"
      f" possible: {', '.join(sorted(_readable_names()))}"
    )
  tensors = load_safetensors(path)
  prefix = common_prefix(tensors)
  tensors = {name.removeprefix(prefix): x for name, x in tensors.items()}
  facts = published.read(read_config(path))
  try:
    if headless:
      tensors |= _missing_head(module, tensors, image_shape)
      facts = facts._replace(classes=None)
    file_classes = _known_classes(_entries(module, tensors), tensors)
    if classes is None and file_classes:
      module = _build(model, file_classes)
    # Before the config, which has that number too and no way out.
    if file_classes and file_classes != module.classes:
      raise UserError(
        f"the teacher knows {file_classes} classes, but the student is to learn"
        f" {classes}; --teacher_classes says which is which,"
        " --teacher_head=drop teaches by features alone"
      )
    published.check(facts, spec.parse(model).name, module, image_shape)
    model = _completed(model, module, tensors, image_shape[-1], facts)
    module = _build(model, module.classes)
    variables = convert(tensors, module, image_shape)
  except UserError as error:
    raise UserError(f"{path} as {model}: {error}") from None
  return OutsideTeacher(model, variables, prefix, facts.class_names)


def convert(
  tensors: Mapping[str, np.ndarray],
  module: nn.Module,
  image_shape: Sequence[int],
) -> dict[str, Any]:
  """Turns published tensors into a module's variables.

  Every tensor must have its place and every parameter its tensor; only the
  names in `IGNORED` may be left over.

  Args:
    module: one of our models that has published names.
    image_shape: (H, W, D) of the images that it will see.

  Returns:
    Nested dict of float32 arrays: "params" and, with batch normalisation,
    "batch_stats".

  Raises:
    UserError: names the first five missing and the first five superfluous
      tensors, or the tensor whose shape, type or values do not fit.
  """
  shapes = traverse_util.flatten_dict(_shapes(module, image_shape), sep="/")
  entries = _entries(module, tensors)
  _check_names({entry.source for entry in entries}, tensors)
  by_target = {entry.target: entry for entry in entries}
  return traverse_util.unflatten_dict(
    {
      path: _lay_out(by_target[path], tensors, shape.shape)
      for path, shape in shapes.items()
    },
    sep="/",
  )


def _build(model: str, classes: int) -> nn.Module:
  return spec.build("model", spec.parse(model), MAKERS, classes=classes)


def _readable_names() -> set[str]:
  """The names of the models whose published names are known."""
  names = set()
  for name, maker in MAKERS.items():
    parameters = inspect.signature(maker).parameters.values()
    plain = all(
      parameter.name == "classes" or parameter.default is not parameter.empty
      for parameter in parameters
    )
    if plain and type(maker(classes=2)) in TABLES:
      names.add(name)
  return names


def _completed(
  model: str,
  module: nn.Module,
  tensors: Collection[str],
  channels: int,
  facts: published.Facts,
) -> str:
  """Adds to a spec what the published network was built with."""
  parsed = spec.parse(model)
  spec_kwargs = dict(parsed.kwargs)
  options = TABLES[type(module)].options(module, tensors)
  options |= published.options(facts, module)
  added = {key: x for key, x in options.items() if key not in spec_kwargs}
  if channels != 3:
    # Statistics are of three colours; others are the user's to know.
    added.pop("normalise", None)
  elif "normalise" not in spec_kwargs | added:
    raise UserError(
      "the file does not tell how its network was shown images; write"
      " normalise='half' (mean and deviation 0.5: most vision transformers of"
      " timm and Hugging Face) or normalise='imagenet' (DeiT)"
    )
  kwargs = (*parsed.kwargs, *added.items())
  return str(dataclasses.replace(parsed, kwargs=kwargs))


def _entries(module: nn.Module, tensors: Collection[str]) -> list[Entry]:
  try:
    return TABLES[type(module)].entries(module, tensors)
  except ValueError as error:
    raise UserError(str(error)) from None


def _missing_head(
  module: nn.Module,
  tensors: Mapping[str, np.ndarray],
  image_shape: Sequence[int],
) -> dict[str, np.ndarray]:
  """Zeros for the classifier's tensors that a file lacks, as it would lay them."""
  shapes = traverse_util.flatten_dict(_shapes(module, image_shape), sep="/")
  return {
    entry.source: np.zeros(shapes[entry.target].shape[::-1], np.float32)
    for entry in _entries(module, {*tensors, *CLASSIFIERS})
    if entry.target.startswith("params/head") and entry.source not in tensors
  }


def _shapes(module: nn.Module, image_shape: Sequence[int]) -> dict[str, Any]:
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  try:
    return jax.eval_shape(module.init, jax.random.key(0), images)
  except ValueError as error:
    raise UserError(str(error)) from None


def _known_classes(
  entries: Sequence[Entry], tensors: Mapping[str, np.ndarray]
) -> int | None:
  """How many classes the file's classifier knows; None if there is none."""
  for entry in entries:
    if entry.target == "params/head/kernel" and entry.source in tensors:
      return (tensors[entry.source].shape or (1,))[0]
  return None


def _check_names(expected_names: set[str], tensors: Collection[str]) -> None:
  file_names = {
    name
    for name in tensors
    if not any(fnmatchcase(name, pattern) for pattern in IGNORED)
  }
  problems = [
    f"{len(names)} tensors {problem}: {', '.join(sorted(names)[:5])}"
    + ", ..." * (len(names) > 5)
    for problem, names in (
      ("are missing", expected_names - file_names),
      ("have no place in the model", file_names - expected_names),
    )
    if names
  ]
  if problems:
    raise UserError("; ".join(problems))


def _lay_out(
  entry: Entry, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
  array = tensors[entry.source]
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise UserError(f"{entry.source} holds {array.dtype}, not floats")
  part, parts = entry.part
  try:
    laid = entry.layout(np.split(array, parts)[part], shape)
  except ValueError:
    laid = None
  if laid is None or laid.shape != shape:
    raise UserError(
      f"{entry.source} has the shape {array.shape}, which does not give the"
      f" {shape} of {entry.target}"
    )
  laid = np.ascontiguousarray(laid, np.float32)
  if not np.isfinite(laid).all():
    raise UserError(f"{entry.source} holds values that are not finite")
  return laid
