"""Teachers that were trained before: by an earlier run, or by somebody else."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError
from kdjax.data import Dataset
from kdjax.models import ModelSpec, read_model
from kdjax.models.pretrained.read import read_outside_teacher
from kdjax.runner.config import AUTO
from kdjax.runner.pipeline import class_maps
from kdjax.runner.pipeline.encoders import (
  as_embedder,
  is_language_model,
  open_encoder,
)
from kdjax.train.devices import processes

KEEP, TUNED = "keep", "tuned"


class SavedTeacher(NamedTuple):
  """A trained teacher that fits the data.

  Attributes:
    load: () -> its variables; raises StorageError if they are damaged.
    fine_tuned: whether these, without a classifier, are what its training on the
      data begins with.
  """

  model: ModelSpec
  load: Callable[[], Any]
  fine_tuned: bool = False


def find(
  source: str | None,
  model: str,
  dataset: Dataset,
  validation: float,
  classes: str | None = None,
  head: str = KEEP,
) -> SavedTeacher | None:
  """Finds a teacher and checks that it fits the data.

  Args:
    source: the folder of an earlier run, or a safetensors file with the names
      of torchvision, timm or Hugging Face, or the folder of such files; None
      for a teacher to be trained.
    classes: which of the teacher's classes is which, as `class_maps.read_map`
      takes it; None where they must be the same in the same order.
    head: "keep" for the teacher's classifier; "tuned" for a new one that is trained
      with all of it; "drop" or "new" for an untrained one in its place, as
      `class_maps.without_head` takes it.

  Returns:
    The teacher, or None.
  """
  if source is None:
    return None
  path = Path(source).expanduser()
  if is_language_model(source):
    teacher, names = _from_encoder(source, model, dataset, classes, head)
  elif path.is_file() or any(path.glob("*.safetensors*")):
    teacher, names = _from_file(source, path, model, dataset, classes, head)
  else:
    teacher, names = _from_run(source, path, dataset, validation, classes, head)
  if head == TUNED:
    return teacher._replace(
      load=lambda: class_maps.headless(teacher.load()), fine_tuned=True
    )
  if head != KEEP:
    return teacher._replace(
      load=lambda: class_maps.without_head(
        teacher.load(), dataset.classes, head
      )
    )
  if classes is None:
    return teacher
  class_count = teacher.load()["params"]["head"]["bias"].shape[-1]
  order = class_maps.read_map(classes, dataset.class_names, names, class_count)
  return teacher._replace(
    load=lambda: class_maps.in_order(teacher.load(), order)
  )


def of_run(folder: Path) -> SavedTeacher:
  """A network that an earlier run has left in a folder, whatever it is for."""
  note = storage.read_note(folder)
  load = partial(storage.load_variables, folder, note)
  return SavedTeacher(read_model(note["model"]), load)


def _from_file(source, path: Path, model: str, dataset, classes, head):
  """The teacher as it is, and what it calls its classes."""
  if model == AUTO:
    raise UserError(
      f"--teacher_from={source}: a file does not say which network it is; name"
      " it, such as --teacher=resnet50"
    )
  any_classes = classes is not None or head != KEEP
  teacher = read_outside_teacher(
    path,
    model,
    classes=None if any_classes else dataset.classes,
    image_shape=dataset.image_shape,
    headless=head != KEEP,
  )
  if teacher.prefix and processes.is_first():
    print(f"{path}: names are read without {teacher.prefix!r}", flush=True)
  names, ours = teacher.class_names, dataset.class_names
  # Published names are seldom a folder's; another order of the same ones is
  # certain.
  if not any_classes and names is not None and set(names) == set(ours):
    class_maps.check_same(source, names, ours)
  model = read_model(teacher.model)
  return SavedTeacher(model, lambda: teacher.variables), names


def _from_encoder(source, model: str, dataset, classes, head):
  """A pretrained encoder of texts as it is, and what it calls its classes."""
  if dataset.tokenizer is None:
    raise UserError(
      f"--teacher_from={source}: it reads texts, and the inputs of {dataset.name} are"
      f" {dataset.noun}s"
    )
  encoder = open_encoder("teacher_from", source, dataset)
  if model not in (AUTO, encoder.model.text):
    raise UserError(
      f"--teacher={model} and --teacher_from={source}: it is {encoder.model}; leave"
      " --teacher out"
    )
  task = dataset.task
  if not encoder.classes and task is not None and task.kind == "embedding":
    encoder = as_embedder(f"--teacher_from={source}", encoder, dataset)
    return SavedTeacher(encoder.model, lambda: encoder.variables), None
  if head != TUNED and not encoder.classes:
    raise UserError(
      f"--teacher_from={source}: it has no classifier; --teacher_head=tuned trains a"
      " new one on the data, with all of the network"
    )
  same = classes is None and head == KEEP
  if same and encoder.classes != dataset.classes:
    raise UserError(
      f"--teacher_from={source}: the teacher knows {encoder.classes} classes, but the"
      f" student is to learn the {dataset.classes} of {dataset.name};"
      " --teacher_head=tuned trains a new classifier on the data, --teacher_classes"
      " says which class is which"
    )
  if same:
    class_maps.check_same(source, encoder.class_names, dataset.class_names)
  load = lambda: encoder.variables  # noqa: E731
  return SavedTeacher(encoder.model, load), encoder.class_names


def _from_run(
  source, folder: Path, dataset: Dataset, validation: float, classes, head
):
  """The teacher as it is, and what it calls its classes."""
  if (folder / "teacher").is_dir():
    folder = folder / "teacher"
  note = storage.read_note(folder)
  missing = {"model", "classes", "image_shape", "digest"} - set(note)
  if missing:
    raise StorageError(f"{folder} is damaged: its note lacks {sorted(missing)}")
  if validation and note.get("validation") != validation:
    raise UserError(
      f"--teacher_from={source}: the teacher was trained with"
      f" --validation={note.get('validation')}, so it may have seen the images"
      f" that --validation={validation} holds out"
    )
  same = classes is None and head == KEEP
  if same and note["classes"] != dataset.classes:
    raise UserError(
      f"--teacher_from={source}: the teacher knows {note['classes']} classes,"
      f" but the student is to learn the {dataset.classes} of {dataset.name};"
      " --teacher_classes says which is which, --teacher_head=drop teaches by"
      " features alone, --teacher_head=tuned trains it on the data first"
    )
  if not _same_inputs(note["image_shape"], dataset.image_shape):
    raise UserError(
      f"--teacher_from={source}: the teacher takes {_inputs(note['image_shape'])},"
      f" but {dataset.name} has {_inputs(dataset.image_shape)}"
    )
  names = note.get("class_names")
  if same:
    class_maps.check_same(source, names, dataset.class_names)
  load = partial(storage.load_variables, folder, note)
  return SavedTeacher(read_model(note["model"]), load), names


def _same_inputs(theirs: Any, ours: Any) -> bool:
  """Whether a network for one shape takes another: texts may have any length."""
  if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
    return theirs.keys() == ours.keys()
  if isinstance(theirs, Mapping) or isinstance(ours, Mapping):
    return False
  return tuple(theirs) == tuple(ours)


def _inputs(shape: Any) -> str:
  if isinstance(shape, Mapping):
    return f"inputs called {', '.join(shape)}"
  return f"images of shape {tuple(shape)}"
