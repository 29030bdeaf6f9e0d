"""Which networks and rates a run uses where the user leaves them open."""

import dataclasses
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax

from kdjax import methods, models, taps
from kdjax.core.calling import call_with
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.runner.config import Experiment
from kdjax.runner.config.flags import by_flag
from kdjax.runner.config.options import value_of
from kdjax.runner.pipeline.arms import Cohort
from kdjax.runner.pipeline.pretrained import TUNED
from kdjax.runner.pipeline.values import Values, is_cut, read_values
from kdjax.taps import TapError
from kdjax.train.dry_run import check_step
from kdjax.train.schemes.scheme import OFFLINE

# Teacher and student, small enough for a laptop; a method gets the first pair
# that has what it looks at: vectors, maps, tokens, a second head, the teacher's
# classifier on pooled maps, a student that ends in it. The last answer at every
# pixel.
PAIRS = (
  ("mlp(1200, 1200, dropout=0.5)", "mlp(100)"),
  ("lenet(16, 32, hidden=128, dropout=0.3)", "lenet(8, 16, hidden=32)"),
  (
    "vit(patch=4, width=64, depth=4, heads=4)",
    "vit(patch=4, width=32, depth=2, heads=4)",
  ),
  (
    "vit(patch=4, width=64, depth=4, heads=4)",
    "vit(patch=4, width=32, depth=2, heads=4, distilled=True)",
  ),
  (
    "cifar_resnet(14, (16, 16, 32, 64))",
    "cifar_resnet(8, (8, 8, 16, 32))",
  ),
  (
    "cifar_resnet(14, (16, 16, 32, 64))",
    "projected(cifar_resnet(8, (8, 8, 16, 32)), width=64)",
  ),
  ("unet(16)", "unet(8, 2)"),
)

# Of inputs by name, which are tokens with their mask.
ENCODERS = (
  ("bert(width=128, depth=4)", "bert(width=64, depth=2)"),
  ("masked_bert(width=128, depth=4)", "masked_bert(width=64, depth=2)"),
)

# Peak rates of Adam by kind of network. The dense ones are the best of each arm
# in experiments/mnist.py; the students' others come from the searches of
# experiments/method_tables.py (every arm's best was 0.01, hard labels' 0.008 to
# 0.015) and vit_table.py (0.003 to 0.005), trainings of a few hundred steps.
RATES = {
  "dense": {
    "teacher": 1e-3,
    "student": 3e-2,
    "baseline": 3e-2,
    "smoothing": 3e-3,
    "augmented": 1e-2,
  },
  "convolution": {"teacher": 3e-3}
  | dict.fromkeys(("student", "baseline", "smoothing", "augmented"), 1e-2),
  "attention": {"teacher": 2e-3}
  | dict.fromkeys(("student", "baseline", "smoothing", "augmented"), 3e-3),
  # What was trained before is not to be lost.
  "begun": {"teacher": 5e-5}
  | dict.fromkeys(("student", "baseline", "smoothing", "augmented"), 1e-4),
}
# How such a network is trained where nothing else is said.
_GENTLY = {
  "optimizer": "adamw(weight_decay=0.01)",
  "schedule": "linear(warmup=0.1)",
}
BEGUN = {"teacher": _GENTLY | {"epochs": 3}, "student": _GENTLY}


