"""From a name to a checked data set."""

import functools
import importlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.core import spec
from kdjax.core.errors import UserError, program, unknown_name
from kdjax.data.check import check
from kdjax.data.dataset import Dataset
from kdjax.data.images import pixels
from kdjax.data.images.image_folder import open_folder
from kdjax.data.images.mask_folder import is_mask_folder, open_mask_folder
from kdjax.data.images.synthetic import noise_images, photo_patches
from kdjax.data.registry import MAKERS, register
from kdjax.data.table_set import is_table, open_table
from kdjax.data.targets import as_vectors, check_kind
from kdjax.data.tfds_folder import default_data_dir, prepare_embedded
from kdjax.data.whole import INFO_FILE

# Builders that need no download, by name, each in a module of that name.
EMBEDDED = {
  "mnist5k": "Mnist5k",
  "digits": "Digits",
  "cluttered_digits": "ClutteredDigits",
}

# What data often come in, and no name of a data set ends in.
FILES = {".npy", ".json", ".h5", ".hdf5", ".mat", ".pkl", ".pt"}
FILES |= {".pth", ".arrow", ".txt", ".zip", ".tar", ".gz", ".tgz"}
FILES |= {".tfrecord", ".array_record", ".png", ".jpg"}

# Sets that are drawn anew each time, and have no classes to be learned.
DRAWN = {photo_patches.__name__, noise_images.__name__}

# What is said of a set whose maker does not take what was asked for.
_UNHEEDED = {
  "masks": "{name} says of no object where it is; it cannot be used here, a TFDS"
  " set with masks or boxes can",
  "splits": "--train_split and --test_split are for TFDS data sets; {name} has"
  " no splits besides train and test",
  "image_size": "--image_size: the images of {name} have the size that they have",
}

_DESCRIPTIONS = {
  "mnist5k": "5,000 real MNIST digits, 28x28x1: 4,000 train, 1,000 test;"
  " nothing to download",
  "digits": "1,797 handwritten digits, 8x8x1, from scikit-learn; nothing to"
  " download",
  "cluttered_digits": "MNIST digits on cluttered textures with masks, 48x48x1;"
  " splits train, spurious, teacher, test, plain, plain_teacher, plain_test;"
  " nothing to download",
  "photo_patches(count=4000, seed=0)": "squares of scikit-learn's two"
  " photographs, --image_size (28) wide; for --transfer_dataset",
  "noise_images(count=4000, seed=0)": "uniform noise, grey, likewise",
  'image_folder(path="DIR")': "images in DIR/CLASS/, or DIR/train/CLASS/ and"
  " DIR/test/CLASS/ (or val); the path alone works too",
  'mask_folder(path="DIR")': "images in DIR/images/ with a mask of class numbers of"
  " the same name in DIR/masks/, or both in DIR/train/ and DIR/test/ (or val); the"
  " path alone works too",
  'tfds_masks(name="NAME", mask="")': "a set that TFDS has prepared, with a mask of"
  " class numbers beside each image",
  "cluttered_digits_masks(rim=0)": "cluttered_digits with a class at every pixel:"
  " background and ten digits; rim=1 leaves out what touches a digit",
  'table(path="FILE", label="label", leave_out=(), standardise=True,'
  " positive_weight=None, weight=None, group=None)": "numbers, a text or"
  " two, and a label a row, or several of yes and no, in .csv, .tsv, .jsonl,"
  " .parquet or .npz, or a list of images' paths; the path alone works too",
  "class_attributes(dataset, NAME=(0, 2))": "another data set of classes, asked"
  " whether each example has an attribute, which some of the classes have",
  "long_tailed(dataset, imbalance=100, seed=0)": "another data set of classes, of"
  " which the first has so many times more training examples than the last",
  "NAME, NAME/CONFIG:VERSION": "any TFDS image classification set, such as mnist"
  " or cifar10, prepared as array_record in --data_dir",
}


def available() -> Mapping[str, str]:
  """Lists what `load` takes.

  Returns:
    A line of description by name; the last entries stand for many names.

  Example:
    >>> list(available())[:2]
    ['mnist5k', 'digits']
  """
  built_in = {name.partition("(")[0] for name in _DESCRIPTIONS}
  others = {
    name + spec.signature_text(maker): (maker.__doc__ or "")
    .strip()
    .split("\n")[0]
    for name, maker in MAKERS.items()
    if name not in built_in
  }
  embedded = {name: _DESCRIPTIONS[name] for name in ("mnist5k", "digits")}
  return embedded | others | _DESCRIPTIONS


