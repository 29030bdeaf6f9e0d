"""All settings of a run as frozen values; each option's help becomes its flag's."""

import dataclasses
import math
from typing import Any, NamedTuple

from kdjax import spec

# A number, a schedule such as linear(8, 1, 1000), or for `sweep` several
# numbers.
Scalar = float | spec.Spec | tuple[float, ...]


class Interval(NamedTuple):
  """The numbers that an option may take; `ends` says which ends belong to it."""

  low: float
  high: float = math.inf
  ends: str = "[)"

  def __contains__(self, value: object) -> bool:
    above = self.low <= value if self.ends[0] == "[" else self.low < value
    below = value <= self.high if self.ends[1] == "]" else value < self.high
    return above and below

  def __str__(self) -> str:
    if self.high == math.inf:
      return f"{'>=' if self.ends[0] == '[' else '>'} {self.low:g}"
    return f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


# A network that is left to the program.
AUTO = "auto"

POSITIVE = Interval(0, ends="()")
COUNT = Interval(1)
SHARE = Interval(0, 1)


def option(
  default: Any,
  help: str,
  *,
  flag: str | None = None,
  within: Interval | None = None,
  choices: tuple[str, ...] | None = None,
) -> Any:
  """Declares one setting.

  Args:
    default: its default.
    help: one line for `--help`.
    flag: the flag's name, where it is not the field's.
    within: the numbers that it may take.
    choices: the texts that it may take.

  Returns:
    A dataclass field.
  """
  metadata = {"help": help, "flag": flag, "within": within, "choices": choices}
  return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Data:
  """Which images, and which of them the student may learn from."""

  dataset: str = option(
    "mnist5k",
    "data set: mnist5k, digits, any TFDS name, image_folder(path='DIR') or a folder",
  )
  data_dir: str | None = option(
    None, "where prepared data sets are kept; TFDS's own folder by default"
  )
  train_split: str = option("train", "TFDS split to train on")
  test_split: str = option("test", "TFDS split to test on")
  image_size: int | None = option(
    None, "resize images to this height and width, pixels", within=COUNT
  )
  crop_size: int | None = option(
    None,
    "side of what networks see, pixels: the middle of stored images, or what the"
    " view random_resized_crop cuts out; all of them by default",
    within=COUNT,
  )
  resident_megabytes: int = option(
    2048,
    "sets up to this size live on the device, larger ones are streamed",
    within=Interval(0),
  )
  validation: float = option(
    0.0,
    "share of the training set held out from teacher and student alike, and"
    " scored instead of the test set: tune on it",
    within=SHARE,
  )
  images: int | None = option(
    None,
    "how many training images student and twins see at all, all classes alike;"
    " the teacher sees every one",
    within=COUNT,
  )
  labels: int | None = option(
    None,
    "how many labelled images student and twin have; the student learns from the"
    " teacher on the others, the twin goes without them",
    within=COUNT,
  )
  omit_classes: tuple[int, ...] = option(
    (), "classes that student and twin never see, such as 3 or 3,5"
  )


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The network that teaches."""

  model: str = option(
    AUTO,
    "the teacher's model; auto: what the method can be used with",
    flag="teacher",
  )
  teacher_from: str | None = option(
    None,
    "a trained teacher: the folder of an earlier run, or a .safetensors file with"
    " the names of torchvision, timm or Hugging Face",
  )
  epochs: int = option(
    60,
    "passes over the training set for the teacher",
    flag="teacher_epochs",
    within=COUNT,
  )
  batch_size: int = option(
    128,
    "examples a step of the teacher, over all devices",
    flag="teacher_batch_size",
    within=COUNT,
  )
  learning_rate: float | None = option(
    None,
    "the teacher's peak learning rate; what suits its kind of network by default",
    flag="teacher_learning_rate",
    within=POSITIVE,
  )
  optimizer: str = option(
    "adam", "the teacher's optimiser", flag="teacher_optimizer"
  )
  schedule: str = option(
    "cosine", "the fall of the teacher's learning rate", flag="teacher_schedule"
  )
  augment: str = option(
    "shift(2)", "views that the teacher is trained on", flag="teacher_augment"
  )
  seed: int = option(
    1000, "the teacher's seed", flag="teacher_seed", within=Interval(0, 2**31)
  )


@dataclasses.dataclass(frozen=True)
class Student:
  """The network that learns, and its twin that learns from labels alone."""

  model: str = option(
    AUTO,
    "the student's model; auto: what the method can be used with",
    flag="student",
  )
  epochs: int = option(
    40, "passes over the student's training set", within=COUNT
  )
  batch_size: int = option(
    128, "examples a step, over all devices", within=COUNT
  )
  learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak learning rate; what suits the kind of network, and each control, by"
    " default",
    within=POSITIVE,
  )
  optimizer: str = option(
    "adam", "optimiser, such as 'sgd(momentum=0.9, weight_decay=5e-4)'"
  )
  schedule: str = option(
    "cosine",
    "the fall of the learning rate: constant, cosine, linear or"
    " 'milestones((0.5, 0.75), 0.1)', a factor at shares of the training; with an"
    " optional warm-up share, 'cosine(warmup=0.1)'",
  )
  augment: str = option(
    "none",
    "views that student, twin and asking teacher share: none, shift(2), crop(4),"
    " flip, noise(0.1), random_resized_crop or a sum of them",
  )
  seeds: int = option(
    10, "how many students (and twins), trained side by side", within=COUNT
  )


@dataclasses.dataclass(frozen=True)
class Distillation:
  """What of the teacher the student is to match."""

  distillation: str = option(
    "response",
    "a method, a family (response, feature, relation, attention), a preset"
    " (hard, soft, soft_and_hard) or a weighted sum such as"
    " 'kd(temperature=8):0.9 + ce:0.1'",
  )
  temperature: Scalar | None = option(
    None,
    "temperature of methods that do not set their own; each method's published"
    " one by default, 4 for kd",
    within=POSITIVE,
  )
  hard_weight: Scalar | None = option(
    None,
    "the labels' share of the objective where no weights are written;"
    " 0.1 by default, or what the method's paper says",
    within=Interval(0, 1, "[]"),
  )
  method_weight: Scalar = option(
    1.0, "factor of every weight but the labels'", within=Interval(0)
  )
  gradient_metrics: bool = option(
    False,
    "log the gradient norm of every term, and its cosine with the labels'",
  )


@dataclasses.dataclass(frozen=True)
class Controls:
  """The twins that tell distillation from what needs no teacher."""

  controls: bool = option(
    True,
    "also train the twins with smoothed labels and with the teacher's views",
  )
  label_smoothing: float | tuple[float, ...] = option(
    0.1, "smoothing of the twin with smoothed labels", within=SHARE
  )
  baseline_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "the plain twin's peak rate; the student's by default",
    within=POSITIVE,
  )
  smoothing_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak rate of the twin with smoothed labels; the student's by default",
    within=POSITIVE,
  )
  augmented_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak rate of the twin with the teacher's views; the student's by default",
    within=POSITIVE,
  )


@dataclasses.dataclass(frozen=True)
class Search:
  """What `compare` tries for every arm, on held-out images, before it measures."""

  methods: str = option(
    "all",
    "compare: the methods where none are named, with blanks between them; all:"
    " those that fit the networks",
  )
  weights: tuple[float, ...] = option(
    (0.1, 1.0, 10.0),
    "compare: factors of a method's published weight to try",
    flag="search_weights",
    within=Interval(0),
  )
  rates: tuple[float, ...] = option(
    (),
    "compare: peak learning rates to try with each; a third of the student's"
    " and the student's by default",
    flag="search_rates",
    within=POSITIVE,
  )
  smoothing: tuple[float, ...] = option(
    (0.05, 0.1, 0.2),
    "compare: smoothings to try, as many as factors",
    flag="search_smoothing",
    within=SHARE,
  )
  seeds: int = option(
    1,
    "compare: students trained for each cell",
    flag="search_seeds",
    within=COUNT,
  )


@dataclasses.dataclass(frozen=True)
class Quantify:
  """What `launch.py quantify` asks of the networks."""

  tap: str = option(
    "head:in", "the layer that is examined, and that the student matches"
  )
  weights: str | None = option(
    None,
    "module whose kernels' way is the weight distance; the tap's by default",
  )
  estimator: str = option(
    "jacobian",
    "how entropies are estimated: in closed form, optimised, or by the authors'"
    " schedule",
    choices=("jacobian", "optimise", "published"),
  )
  explained_images: int = option(
    60, "how many scored images are examined", within=COUNT
  )
  grid: int = option(
    16, "cells along each side of an image", within=Interval(2)
  )
  entropy_weight: float = option(
    7.0, "weight of the entropy (the paper's lambda)", within=POSITIVE
  )
  threshold: float | None = option(
    None,
    "b: how many nats below the background a concept is; 0.2 for the published"
    " estimator, 0.75 for the others, which marks about the same cells",
    within=Interval(0),
  )
  foreground_share: float = option(
    0.25, "a cell is foreground if more of it is on the object", within=SHARE
  )
  probes: int = option(
    32, "random vectors an image, for the closed form", within=COUNT
  )
  probes_at_once: int | None = option(
    None, "fewer at a time take less memory; all by default", within=COUNT
  )
  images_at_once: int = option(
    8,
    "images a device examines at a time; fewer take less memory",
    within=COUNT,
  )
  compared_images: int = option(
    8,
    "images of each network on which the closed form is compared with the"
    " optimiser",
    within=Interval(0),
  )
  label_epochs: int = option(
    10,
    "epochs on labels for the student's layers above the tap, once the layers"
    " up to it match the teacher's",
    within=COUNT,
  )
  teacher_split: str | None = option(
    None, "TFDS split that the teacher learns from; --train_split by default"
  )
  quantify_from: str | None = option(
    None,
    "folder of an earlier, perhaps unfinished run whose entropies are used",
  )


@dataclasses.dataclass(frozen=True)
class SoftTD:
  """What `launch.py soft_td` makes of several sources, round after round."""

  sources: int = option(
    3,
    "soft_td: networks of the teacher's kind that are trained on the labels, for"
    " each student",
    within=COUNT,
  )
  rounds: int = option(
    4, "soft_td: how often soft labels are made anew, at most", within=COUNT
  )
  patience: int = option(
    1,
    "soft_td: rounds without a lower validation loss after which it stops",
    within=COUNT,
  )
  beta: float = option(
    0.5,
    "soft_td: how much a source counts less the further it is from the sources'"
    " mean; 0 is the plain mean",
    within=Interval(0, 1, "[]"),
  )
  pseudo_labels: str = option(
    "soft",
    "soft_td: what the sources' mixture becomes: its probabilities, or its most"
    " likely class",
    choices=("soft", "hard"),
  )
  next_sources: str = option(
    "all",
    "soft_td: who the sources of the next round are: all so far and the student,"
    " or the latest student alone",
    choices=("all", "latest"),
  )
  regulariser: str = option(
    "none",
    "soft_td: what is added to the loss: the divergence from the uniform or from"
    " the first round's soft labels, or half the squared parameters",
    choices=("none", "label_smoothing", "kd", "l2"),
  )
  regulariser_weight: float = option(
    0.1, "soft_td: the regulariser's weight lambda", within=Interval(0)
  )
  soft_labels_from: str | None = option(
    None,
    "soft_td: an .npy or .npz file of soft labels for the training set, one more"
    " source",
  )
  project_simplex: bool = option(
    False,
    "soft_td: project soft labels that are no probabilities, instead of an error",
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """Where and how the run happens."""

  workdir: str | None = option(
    None, "folder for all that the run writes; runs/NAME-DATE-TIME by default"
  )
  evaluate_every: int = option(
    1,
    "epochs from one measurement of the test accuracy to the next; the last"
    " epoch is always measured",
    within=COUNT,
  )
  accelerator: str = option(
    "auto", "device to run on", choices=("auto", "cpu", "gpu", "tpu")
  )
  host_devices: int = option(
    1, "split the CPU into this many devices", within=Interval(1, 256, "[]")
  )


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that determines a run."""

  data: Data = Data()
  teacher: Teacher = Teacher()
  student: Student = Student()
  distillation: Distillation = Distillation()
  controls: Controls = Controls()
  search: Search = Search()
  quantify: Quantify = Quantify()
  soft_td: SoftTD = SoftTD()
  run: Run = Run()
