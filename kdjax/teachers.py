"""Teachers that were trained before: by an earlier run, or by somebody else."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kdjax import cluster
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
  given: str | None, model: str, dataset: Dataset, validation: float
) -> Found | None:
  """Finds a teacher and checks that it fits the data.

  Args:
    given: the folder of an earlier run, or a safetensors file with the names
      of torchvision, timm or Hugging Face, or the folder of such files; None
      for a teacher to be trained.
    model: the model's spec, for a file: an earlier run knows its own.
    dataset: what the student is to learn.
    validation: share of the training images that are held out.

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
    return _from_file(given, path, model, dataset)
  return _from_run(given, path, dataset, validation)


def _from_file(given, path: Path, model: str, dataset: Dataset) -> Found:
  if model == AUTO:
    raise UserError(
      f"--teacher_from={given}: a file does not say which network it is; name"
      " it, such as --teacher=resnet50"
    )
  teacher = read_outside_teacher(
    path, model, classes=dataset.classes, image_shape=dataset.image_shape
  )
  if teacher.prefix and cluster.is_first():
    print(f"{path}: names are read without {teacher.prefix!r}", flush=True)
  return Found(teacher.model, lambda: teacher.variables)


def _from_run(
  given, folder: Path, dataset: Dataset, validation: float
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
  if note["classes"] != dataset.classes:
    raise UserError(
      f"--teacher_from={given}: the teacher knows {note['classes']} classes,"
      f" but the student is to learn the {dataset.classes} of {dataset.name}"
    )
  if tuple(note["image_shape"]) != tuple(dataset.image_shape):
    raise UserError(
      f"--teacher_from={given}: the teacher takes images of shape"
      f" {tuple(note['image_shape'])}, but {dataset.name} has"
      f" {tuple(dataset.image_shape)}"
    )
  return Found(note["model"], partial(checkpoint.load_variables, folder, note))