def is_drawn(name: str) -> bool:
  """Says whether a data set is drawn anew, and has no classes to be learned.

  Args:
    name: as `load` takes it.

  Example:
    >>> is_drawn("noise_images(9)"), is_drawn("digits")
    (True, False)
  """
  return name.partition("(")[0].strip() in DRAWN and not _is_path(name)


def load(
  name: str,
  *,
  data_dir: str | None = None,
  train_split: str = "train",
  test_split: str = "test",
  image_size: int | None = None,
  resident_bytes: int = 2 << 30,
  background: str = "white",
  masks: bool = False,
  label_kind: str | None = None,
) -> Dataset:
  """Opens a data set, prepares it if need be, and checks it.

  Args:
    name: one that is registered, such as `mnist5k`, `image_folder(path="DIR")`
      or `photo_patches`; any that TFDS knows or has prepared; the path of a
      directory: one that TFDS prepared, or one of images; or that of a table or
      arrays. A directory's path needs a separator ("./mine").
    data_dir: where prepared data sets are; default $TFDS_DATA_DIR, else
      ~/tensorflow_datasets.
    train_split: of a TFDS set; slices such as "train[:90%]" work.
    test_split: likewise; must exist.
    image_size: makes all images image_size x image_size: the middle square is
      cut out and scaled. None keeps them as they are.
    resident_bytes: keep the pixels in memory if both splits together take no
      more than this, else read them when asked for.
    background: what transparent images are laid over: `white`, `black`, or
      red, green and blue of 0 to 255, such as "128,128,128".
    masks: also give masks of the objects, from the masks or boxes of a TFDS
      set.
    label_kind: of the answers that labels are for, one of
      `kdjax.core.task.KINDS`, where they can be read in several ways; None for
      what they are taken for by themselves.

  Returns:
    The data set, checked.

  Raises:
    UserError: for unknown names, sets that cannot be prepared here, damaged,
      empty or mislabelled data; one line that says which and what to do.
    StorageError: if `data_dir` cannot be written.

  Example:
    >>> load("mnist5k").image_shape  # doctest: +SKIP
    (28, 28, 1)
  """
  if image_size is not None and image_size < 1:
    raise UserError(f"--image_size must be at least 1, got {image_size}")
  options = {
    "splits": (train_split, test_split),
    "image_size": image_size,
    "resident_bytes": resident_bytes,
    "background": pixels.colour(background),
    "masks": masks,
  }
  dataset = open_data(name, data_dir or default_data_dir(), options, label_kind)
  check(dataset)
  check_kind(dataset := as_vectors(dataset, label_kind), label_kind)
  return dataset


def open_data(
  name: str, data_dir: str, options: dict[str, Any], label_kind: str | None
) -> Dataset:
  """Opens a data set by its name, unchecked; see `load`."""
  if is_table(Path(name)) and not Path(name).is_dir():
    more = {"label_kind": label_kind}
    return _make(name, spec.Spec("table", (name,)), options | more)
  if _is_path(name):
    return _open_path(name, options)
  if "(" in name or name in MAKERS:
    more = {"data_dir": data_dir, "label_kind": label_kind}
    return _make(name, spec.parse(name), options | more)
  if Path(name).suffix.lower() in FILES or Path(name).is_file():
    raise _unreadable(name)
  from kdjax.data import tfds_source

  builder = tfds_source.obtain_builder(name, data_dir)
  return tfds_source.open_builder(builder, name, **options)


def _make(name: str, call: spec.Spec, options: dict[str, Any]) -> Dataset:
  """Calls a registered maker; it must heed what was asked for."""
  if call.name not in MAKERS:
    raise unknown_name("data set", call.name, MAKERS)
  takes = inspect.signature(MAKERS[call.name]).parameters
  needs = {
    "masks": options["masks"],
    "splits": options["splits"] != ("train", "test"),
    "image_size": options["image_size"] is not None,
  }
  for option, message in _UNHEEDED.items():
    if needs[option] and option not in takes:
      raise UserError(message.format(name=name))
  dataset = spec.build("data set", call, MAKERS, **options)
  return dataset._replace(name=name)


