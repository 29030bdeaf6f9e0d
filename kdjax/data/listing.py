"""Which files of an image folder are which class of which split."""

import functools
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.labelled import Classes, hold_out
from kdjax.data.naming import distinct, printable

# Formats of photographs and drawings; those that this Pillow reads count.
_SUFFIXES = (
  ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif",
  ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2",
  ".j2k", ".tga", ".pcx", ".qoi",
)  # fmt: skip
_ROLES = {
  "train": ("train", "training"),
  "test": ("test", "testing"),
  "val": ("val", "valid", "validation"),
}
# What systems and archives leave behind; no class of anybody's.
_SYSTEM = {
  "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found",
  "system volume information", "__pycache__",
}  # fmt: skip
_NAMED = 5  # so many names, and then their number


class Listing(NamedTuple):
  """Files and labels of one split."""

  files: tuple[str, ...]
  labels: np.ndarray


class ImageFiles(NamedTuple):
  """What an image folder holds.

  Attributes:
    class_names: in the order of the labels.
    train: files to learn from.
    test: files to measure on.
    notes: what was left out, for people.
  """

  class_names: tuple[str, ...]
  train: Listing
  test: Listing
  notes: tuple[str, ...]


class Folder(NamedTuple):
  """The entries of one directory."""

  path: Path
  files: tuple[str, ...]
  folders: tuple[str, ...]
  left_out: tuple[str, ...]
  skipped: Counter


def list_images(path: Path) -> ImageFiles:
  """Tells an image folder's splits, classes and files.

  Args:
    path: holds folders of classes, or such folders as train/ and test/ (or
      val/), which hold them.

  Returns:
    The files, in the order of their names.

  Raises:
    UserError: if it cannot be told which image is which class of which split,
      or a class has none; names it.
  """
  root = look(path)
  roles = find_roles(root)
  if not roles:
    return _flat(root)
  return _divided(root, roles)


def _divided(root: Folder, roles: dict[str, str]) -> ImageFiles:
  """Of splits that are folders of their own."""
  train = _split_folder(root, [roles["train"]])
  test_folders = [roles[role] for role in ("test", "val") if role in roles]
  test = _split_folder(root, test_folders)
  train_classes = {name: _class(train, name, "train") for name in train.folders}
  extra = sorted(set(test.folders) - set(train_classes))
  if extra:
    raise UserError(
      f"image folder {root.path}: {test.path.name}/{printable(extra[0])} is no"
      f" class of {train.path.name}/, which has {listed(train_classes)}"
    )
  test_classes = {name: _class(test, name, "test") for name in test.folders}
  notes = _notes(
    (root, train, test, *train_classes.values(), *test_classes.values()),
    loose=(root, train, test),
  )
  if without_test := sorted(set(train_classes) - set(test_classes)):
    notes += (f"no test image of {listed(without_test)}",)
  split_names = {train.path.name, test.path.name}
  if others := sorted(set(root.folders) - split_names):
    notes += (f"not used: {listed(f'{name}/' for name in others)}",)
  return ImageFiles(
    distinct(train_classes),
    _listing(train_classes, train_classes),
    _listing(train_classes, test_classes),
    notes,
  )


def _flat(root: Folder) -> ImageFiles:
  names = root.folders
  if not names:
    loose = len(root.files)
    raise UserError(
      f"image folder {root.path} has no class directories; wanted CLASS/*.png"
      + (f"; {quantity(loose, 'image')} in no class" if loose else "")
      + (f"; {_skipped(root.skipped)} cannot be read" if root.skipped else "")
    )
  folders = {name: _class(root, name, "train") for name in names}
  everything = _listing(names, folders)
  is_test = hold_out(
    [_stem(file) for file in everything.files],
    Classes(tuple(map(printable, names)), everything.labels),
    f"image folder {root.path}",
    "give train/ and test/ folders of classes",
    noun="image",
  )
  notes = _notes((root, *folders.values()), loose=(root,))
  train, test = (
    Listing(
      tuple(everything.files[index] for index in np.flatnonzero(mask)),
      everything.labels[mask],
    )
    for mask in (~is_test, is_test)
  )
  return ImageFiles(distinct(names), train, test, notes)


def find_roles(root: Folder) -> dict[str, str]:
  """The folders that are splits, by role; none where all are classes."""
  roles = {}
  for role, spellings in _ROLES.items():
    same_role = [name for name in root.folders if name.lower() in spellings]
    if len(same_role) > 1:
      raise UserError(
        f"image folder {root.path} has {' and '.join(f'{n}/' for n in same_role)}:"
        f" which of them is {role}? Rename the other one"
      )
    if same_role:
      roles[role] = same_role[0]
  if "train" in roles and len(roles) > 1:
    return roles
  for role, other in (("train", "test"), ("test", "train")):
    # One alone that holds images is a class, such as a kind of vehicle.
    if role in roles and not look(root.path / roles[role]).files:
      raise UserError(
        f"image folder {root.path} has {roles[role]}/ but no {other}/"
        + ("" if other == "train" else " (or val/)")
        + "; give both or none"
      )
  return {}


