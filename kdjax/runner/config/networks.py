"""The networks: who teaches, who learns."""

import dataclasses

from kdjax.runner.config.field import AUTO, COUNT, POSITIVE, Interval, option


@dataclasses.dataclass(frozen=True)
class TeacherModel:
  """Which network teaches."""

  decisive = True
  own_run = True

  model: str = option(
    AUTO,
    "the teacher's model; auto: what the method can be used with",
    flag="teacher",
  )


@dataclasses.dataclass(frozen=True)
class TrainedTeacher(TeacherModel):
  """How a teacher is trained."""

  epochs: int = option(
    60,
    "passes over the training set for the teacher; 3 for --teacher_head=tuned",
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
    "the teacher's peak learning rate; what suits its kind of network by"
    " default",
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
    "none",
    "views that the teacher is trained on; what they teach beyond --augment"
    " is a baseline's too",
    flag="teacher_augment",
  )
  seed: int = option(
    1000, "the teacher's seed", flag="teacher_seed", within=Interval(0, 2**31)
  )


@dataclasses.dataclass(frozen=True)
class TeacherSource:
  """A teacher that was trained before."""

  decisive = True
  own_run = True

  teacher_from: str | None = option(
    None,
    "a trained teacher: the folder of an earlier run, a .safetensors file with"
    " the names of torchvision, timm or Hugging Face, or of texts a folder with"
    " config.json, or package:NAME, or for lm the URL where one is served",
  )


@dataclasses.dataclass(frozen=True)
class CachedTeacher(TeacherSource):
  """A teacher that was trained before, and perhaps what it made of the data."""

  decisive = True
  own_run = True

  teacher_cache: str | None = option(
    None,
    "what a teacher made of the training images or texts, in its place: the"
    " folder that `cache` wrote, or its run's",
  )


@dataclasses.dataclass(frozen=True)
class PretrainedTeacher(TeacherSource, TrainedTeacher):
  """A teacher that is trained, or was before."""

  decisive = True
  own_run = True

  teacher_classes: str | None = option(
    None,
    "which class of --teacher_from's is which: name (equal names), order"
    " (equal places), or a file of lines 'CLASS,TEACHER_CLASS' with its name"
    " or number",
  )
  teacher_head: str = option(
    "keep",
    "the classifier of --teacher_from's; of other classes, or where there is none:"
    " tuned, a new one, with which the whole network is trained on the data; or leave"
    " it out (drop: its answers are all 0; new: drawn afresh, untrained) for methods"
    " that look at features alone",
    choices=("keep", "tuned", "drop", "new"),
  )


@dataclasses.dataclass(frozen=True)
class Teacher(CachedTeacher, PretrainedTeacher):
  """The network that teaches."""

  decisive = True
  own_run = True


@dataclasses.dataclass(frozen=True)
class StudentModel:
  """Which network learns."""

  own_run = True

  model: str = option(
    AUTO,
    "the student's model; auto: what the method can be used with",
    flag="student",
  )


@dataclasses.dataclass(frozen=True)
class TrainedStudent(StudentModel):
  """How many students are trained, and how long."""

  epochs: int = option(
    40, "passes over the student's training set", within=COUNT
  )
  batch_size: int = option(
    128, "examples a step, over all devices", within=COUNT
  )
  seeds: int = option(
    10, "how many students (and baselines), trained side by side", within=COUNT
  )


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Views that the student and the asking teacher share."""

  augment: str = option(
    "none",
    "views that student, baseline and asking teacher share: none, shift(2),"
    " crop(4), flip, noise(0.1), random_resized_crop, color_jitter,"
    " randaugment or a sum of them; mixup or cutmix last",
  )


@dataclasses.dataclass(frozen=True)
class Descent:
  """How students are trained."""

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
    " 'milestones((0.5, 0.75), 0.1)', a factor at shares of the training; with"
    " an optional warm-up share, 'cosine(warmup=0.1)'",
  )


@dataclasses.dataclass(frozen=True)
class PlainStudent(Descent, TrainedStudent):
  """Students that see their inputs as they are."""


@dataclasses.dataclass(frozen=True)
class OptimizedStudent(Augmentation, PlainStudent):
  """Students that see views of their inputs."""


@dataclasses.dataclass(frozen=True)
class NumberedViews(Augmentation):
  """Views that come again: answers to them can be stored."""

  decisive = True

  views: int | None = option(
    None,
    "how many different views of each image there are; unlimited by default",
    within=COUNT,
  )
  view_seed: int = option(
    0, "the seed of these views", within=Interval(0, 2**31)
  )


@dataclasses.dataclass(frozen=True)
class Student(NumberedViews, OptimizedStudent):
  """The network that learns, and its baseline that learns from labels alone."""