def _unreadable(name: str) -> UserError:
  """The error for data that are there, in a form that is not read."""
  kind = Path(name).suffix or "such a file"
  return UserError(
    f"data set {name!r}: a file ({kind}) is not read; what can be read is a folder"
    " of images, DIR/CLASS/*.png, a table or arrays (.csv, .tsv, .jsonl, .parquet, .npz),"
    f" or a set that TFDS has prepared ({program()} list datasets)"
  )


def _open_path(path: str, options: dict[str, Any]) -> Dataset:
  directory = Path(path).expanduser()
  if directory.is_file():
    raise _unreadable(path)
  if not directory.is_dir():
    raise UserError(f"data set {path!r}: there is no such directory")
  if (directory / INFO_FILE).is_file():
    from kdjax.data.tfds_source import open_directory

    return open_directory(directory, path, **options)
  if versions := sorted(directory.glob(f"*/{INFO_FILE}")):
    raise UserError(
      f"data set {path!r} holds versions that TFDS has prepared; give one, such"
      f" as --dataset={versions[-1].parent}"
    )
  kind = "mask_folder" if is_mask_folder(directory) else "image_folder"
  return _make(path, spec.Spec(kind, (path,)), options)


@register("image_folder")
def _image_folder(path, *, image_size, resident_bytes, background) -> Dataset:
  return open_folder(
    Path(path).expanduser(),
    path,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
  )


@register("mask_folder")
def _mask_folder(
  path, *, ignore=255, image_size, resident_bytes, background
) -> Dataset:
  directory = Path(path).expanduser()
  if not is_mask_folder(directory):
    raise UserError(
      f"mask folder {path!r} has no images/ and masks/, nor has its train/"
    )
  return open_mask_folder(
    directory,
    path,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
    ignore=ignore,
  )


@register("table")
def _table(
  path,
  *,
  label="label",
  leave_out=(),
  standardise=True,
  positive_weight=None,
  label_kind,
  weight=None,
  group=None,
  image_size,
  resident_bytes,
  background,
) -> Dataset:
  return open_table(
    Path(path).expanduser(),
    path,
    label=label,
    leave_out=leave_out,
    standardise=standardise,
    positive_weight=positive_weight,
    kind=label_kind,
    weight=weight,
    group=group,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
  )


def _is_path(name: str) -> bool:
  if name.startswith((".", "~", os.sep)):
    return True
  # "my_ds/config" could be a TFDS name as well, "photos (1)" a call; a directory
  # that exists wins.
  return (os.sep in name or "(" in name) and Path(name).is_dir()


def _open_embedded(
  name, *, data_dir, splits, image_size, resident_bytes, background, masks
) -> Dataset:
  from kdjax.data import tfds_source

  # Imported here: defining the builders needs TFDS.
  module = importlib.import_module(f"kdjax.data.images.{name}")
  builder = getattr(module, EMBEDDED[name])
  return tfds_source.open_directory(
    prepare_embedded(builder, data_dir),
    name,
    splits=splits,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
    masks=masks,
  )


@register("cluttered_digits_masks")
def _cluttered_digits_masks(
  *, rim=0, data_dir, splits, image_size, resident_bytes, background
) -> Dataset:
  from kdjax.data.images.class_masks import check_rim, of_objects

  check_rim(rim)
  dataset = _open_embedded(
    "cluttered_digits",
    data_dir=data_dir,
    splits=splits,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
    masks=True,
  )
  return of_objects(dataset, rim)


@register("tfds_masks")
def _tfds_masks(
  name,
  *,
  mask="",
  ignore=255,
  data_dir,
  splits,
  image_size,
  resident_bytes,
  background,
) -> Dataset:
  from kdjax.data import tfds_source
  from kdjax.data.images.class_masks import open_masks

  is_folder = (Path(name).expanduser() / INFO_FILE).is_file()
  return open_masks(
    tfds_source.builder_of(Path(name).expanduser())
    if is_folder
    else tfds_source.obtain_builder(name, data_dir),
    name,
    mask=mask,
    splits=splits,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
    ignore=ignore,
  )


for _name in EMBEDDED:
  register(_name)(functools.partial(_open_embedded, _name))
