"""From a name to a checked data set."""

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from kdjax.core import spec
from kdjax.core.errors import UserError, program
from kdjax.data.check import check
from kdjax.data.dataset import Dataset
from kdjax.data.images import pixels
from kdjax.data.images.synthetic import noise_images, photo_patches
from kdjax.data.prepared import default_data_dir, prepare_embedded
from kdjax.data.whole import INFO_FILE

# Builders that need no download, by name, each in a module of that name.
EMBEDDED = {
  "mnist5k": "Mnist5k",
  "digits": "Digits",
  "cluttered_digits": "ClutteredDigits",
}

# What data often come in, and no name of a data set ends in.
FILES = {".npz", ".npy", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".h5"}
FILES |= {".hdf5", ".mat", ".pkl", ".pt", ".pth", ".arrow", ".txt", ".zip"}
FILES |= {".tar", ".gz", ".tgz", ".tfrecord", ".array_record", ".png", ".jpg"}

# Sets that are drawn anew each time, by name.
DRAWN = {"photo_patches": photo_patches, "noise_images": noise_images}

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
  return dict(_DESCRIPTIONS)


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
) -> Dataset:
  """Opens a data set, prepares it if need be, and checks it.

  Args:
    name: `mnist5k`, `digits`, any name that TFDS knows or has prepared,
      `image_folder(path="DIR")`, `photo_patches`, `noise_images`, or the path
      of a directory: one that TFDS prepared, or one of images. A path needs a
      separator ("./mine").
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
  options = {"image_size": image_size, "resident_bytes": resident_bytes}
  options |= {"background": pixels.colour(background)}
  options |= {"masks": True} if masks else {}
  splits = (train_split, test_split)
  dataset = _open(name, data_dir or default_data_dir(), splits, options)
  check(dataset)
  return dataset


def _open(
  name: str, data_dir: str, splits: tuple[str, str], options: dict
) -> Dataset:
  if _is_path(name):
    return _open_path(name, splits, options)
  if "(" in name or name in {"image_folder", *DRAWN}:
    makers = {"image_folder": _make_folder_opener(name, splits, options)}
    makers |= {
      drawn: _make_drawer(name, maker, splits, options)
      for drawn, maker in DRAWN.items()
    }
    return spec.build("data set", spec.parse(name), makers)
  if Path(name).suffix.lower() in FILES or Path(name).is_file():
    raise _unreadable(name)
  from kdjax.data import tfds_source

  if name in EMBEDDED:
    directory = prepare_embedded(_embedded(name), data_dir)
    return tfds_source.open_directory(directory, name, splits=splits, **options)
  builder = tfds_source.obtain_builder(name, data_dir)
  return tfds_source.open_builder(builder, name, splits=splits, **options)


def _unreadable(name: str) -> UserError:
  """The error for data that are there, in a form that is not read."""
  kind = Path(name).suffix or "such a file"
  return UserError(
    f"data set {name!r}: a file ({kind}) is not read; what can be read is a folder"
    " of images, DIR/CLASS/*.png, or a set that TFDS has prepared"
    f" ({program()} list datasets): write arrays or tables out as images, one"
    " folder a class"
  )


def _open_path(path: str, splits: tuple[str, str], options: dict) -> Dataset:
  directory = Path(path).expanduser()
  if directory.is_file():
    raise _unreadable(path)
  if not directory.is_dir():
    raise UserError(f"data set {path!r}: there is no such directory")
  if (directory / INFO_FILE).is_file():
    from kdjax.data.tfds_source import open_directory

    return open_directory(directory, path, splits=splits, **options)
  if versions := sorted(directory.glob(f"*/{INFO_FILE}")):
    raise UserError(
      f"data set {path!r} holds versions that TFDS has prepared; give one, such"
      f" as --dataset={versions[-1].parent}"
    )
  return _make_folder_opener(path, splits, options)(path)


def _make_folder_opener(
  name: str, splits: tuple[str, str], options: dict
) -> Callable[[str], Dataset]:
  from kdjax.data.images.image_folder import open_folder

  def image_folder(path):
    if options.get("masks"):
      raise UserError(
        f"an image folder says of no object where it is; {name} cannot be used"
        " here, a TFDS set with masks or boxes can"
      )
    if splits != ("train", "test"):
      raise UserError(
        "--train_split and --test_split are for TFDS data sets; an image folder"
        f" has train and test only: {name}"
      )
    return open_folder(Path(path).expanduser(), name, **options)

  return image_folder


def _make_drawer(
  name: str, maker: Callable, splits: tuple[str, str], options: dict
) -> Callable[..., Dataset]:
  def draw(count=4000, seed=0):
    if options.get("masks") or splits != ("train", "test"):
      raise UserError(
        f"{name} has neither masks nor splits besides train and test"
      )
    made = maker(count, seed, image_size=options["image_size"])
    return made._replace(name=name)

  return draw


def _is_path(name: str) -> bool:
  if name.startswith((".", "~", os.sep)):
    return True
  # "my_ds/config" could be a TFDS name as well, "photos (1)" a call; a directory
  # that exists wins.
  return (os.sep in name or "(" in name) and Path(name).is_dir()


def _embedded(name: str) -> type:
  # Imported here: defining the builders needs TFDS.
  module = importlib.import_module(f"kdjax.data.images.{name}")
  return getattr(module, EMBEDDED[name])
