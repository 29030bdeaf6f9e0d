"""Flags that do nothing beside other settings: what each of them needs."""

import dataclasses
from collections.abc import Callable, Collection
from typing import NamedTuple

from kdjax import methods
from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment, flags
from kdjax.runner.config.options import as_flag, value_of
from kdjax.runner.pipeline import validate_teachers
from kdjax.runner.pipeline.arms import with_scheme


class Need(NamedTuple):
  """What some flags need.

  Attributes:
    flags: their names, with blanks between them.
    without: what is missing, behind the words "it does nothing".
    met: settings -> whether it is there.
    beside: a flag without which a command is not concerned.
  """

  flags: str
  without: str
  met: Callable[[Experiment], bool]
  beside: str | None = None


def _trained(experiment: Experiment) -> bool:
  chosen = experiment.teacher
  return chosen.teacher_from is None and chosen.teacher_cache is None


def _trained_or_followed(experiment: Experiment) -> bool:
  return _trained(experiment) or bool(experiment.teaching.specialists)


def _several(experiment: Experiment) -> bool:
  folders = validate_teachers.teacher_folders(experiment)
  return max(experiment.teaching.teachers, len(folders)) > 1


def _augmented(experiment: Experiment) -> bool:
  other = experiment.teacher.augment != experiment.student.augment
  return experiment.controls.controls and other


def _objective_takes(name: str) -> Callable[[Experiment], bool]:
  def takes(experiment: Experiment) -> bool:
    chosen = with_scheme(experiment).distillation
    return methods.takes(chosen.distillation, name)

  return takes


def _asked(experiment: Experiment) -> bool:
  chosen = with_scheme(experiment).distillation.distillation
  objectives = filter(None, (chosen, experiment.controls.reference))
  return any(map(methods.asks_a_teacher, objectives))


_TAUGHT = (
  "with a teacher that is trained already (--teacher_from, --teacher_cache)"
)
NEEDS = (
  Need(
    "transfer_split transfer_images transfer_labels",
    "without --transfer_dataset",
    lambda one: one.data.transfer_dataset is not None,
  ),
  Need(
    "teacher_classes",
    "without --teacher_from, or without its classifier (--teacher_head)",
    lambda one: (
      one.teacher.teacher_from is not None
      and one.teacher.teacher_head == "keep"
    ),
  ),
  Need(
    "teacher_head",
    "without --teacher_from",
    lambda one: one.teacher.teacher_from is not None,
  ),
  Need("teacher_epochs", _TAUGHT, _trained),
  Need(
    "teacher_batch_size teacher_learning_rate teacher_optimizer"
    " teacher_schedule",
    _TAUGHT,
    _trained_or_followed,
  ),
  Need(
    "teacher_seed",
    _TAUGHT,
    lambda one: (
      _trained_or_followed(one) or validate_teachers.staged(one.teaching)
    ),
  ),
  Need(
    "teacher_augment",
    _TAUGHT,
    lambda one: _trained_or_followed(one) or _augmented(one),
  ),
  Need(
    "teacher_dtype",
    "with --teacher_cache, which has answers and no network",
    lambda one: one.teacher.teacher_cache is None,
  ),
  Need(
    "view_seed",
    "without --views",
    lambda one: one.student.views is not None,
  ),
  Need(
    "views",
    "without an --augment that draws, such as --augment='shift(2)'",
    lambda one: one.student.augment.strip() != "none",
  ),
  Need(
    "temperature",
    "with this --distillation, which has one of its own or takes none",
    _objective_takes("temperature"),
    beside="distillation",
  ),
  Need(
    "method_weight",
    "with this --distillation, which has no term but the labels'",
    lambda one: any(
      term.spec.name != "ce"
      for term in methods.terms_of(with_scheme(one).distillation.distillation)
    ),
    beside="distillation",
  ),
  Need(
    "teachers specialists route chain generations",
    "with this --distillation, which asks no teacher, nor does a --reference",
    _asked,
    beside="distillation",
  ),
  Need(
    "shuffled_teacher uniform_teacher noise_teacher matched_smoothing"
    " teacher_view",
    "with this --distillation, which asks no teacher",
    lambda one: methods.asks_a_teacher(
      with_scheme(one).distillation.distillation
    ),
    beside="distillation",
  ),
  Need(
    "pool teacher_weights",
    "without several teachers: --teachers=3, or several in --teacher_from",
    _several,
  ),
  Need(
    "specialist_epochs specialist_learning_rate",
    "without --specialists",
    lambda one: bool(one.teaching.specialists),
  ),
  Need(
    "chain_learning_rate",
    "without --chain or --generations",
    lambda one: validate_teachers.staged(one.teaching),
  ),
  Need(
    "label_smoothing smoothing_learning_rate",
    "with --nocontrols: there is no twin with smoothed labels",
    lambda one: one.controls.controls,
    beside="controls",
  ),
  Need(
    "augmented_learning_rate",
    "without --controls and a --teacher_augment that is not --augment: there is"
    " no twin with the teacher's views",
    _augmented,
  ),
  Need(
    "reference_learning_rate reference_augment",
    "without --reference",
    lambda one: one.controls.reference is not None,
  ),
  Need(
    "pruning_scope pruning_structure pruning_begin pruning_end pruning_every",
    "without --sparsity",
    lambda one: one.compression.sparsity > 0,
  ),
  Need(
    "best_metric",
    "without --keep_best",
    lambda one: one.run.keep_best > 0,
  ),
  Need(
    "nan_patience",
    "with --nan=stop; --nan=skip and --nan=rewind are patient",
    lambda one: one.run.nan != "stop",
  ),
  Need(
    "resume",
    "without --workdir, which says what to go on with",
    lambda one: one.run.workdir is not None,
  ),
  Need(
    "coordinator_address process_count process_index init_timeout"
    " heartbeat_timeout step_timeout",
    "without --multihost",
    lambda one: one.cluster.multihost,
  ),
  Need(
    "cache_top_k",
    "without --cache_form=top_k",
    lambda one: one.cache.form == "top_k",
  ),
  Need(
    "regulariser_weight",
    "without --regulariser",
    lambda one: one.soft_td.regulariser != "none",
  ),
  Need(
    "project_simplex",
    "without --soft_labels_from",
    lambda one: one.soft_td.soft_labels_from is not None,
  ),
)


def check(config: type, given: Collection[str], experiment: Experiment) -> None:
  """Refuses flags that a run would not heed.

  Args:
    config: the command's class.
    given: the flags that were typed.
    experiment: all settings.

  Raises:
    UserError: names the flag and what it needs.

  Example:
    >>> from kdjax.runner.config.commands import DistillConfig
    >>> check(DistillConfig, ["pruning_end"], Experiment())
    Traceback (most recent call last):
      ...
    kdjax.core.errors.UserError: --pruning_end=0.5: it does nothing without --sparsity
  """
  own = flags.by_flag(config)
  if "controls" not in own:
    # It trains no twin with the teacher's views.
    controls = dataclasses.replace(experiment.controls, controls=False)
    experiment = dataclasses.replace(experiment, controls=controls)
  for need in NEEDS:
    if need.beside not in (None, *own):
      continue
    for flag in need.flags.split():
      # None takes back what a file says.
      value = value_of(experiment, own[flag]) if flag in given else None
      if value is not None and not need.met(experiment):
        said = as_flag(own[flag], value)
        raise UserError(f"{said}: it does nothing {need.without}")