def _split_folder(root: Folder, names: list[str]) -> Folder:
  """The first of these folders that holds classes."""
  for name in names:
    # ImageNet's own test/ has no labels: its images lie in no class.
    folder = look(root.path / name)
    if folder.folders:
      return folder
  raise UserError(
    f"image folder {root.path}: {names[0]}/ has no class directories; wanted"
    f" {names[0]}/CLASS/*.png"
  )


def _class(parent: Folder, name: str, split: str) -> Folder:
  folder = look(parent.path / name)
  if folder.files:
    return folder
  where = f"image folder {parent.path}: there is no {split} image of class"
  where += f" {printable(name)!r}"
  for one in folder.folders:
    for inner, _, _ in os.walk(folder.path / one):
      if images := len(look(Path(inner)).files):
        raise UserError(
          f"{where} in {name}/ itself, but {quantity(images, 'image')} in"
          f" {Path(inner).relative_to(parent.path)}/: move them up into"
          f" {name}/"
          + (f", or give {folder.path}" if len(parent.folders) == 1 else "")
        )
  if folder.skipped:
    raise UserError(
      f"{where}: its {_skipped(folder.skipped)} cannot be read, but"
      f" {' '.join(_readable())} can; convert them, or remove the folder"
    )
  raise UserError(f"{where}: its folder is empty; fill it or remove it")


def _listing(names: Iterable[str], folders: dict[str, Folder]) -> Listing:
  files, labels = [], []
  for label, name in enumerate(names):
    if name in folders:
      place = str(folders[name].path)
      files += [os.path.join(place, file) for file in folders[name].files]
      labels += [label] * len(folders[name].files)
  return Listing(tuple(files), np.array(labels, np.int32))


# `Path` says the same of a name, and takes ten times as long.
def _suffix(name: str) -> str:
  suffix = os.path.splitext(name)[1]
  return "" if suffix == "." else suffix


def _stem(file: str) -> str:
  return os.path.splitext(os.path.basename(file))[0]


def look(path: Path) -> Folder:
  """Reads one directory; what is hidden is left out."""
  files, folders, left_out, skips = [], [], [], Counter()
  try:
    with os.scandir(path) as entries:
      for entry in entries:
        if entry.is_dir():
          system = entry.name.lower() in _SYSTEM or entry.name.startswith(".")
          (left_out if system else folders).append(entry.name)
        elif not entry.is_file() and os.path.exists(entry.path):
          skips["no file"] += 1  # a pipe would be waited for, for ever
        elif not entry.name.startswith("."):
          suffix = _suffix(entry.name).lower()
          if suffix in _readable():
            files.append(entry.name)
          else:
            skips[printable(suffix) or "without a suffix"] += 1
  except OSError as error:
    raise UserError(
      f"image folder {path} cannot be read: {error.strerror}"
    ) from error
  parts = (tuple(sorted(part)) for part in (files, folders, left_out))
  return Folder(path, *parts, skips)


def _notes(
  all_folders: Iterable[Folder], *, loose: tuple[Folder, ...]
) -> tuple[str, ...]:
  """What is not used of the folders; images of the loose ones have no class."""
  skips, left_out = Counter(), []
  for folder in all_folders:
    skips += folder.skipped
    left_out += folder.left_out
    if folder in loose:
      skips["in no class"] += len(folder.files)
    else:
      skips["in sub-folders"] += sum(
        len(files)
        for name in folder.folders
        for _, _, files in os.walk(folder.path / name)
      )
  notes = ()
  if +skips:
    notes += (_skipped(+skips, "skipped "),)
  if left_out:
    folders = quantity(len(left_out), "folder")
    notes += (f"{folders} left out ({listed(sorted(set(left_out)))})",)
  return notes


def _skipped(kinds: Counter, verb: str = "") -> str:
  return f"{quantity(kinds.total(), 'file')} {verb}({listed(sorted(kinds))})"


def listed(names: Iterable[str]) -> str:
  """Joins names for a message, of many the first ones."""
  names = [printable(name) for name in names]
  more = len(names) - _NAMED
  if more > 1:
    names = [*names[:_NAMED], f"and {more} more"]
  return ", ".join(names)


@functools.cache
def _readable() -> tuple[str, ...]:
  from PIL import Image

  kinds = Image.registered_extensions()
  return tuple(one for one in _SUFFIXES if kinds.get(one) in Image.OPEN)
