"""Flags that do nothing beside other settings: what each of them needs."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kdjax import methods
from kdjax.runner.config.options import options, value_of
from kdjax.runner.pipeline import conditions
from kdjax.runner.pipeline.validate_teachers import has_stages
from kdjax.runner.pipeline.values import policy_of

# Policies in which the student writes anew in each batch of its own.
_DRAWS = ("student", "mixed", "speculative")

Test = Callable[[conditions.Case], Any]


class Rule(NamedTuple):
  """What settings must not be.

  Attributes:
    flags: the settings that it is about; a command that lacks one of them is not
      concerned.
    broken: settings -> whether they are that.
    message: the error; {group.name} is a setting.
    typed: a flag; the rule is about what was typed, not about what a file says.
  """

  flags: str
  broken: Test
  message: str
  typed: str = ""


def _is_set(flag: str) -> Test:
  """Makes the test whether a setting is not at its default."""
  option = next(one for one in options() if one.flag == flag)
  return lambda one: value_of(one, option) != option.field.default


def _idle(names: str, why: str, is_met: Test, beside: str = "") -> list[Rule]:
  """Flags that do nothing where what they need is not there."""
  message = f"{{typed}}: it does nothing {why}"
  return [
    Rule(f"{name} {beside}", lambda one: not is_met(one), message, name)
    for name in names.split()
  ]


# What flags need that do nothing without it: a flag, and what is said of it.
_NEEDED = {
  "transfer_dataset": "transfer_split transfer_images transfer_labels",
  "teacher_from": "teacher_classes teacher_head",
  "views": "view_seed",
  "augment that draws, such as --augment='shift(2)'": "views",
  "specialists": "specialist_epochs specialist_learning_rate",
  "reference": "reference_learning_rate reference_augment",
  "sparsity": "pruning_scope pruning_structure pruning_begin pruning_end"
  " pruning_every",
  "keep_best": "best_metric",
  "nan=skip or --nan=rewind": "nan_patience",
  "workdir, which says what to go on with": "resume",
  "mesh": "shard_rules",
  "multihost": "coordinator_address process_count process_index init_timeout"
  " heartbeat_timeout step_timeout",
  "cache_form=top_k": "cache_top_k",
  "regulariser": "regulariser_weight",
  "soft_labels_from": "project_simplex",
}
_THERE = (
  "with a teacher that is trained already (--teacher_from, --teacher_cache)"
)
_THIS = "with this --distillation, which"
IDLE = (
  *(
    _idle(names, f"without --{what}", _is_set(re.match(r"\w+", what)[0]))
    for what, names in _NEEDED.items()
  ),
  _idle(
    "max_new_tokens sampling",
    "where nobody writes texts: without --policy=teacher or --policy=student",
    lambda one: policy_of(one) != "off",
    "policy",
  ),
  _idle(
    "prompt_tokens",
    "where the student writes no texts: without --policy=student",
    lambda one: policy_of(one).startswith((*_DRAWS, "adaptive")),
    "policy",
  ),
  _idle(
    "updates_per_rollout",
    "without --policy=student, mixed or speculative",
    lambda one: policy_of(one).startswith(_DRAWS),
    "policy",
  ),
  _idle(
    "teacher_classes",
    "without the teacher's classifier (--teacher_head)",
    lambda one: one.teacher.teacher_head == "keep",
  ),
  _idle("teacher_epochs", _THERE, conditions.trained),
  _idle(
    "teacher_batch_size teacher_learning_rate teacher_optimizer"
    " teacher_schedule",
    _THERE,
    conditions.trained_or_followed,
  ),
  _idle(
    "teacher_seed",
    _THERE,
    lambda one: conditions.trained_or_followed(one) or has_stages(one.teaching),
  ),
  _idle(
    "teacher_augment",
    _THERE,
    lambda one: (
      conditions.trained_or_followed(one) or conditions.augmented(one)
    ),
  ),
  _idle(
    "teacher_dtype",
    "with --teacher_cache, which has answers and no network",
    lambda one: one.teacher.teacher_cache is None,
  ),
  _idle(
    "temperature",
    f"{_THIS} has one of its own or takes none",
    conditions.takes_temperature,
    "distillation",
  ),
  _idle(
    "method_weight",
    f"{_THIS} has no term but the labels'",
    lambda one: not one.values.objective.labels_alone,
    "distillation",
  ),
  _idle(
    "teachers specialists route chain generations",
    f"{_THIS} asks no teacher, nor does a --reference",
    conditions.asks_teachers,
    "distillation",
  ),
  _idle(
    "shuffled_teacher uniform_teacher noise_teacher matched_smoothing"
    " teacher_view",
    f"{_THIS} asks no teacher",
    lambda one: methods.asks_a_teacher(one.values.objective),
    "distillation",
  ),
  _idle(
    "pool teacher_weights",
    "without several teachers: several in --teacher_from, or --teachers=3 where they"
    " are trained",
    conditions.several,
  ),
  _idle(
    "chain_learning_rate",
    "without --chain or --generations",
    lambda one: has_stages(one.teaching),
  ),
  _idle(
    "label_smoothing smoothing_learning_rate",
    "with --nocontrols: there is no twin with smoothed labels",
    lambda one: one.controls.controls,
    "controls",
  ),
  _idle(
    "augmented_learning_rate",
    "without --controls and a --teacher_augment that is not --augment: there is"
    " no twin with the teacher's views",
    conditions.augmented,
  ),
)
