"""What a language model makes of the training texts, as `launch.py lm` reads them."""

import shlex
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from kdjax import methods
from kdjax.core.errors import UserError, program
from kdjax.core.task import Task
from kdjax.data.teacher_cache.store import FOLDER
from kdjax.data.teacher_cache.write import write_teacher_cache
from kdjax.data.text import put_beside
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.config import Experiment
from kdjax.runner.job import Context, Measured, Plan
from kdjax.runner.pipeline import cached_texts, language_models
from kdjax.runner.pipeline import texts as rows
from kdjax.runner.pipeline.values import read_values
from kdjax.runner.report.progress import compiling
from kdjax.tasks import language_model
from kdjax.train.devices import placement
from kdjax.train.teacher import live_teacher

# Sequences at a time.
BATCH = 8
TOP_K = 64


class Caching(NamedTuple):
  """What is to be kept of which teacher and texts.

  Attributes:
    task: what the teacher's answers mean.
    sequences: what it reads of the training, (N, T) by name.
    notes: what the cache says of its texts.
    top_k: how many of the likeliest tokens; None for the hidden states.
    taps: of features to keep as well.
  """

  experiment: Experiment
  teacher: Pretrained
  task: Task
  sequences: Mapping[str, Any]
  notes: Mapping[str, Any]
  top_k: int | None
  taps: tuple[str, ...]


def build(experiment: Experiment) -> Plan:
  """Loads the teacher and reads the texts as `lm` does; what is wrong ends here."""
  where, settings = experiment.teacher.teacher_from, experiment.language
  language_models.check_named(
    "cache --task=lm",
    "texts and a trained teacher, --text=FILE and --teacher_from=FOLDER",
    text=settings.text,
    teacher_from=where,
  )
  devices = placement.choose(experiment.run.accelerator)
  teacher = language_models.open_language_model("teacher_from", where)
  _check_across(experiment)
  own = teacher
  if settings.across:
    own = language_models.open_language_model(
      "student_from", settings.student_from
    )
  texts = rows.read(settings, own.tokenizer)
  part = texts.parts["train"]
  sequences, notes = part.sequences, partial(cached_texts.notes, teacher)
  if settings.across:
    sequences = _beside(experiment, part, own.tokenizer, teacher.tokenizer)
    notes = partial(notes, student=own.tokenizer)
  teacher_classes = language_models.count_classes(
    f"--teacher_from={where}", teacher, sequences["tokens"].shape[1]
  )
  classes = min(teacher_classes, teacher.tokenizer.vocabulary_size)
  top_k = experiment.cache.top_k or TOP_K
  if experiment.cache.form != "top_k":
    top_k = None
  elif top_k >= classes:
    raise UserError(
      f"--cache_top_k={top_k}: the vocabulary has {classes} tokens; keep 1 to"
      f" {classes - 1} of them"
    )
  largest = sequences["tokens"].max() if settings.across else texts.largest
  language_models.check_ids(int(largest), classes)
  setup = Caching(
    experiment,
    teacher,
    language_model(classes),
    {name: sequences[name] for name in cached_texts.READ},
    notes(settings.sequence_length),
    top_k,
    _taps(experiment),
  )
  return Plan(setup, experiment, devices, resumable=False)


def _check_across(experiment: Experiment) -> None:
  """Refuses a student that nobody reads by, and answers that cannot be compared."""
  settings = experiment.language
  if bool(settings.across) != bool(settings.student_from):
    raise UserError(
      "cache --task=lm: a student with another tokenizer is named by --across and"
      " --student_from=FOLDER, both of them; one with the teacher's by neither"
    )
  if settings.across and experiment.cache.form == "top_k":
    raise UserError(
      f"--cache_form=top_k does not go with --across={settings.across}: it compares"
      " all tokens; --cache_form=hidden keeps what they are made of"
    )


def _beside(
  experiment: Experiment, part: rows.Part, own: Any, other: Any
) -> Mapping[str, Any]:
  """What the teacher reads beside the student's sequences."""
  readers = language_models.readers(
    f"--student_from={experiment.language.student_from}",
    own,
    f"--teacher_from={experiment.teacher.teacher_from}",
    other,
  )
  arrays, _ = put_beside(
    part.sequences, part.examples.examples, part.rows, *readers
  )
  return arrays


def _taps(experiment: Experiment) -> tuple[str, ...]:
  """What was named, or what the method looks at."""
  if experiment.cache.taps is not None:
    return tuple(experiment.cache.taps.split())
  objective = read_values(experiment).objective
  method = methods.make_objective(objective, steps=1, examples=2, classes=2)
  return method.teacher_taps


def write(setup: Caching, context: Context) -> float:
  """Asks the teacher about all sequences; returns how many seconds it took."""
  experiment, start = setup.experiment, time.perf_counter()
  compiling("cache")
  write_teacher_cache(
    context.workdir / FOLDER,
    live_teacher(
      setup.teacher.network,
      setup.teacher.variables,
      dtype=experiment.computing.teacher_dtype,
    ),
    setup.sequences,
    task=setup.task,
    features=setup.taps,
    top_k=setup.top_k,
    dtype=experiment.cache.dtype,
    batch_size=min(BATCH, len(setup.sequences["tokens"])),
    name=experiment.teacher.teacher_from,
    text=setup.notes,
  )
  return time.perf_counter() - start


def measure(setup: Caching, context: Context) -> Measured:
  """Says how large the cache is, and of which teacher."""
  folder, seconds = context.workdir / FOLDER, context.values["cache"]
  size = sum(
    file.stat().st_size
    for pattern in ("*.array_record", "*.npy")
    for file in folder.glob(pattern)
  )
  mask = setup.sequences["mask"]
  cache = {
    "folder": str(folder),
    "form": "hidden" if setup.top_k is None else f"top_{setup.top_k}",
    "records": len(mask),
    "record_bytes": size // len(mask),
    "tokens": int(mask.sum()),
    "bytes": size,
    "bytes_per_token": size / int(mask.sum()),
    "records_per_second": len(mask) / seconds,
    "next": shlex.join(_next(setup.experiment, context.workdir)),
  }
  where = setup.experiment.teacher.teacher_from
  return Measured(
    {"task": setup.task.name, "teacher": {"model": where}, "cache": cache}
  )


def _next(experiment: Experiment, workdir: Any) -> list[str]:
  """The command that learns from the cache."""
  settings = experiment.language
  return [
    *(["kdjax"] if program() == "kdjax" else ["python", "launch.py"]),
    "lm",
    f"--text={settings.text}",
    f"--sequence_length={settings.sequence_length}",
    f"--held_out={settings.held_out:g}",
    f"--teacher_from={experiment.teacher.teacher_from}",
    *(
      [
        f"--student_from={settings.student_from}",
        f"--across={settings.across}",
      ]
      if settings.across
      else []
    ),
    f"--teacher_cache={workdir}",
  ]
