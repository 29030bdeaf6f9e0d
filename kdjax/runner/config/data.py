"""Which images, and which of them the student may learn from."""

import dataclasses

from kdjax.runner.config.field import COUNT, SHARE, Interval, option


@dataclasses.dataclass(frozen=True)
class DataDir:
  """Where prepared data sets are."""

  own_run = True

  data_dir: str | None = option(
    None, "where prepared data sets are kept; TFDS's own folder by default"
  )


@dataclasses.dataclass(frozen=True)
class Source:
  """Which images, and how large they are."""

  own_run = True

  dataset: str = option(
    "mnist5k",
    "data set: mnist5k, digits, any TFDS name, image_folder(path='DIR') or a"
    " folder, a table of numbers or texts (.csv, .tsv, .jsonl, .parquet) or arrays"
    " (.npz)",
  )
  image_size: int | None = option(
    None, "resize images to this height and width, pixels", within=COUNT
  )
  task: str | None = option(
    None,
    "what networks are for, where labels can be read in several ways, such as"
    " regression or 'regression(huber=1)'; what the data say by default; cache:"
    " or lm, a teacher on --text",
  )


@dataclasses.dataclass(frozen=True)
class Splits(DataDir, Source):
  """Which images train and test."""

  own_run = True

  train_split: str = option("train", "TFDS split to train on")
  test_split: str = option("test", "TFDS split to test on")


@dataclasses.dataclass(frozen=True)
class StoredData(Splits):
  """What stays in memory."""

  resident_megabytes: int = option(
    2048,
    "sets up to this size live on the device, larger ones are streamed",
    within=Interval(0),
  )


@dataclasses.dataclass(frozen=True)
class ScoredData(StoredData):
  """Which images are scored."""

  validation: float = option(
    0.0,
    "share of the training set held out from teacher and student alike, and"
    " scored instead of the test set: tune on it",
    within=SHARE,
  )


@dataclasses.dataclass(frozen=True)
class DataSubset(ScoredData):
  """Which images, labels and classes students may learn from."""

  decisive = True
  own_run = True

  background: str = option(
    "white",
    "what transparent images are laid over: white, black, or red,green,blue"
    " of 0 to 255",
  )
  tokenizer: str | None = option(
    None,
    "what makes tokens of texts: a folder with tokenizer.json, or package:NAME; that"
    " of the teacher, or of the student, which must share it, by default",
  )
  length_groups: bool = option(
    False,
    "train on batches of texts that are about as long, cut to a quarter or half of the"
    " longest's tokens where they fit",
  )
  crop_size: int | None = option(
    None,
    "side of what networks see, pixels: the middle of stored images, or what"
    " the view random_resized_crop cuts out; all of them by default",
    within=COUNT,
  )
  images: int | None = option(
    None,
    "how many training images student and baselines see at all, all classes"
    " alike; the teacher sees every one",
    within=COUNT,
  )
  labels: int | None = option(
    None,
    "how many labelled images student and baseline have; the student learns"
    " from the teacher on the others, the baseline goes without them",
    within=COUNT,
  )
  omit_classes: tuple[int, ...] = option(
    (), "classes that student and baseline never see, such as 3 or 3,5"
  )


@dataclasses.dataclass(frozen=True)
class StreamedData(DataSubset):
  """How streamed images are decoded."""

  decisive = True

  data_workers: int = option(
    0,
    "processes that decode streamed images; 0 for threads, which are enough for"
    " a few processors",
    within=Interval(0, 256, "[]"),
  )


@dataclasses.dataclass(frozen=True)
class Data(StreamedData):
  """Which images, and which of them the student may learn from."""

  decisive = True
  own_run = True

  class_sampling: str = option(
    "instance",
    "how often student and baselines are shown each class: as it is there"
    " (instance), all alike (balanced), or by the root of its size (square_root);"
    " the teacher sees the set as it is",
    choices=("instance", "balanced", "square_root"),
  )
  transfer_dataset: str | None = option(
    None,
    "data set whose images the student learns on instead of the training set's,"
    " such as photo_patches; baselines and reference keep their own",
  )
  transfer_split: str = option("train", "TFDS split of the transfer set")
  transfer_images: int | None = option(
    None, "how many images of the transfer set to use", within=COUNT
  )
  transfer_labels: bool = option(
    True,
    "show the student the transfer set's labels, where its classes have the"
    " names of the data set's",
  )
