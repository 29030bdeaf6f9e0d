"""Teachers that were trained before: by an earlier run, or by somebody else."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kdjax import class_maps, cluster
from kdjax.config import AUTO
from kdjax.data import Dataset
from kdjax.errors import StorageError, UserError
from kdjax.models.weights import read_outside_teacher
from kdjax.train import checkpoint


class Found(NamedTuple):
  """A trained teacher that fits the data.

  Attributes:
    model: its spec.
    load: () -> its variables; raises StorageError if they are damaged.
  """

  model: str
  load: Callable[[], Any]


def find(
  given: str | None,
  model: str,
  dataset: Dataset,
  validation: float,
  classes: str | None = None,
) -> Found | None:
  """Finds a teacher and checks that it fits the data.

  Args:
    given: the folder of an earlier run, or a safetensors file with the names
      of torchvision, timm or Hugging Face, or the folder of such files; None
      for a teacher to be trained.
    model: the model's spec, for a file: an earlier run knows its own.
    dataset: what the student is to learn.
    validation: share of the training images that are held out.
    classes: which of the teacher's classes is which, as `class_maps.read_map`
      takes it; None where they must be the same in the same order.

  Returns:
    The teacher, or None.

  Raises:
    UserError: if there is none, or one that does not fit.
    StorageError: if it is damaged.

  Example:
    >>> find(None, "auto", None, 0.0) is None
    True
  """
  if given is None:
    return None
  path = Path(given).expanduser()
  if path.is_file() or any(path.glob("*.safetensors*")):
    return _from_file(given, path, model, dataset, classes)
  return _from_run(given, path, dataset, validation, classes)


def _from_file(given, path: Path, model: str, dataset, classes) -> Found:
  if model == AUTO:
    raise UserError(
      f"--teacher_from={given}: a file does not say which network it is; name"
      " it, such as --teacher=resnet50"
    )
  teacher = read_outside_teacher(
    path,
    model,
    classes=None if classes else dataset.classes,
    image_shape=dataset.image_shape,
  )
  if teacher.prefix and cluster.is_first():
    print(f"{path}: names are read without {teacher.prefix!r}", flush=True)
  names, ours = teacher.class_names, dataset.class_names
  if classes is None:
    # Published names are seldom a folder's; another order of the same ones is
    # certain.
    if names is not None and set(names) == set(ours):
      class_maps.check_same(given, names, ours)
    return Found(teacher.model, lambda: teacher.variables)
  known = teacher.variables["params"]["head"]["bias"].shape[-1]
  order = class_maps.read_map(classes, ours, names, known)
  return Found(
    teacher.model, lambda: class_maps.in_order(teacher.variables, order)
  )


def _from_run(
  given, folder: Path, dataset: Dataset, validation: float, classes
) -> Found:
  if (folder / "teacher").is_dir():
    folder = folder / "teacher"
  note = checkpoint.read_note(folder)
  missing = {"model", "classes", "image_shape", "digest"} - set(note)
  if missing:
    raise StorageError(f"{folder} is damaged: its note lacks {sorted(missing)}")
  if validation and note.get("validation") != validation:
    raise UserError(
      f"--teacher_from={given}: the teacher was trained with"
      f" --validation={note.get('validation')}, so it may have seen the images"
      f" that --validation={validation} holds out"
    )
  names = note.get("class_names")
  if classes is None and note["classes"] != dataset.classes:
    raise UserError(
      f"--teacher_from={given}: the teacher knows {note['classes']} classes,"
      f" but the student is to learn the {dataset.classes} of {dataset.name};"
      " --teacher_classes says which is which"
    )
  if tuple(note["image_shape"]) != tuple(dataset.image_shape):
    raise UserError(
      f"--teacher_from={given}: the teacher takes images of shape"
      f" {tuple(note['image_shape'])}, but {dataset.name} has"
      f" {tuple(dataset.image_shape)}"
    )
  load = partial(checkpoint.load_variables, folder, note)
  if classes is None:
    class_maps.check_same(given, names, dataset.class_names)
    return Found(note["model"], load)
  order = class_maps.read_map(
    classes, dataset.class_names, names, note["classes"]
  )
  return Found(note["model"], lambda: class_maps.in_order(load(), order))