def choose(
  experiment: Experiment,
  cohort: Cohort,
  sample: jax.Array,
  task: Task,
  classes: int,
  values: Values,
  cached: Teacher | None = None,
  begun: Mapping[str, bool] = MappingProxyType({}),
  facts: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Experiment, Values]:
  """Fills in the networks and rates that are left to the program.

  Args:
    sample: (1, ...) inputs, for their shape.
    begun: by "teacher" and "student", whether it begins with what was trained before.
    facts: what networks are told that take it, such as the vocabulary.
  """
  trainings = [
    (arm.method({name: x[0] for name, x in arm.settings.items()}), arm.scheme)
    for arm in cohort.arms.values()
  ]
  first = None
  pairs = {}
  for names in ENCODERS if isinstance(sample, Mapping) else PAIRS:
    teacher, student = (models.read_model(x).knowing(**facts) for x in names)
    pair = (values.teacher or teacher, values.student or student)
    pairs[pair[0].text, pair[1].text] = pair
  for pair in pairs.values():
    try:
      student = pair[1].make(classes=classes)
      teacher = cached or pair[0].make(classes=classes)
      for method, scheme in trainings:
        learns_from = teacher if scheme is OFFLINE else None
        check_step(student, learns_from, method, sample, task, scheme)
    except UserError as error:
      first = first or error
    else:
      kind = _kind(student, sample)
      other = kind if cached else _kind(teacher, sample)
      values = values._replace(teacher=pair[0], student=pair[1])
      kinds = {"teacher": other, "student": kind}
      kinds |= {name: "begun" for name, holds in begun.items() if holds}
      return _fill_in(experiment, values, kinds, begun), values
  way_out = _way_out(values.objective, first)
  raise UserError(f"--distillation={values.objective.text}: {first}{way_out}")


def _way_out(objective: methods.ObjectiveSpec, error: UserError) -> str:
  """Names the argument that says where a tap stands."""
  if not isinstance(error, TapError) or error.whose is None:
    return ""
  names = methods.tap_arguments(objective, str(error.tap), error.whose)
  if not names:
    return ""
  return f". Another one is written as {' or '.join(names)}"


def _kind(network: nn.Module, sample: jax.Array) -> str:
  key = jax.random.key(0)
  init = partial(call_with, network.init, train=False)
  shapes = jax.eval_shape(init, key, sample)
  apply = partial(call_with, network.apply)
  rows = taps.describe(apply, shapes, sample, train=False)
  modules = {row.module for row in rows}
  if any("Attention" in name for name in modules):
    return "attention"
  return "convolution" if "Conv" in modules else "dense"


def as_begun(
  config: type, experiment: Experiment, typed_flags: Collection[str]
) -> Experiment:
  """Trains gently what was trained before, where nothing is said of how.

  Args:
    config: the command's class.
    typed_flags: what they say holds, a default's value too.
  """
  settings = by_flag(config)
  # A language model begins with what was trained before by its nature.
  of_examples = {"student_from", "dataset"} <= settings.keys()
  begun = {
    "teacher": experiment.teacher.teacher_head == TUNED,
    "student": of_examples
    and (
      experiment.language.student_from is not None
      or is_cut(read_values(experiment).student)
    ),
  }
  for flag, one in settings.items():
    is_open = value_of(experiment, one) == one.field.default
    changes = BEGUN[one.group] if begun.get(one.group) else {}
    if is_open and flag not in typed_flags and one.field.name in changes:
      change = {one.field.name: changes[one.field.name]}
      group = dataclasses.replace(getattr(experiment, one.group), **change)
      experiment = dataclasses.replace(experiment, **{one.group: group})
  return experiment


def _fill_in(experiment, values, kinds, begun) -> Experiment:
  """Puts networks, and rates where there are none, into the settings."""
  teacher, student = experiment.teacher, experiment.student
  controls, rates = experiment.controls, RATES[kinds["student"]]
  if student.learning_rate is None:
    names = ("baseline", "smoothing", "augmented")
    fields = {name: f"{name}_learning_rate" for name in names}
    defaults = {
      field: rates[name]
      for name, field in fields.items()
      if getattr(controls, field) is None
    }
    controls = dataclasses.replace(controls, **defaults)
  return dataclasses.replace(
    experiment,
    teacher=dataclasses.replace(
      teacher,
      model=values.teacher.text,
      learning_rate=teacher.learning_rate or RATES[kinds["teacher"]]["teacher"],
    ),
    student=dataclasses.replace(
      student,
      # What is cut out of a network is cut again where a run is repeated.
      model=student.model if begun.get("student") else values.student.text,
      learning_rate=student.learning_rate or rates["student"],
    ),
    controls=controls,
  )
