"""What students begin with where it is not drawn: others' weights, a teacher's blocks."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.core.calling import call_with
from kdjax.core.errors import UserError
from kdjax.data import Dataset
from kdjax.data.dataset import empty_examples
from kdjax.models import ModelSpec
from kdjax.models.pretrained.cut import Cut, kept_parameters, read_cut
from kdjax.models.pretrained.named import spec_of, with_blocks
from kdjax.models.pretrained.width import Width
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.encoders import (
  is_language_model,
  open_encoder,
  without_classifier,
)
from kdjax.runner.pipeline.pretrained import of_run
from kdjax.runner.pipeline.values import Values, is_cut
from kdjax.train.schemes.scheme import OFFLINE

# Where a run leaves its students.
STUDENT = "student"


class Start(NamedTuple):
  """What students begin with.

  Attributes:
    model: the student that has it.
    variables: the trained teacher's variables, (1, ...), or None -> the student's;
      layers that they lack are drawn, by each student for itself.
    of_teacher: whether it is cut out of the teacher.
  """

  model: ModelSpec
  variables: Callable[[Any], Any]
  of_teacher: bool


def find(
  experiment: Experiment, values: Values, dataset: Dataset
) -> Start | None:
  """Finds what the student begins with; None where all of it is drawn."""
  where, model = experiment.language.student_from, values.student
  if where is None and not is_cut(model):
    return None
  if values.scheme is not OFFLINE:
    raise UserError(
      f"--student={model}: networks that learn together begin untrained"
      if where is None
      else f"--student_from={where}: networks that learn together begin untrained"
    )
  if where is not None:
    return _from_outside(where, model, dataset)
  if values.teacher is None:
    raise UserError(
      f"--student={model}: it is cut out of the teacher, which is not named:"
      " --teacher=MODEL or --teacher_from=FOLDER"
    )
  if experiment.teacher.teacher_cache is not None:
    raise UserError(
      f"--student={model}: it is cut out of the teacher, of which"
      " --teacher_cache has answers alone; give --teacher_from too"
    )
  which = _cut(model)
  student, blocks = _with_blocks(values.teacher, model, which, dataset)

  def variables(teacher):
    first = jax.tree.map(lambda x: x[0], teacher)
    return {**first, "params": kept_parameters(first["params"], blocks)}

  return Start(student, variables, of_teacher=True)


def _from_outside(
  where: str, model: ModelSpec | None, dataset: Dataset
) -> Start:
  """A student out of an earlier run, or a pretrained encoder or some of its blocks."""
  folder = Path(where).expanduser()
  folder = folder / STUDENT if (folder / STUDENT).is_dir() else folder
  if (folder / storage.NOTE).is_file():
    return _from_run(where, folder, model, dataset)
  if model is not None and not is_cut(model):
    raise UserError(
      f"--student={model} and --student_from={where}: each names the student;"
      " leave one of them out"
    )
  _check_of_texts("student_from", where, dataset)
  encoder = open_encoder("student_from", where, dataset)
  loaded = encoder.variables
  if encoder.classes != dataset.classes:
    loaded = without_classifier(encoder)
  if model is None:
    return Start(encoder.model, lambda _: loaded, of_teacher=False)
  student, blocks = _with_blocks(encoder.model, model, _cut(model), dataset)
  kept = {**loaded, "params": kept_parameters(loaded["params"], blocks)}
  return Start(student, lambda _: kept, of_teacher=False)


def _from_run(
  where: str, folder: Path, model: ModelSpec | None, dataset: Dataset
) -> Start:
  """A student that begins as an earlier run's of the first seed ended.

  Layers that only one of the two has, such as the head of another task, are left out
  or drawn; those that both have must be alike.
  """
  saved = of_run(folder)
  if model is not None and is_cut(model):
    raise UserError(
      f"--student={model}: blocks are cut out of a teacher or a pretrained encoder, and"
      f" --student_from={where} is a run; name its network, {saved.model}"
    )
  spec = model or _for_task(saved.model, dataset)
  first = jax.tree.map(lambda x: x[0], saved.load())
  network = spec.make(classes=dataset.classes)
  layers = _shapes(network, dataset)
  kept = {}
  for name, layer in first["params"].items():
    if name not in layers:
      continue
    if jax.tree.map(np.shape, layer) == jax.tree.map(np.shape, layers[name]):
      kept[name] = layer
    elif name != "head":
      raise UserError(
        f"--student_from={where}: its network is {saved.model}, whose layer {name}"
        f" has other sizes than that of --student={spec}"
      )
  if set(kept) <= {"head"}:
    raise UserError(
      f"--student_from={where}: its network is {saved.model}, which has no layer in"
      f" common with --student={spec}"
    )
  variables = {**first, "params": kept}
  return Start(spec, lambda _: variables, of_teacher=False)


def _for_task(model: ModelSpec, dataset: Dataset) -> ModelSpec:
  """The network of a run, of hidden tokens its body where the task is another."""
  is_masked = dataset.task is not None and dataset.task.redraw is not None
  if model.spec.name != "masked_bert" or is_masked or not dataset.tokenizer:
    return model
  spec = dataclasses.replace(model.spec, name="bert")
  vocabulary = {"vocabulary": dataset.tokenizer.vocabulary_size}
  return ModelSpec(str(spec), spec).knowing(**vocabulary)


def _check_of_texts(flag: str, where: str, dataset: Dataset) -> None:
  if not is_language_model(where):
    raise UserError(
      f"--{flag}={where}: it is no pretrained encoder of texts; it takes a folder"
      " with config.json, or package:minilm-l6"
    )
  if dataset.tokenizer is None:
    raise UserError(
      f"--{flag}={where}: it reads texts, and the inputs of {dataset.name} are"
      f" {dataset.noun}s"
    )


def _cut(model: ModelSpec) -> Cut:
  which = read_cut(model.spec)
  if which.width != Width():
    raise UserError(
      f"--student={model}: parts of blocks are cut out of decoders (lm); of this"
      " network blocks can be left out, as layers(3)"
    )
  return which


def _with_blocks(
  whole: ModelSpec, model: ModelSpec, which: Cut, dataset: Dataset
) -> tuple[ModelSpec, tuple[int, ...]]:
  """The student that has some blocks of a network, and which these are."""
  module = whole.make(classes=dataset.classes)
  try:
    depth = len(spec_blocks(module, dataset))
    blocks = which.blocks(depth)
    student = with_blocks(module, blocks)
    text = spec_of(student)
  except UserError as error:
    raise UserError(f"--student={model}: {error}") from None
  spec = ModelSpec(str(text), text)
  shapes = _shapes(module, dataset)
  if kept_shapes(shapes, blocks) != kept_shapes(
    _shapes(student, dataset), None
  ):
    raise UserError(
      f"--student={model}: blocks {', '.join(map(str, blocks))} of {whole} compute"
      " otherwise in another place"
    )
  return spec, blocks


def spec_blocks(module: Any, dataset: Dataset) -> list[str]:
  """The blocks of a network, by the names of its parameters."""
  return [
    name for name in _shapes(module, dataset) if name.startswith("stage_")
  ]


def kept_shapes(params: Any, blocks: tuple[int, ...] | None) -> Any:
  """Shapes of a network's parameters, or of those that a cut keeps."""
  kept = params if blocks is None else kept_parameters(params, blocks)
  return jax.tree.map(lambda x: x.shape, kept)


def _shapes(module: Any, dataset: Dataset) -> dict[str, Any]:
  init = partial(call_with, module.init, train=False)
  sample = empty_examples(dataset, 1)
  variables = jax.eval_shape(init, jax.random.key(0), sample)
  return variables["params"]


def begun(train_spec: Any, start: Start | None, teacher: Any) -> Any:
  """Gives every arm of the student what it begins with.

  Args:
    teacher: the teachers' variables, with a leading axis (T,), or None.
  """
  if start is None:
    return train_spec
  variables = jax.tree.map(jnp.asarray, start.variables(teacher))
  return train_spec._replace(
    variables=dict.fromkeys(train_spec.arms, variables)
  )
