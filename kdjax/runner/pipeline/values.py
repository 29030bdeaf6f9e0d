"""What the texts among the settings mean, read once: nothing below reads one."""

import dataclasses
from itertools import chain, count
from typing import NamedTuple

from kdjax import data, methods, models
from kdjax.core import spec
from kdjax.core.task import Task
from kdjax.methods import ObjectiveSpec
from kdjax.models.lora import Lora, read_lora
from kdjax.models.pretrained.cut import CUTS
from kdjax.runner.config import AUTO, Distillation, Experiment
from kdjax.train import profiling
from kdjax.train.schemes.registry import TEMPERATURE, make_scheme, objective_of
from kdjax.train.schemes.scheme import Scheme

# What students learn by whose task's answers are no logits, by its kind.
BY_KIND = {
  "values": "logit_mse",
  "gaussians": "gaussian_kl",
  "embedding": "cosine",
}
# Methods that read which tokens were drawn, and the policy where none is named.
DRAWN = {"minillm": "student(teacher=0.2)", "policy_gradient": "student"}


class Values(NamedTuple):
  """What the texts among a run's settings mean.

  Attributes:
    scheme: who learns from whom.
    objective: what the student minimises.
    reference: what the reference minimises; None for none.
    alternatives: what the student of `lm` minimises in further arms, by name.
    teacher: the network that teaches; None where it is left open, or cached.
    student: the network that learns; None where it is left open.
    lora: the student's adapters; None where all of it is trained.
    mixes: whether the student's views mix images.
    teacher_mixes: whether those that the teacher is trained on do.
    teacher_folders: the teachers that were trained before.
    chain: the models between teacher and student, in their order.
    profile_window: the steps that are traced, (first, end); None for none.
  """

  scheme: Scheme
  objective: ObjectiveSpec
  reference: ObjectiveSpec | None
  alternatives: dict[str, ObjectiveSpec]
  teacher: models.ModelSpec | None
  student: models.ModelSpec | None
  lora: Lora | None
  mixes: bool
  teacher_mixes: bool
  teacher_folders: tuple[str, ...]
  chain: tuple[models.ModelSpec, ...]
  profile_window: tuple[int, int] | None


def read_values(experiment: Experiment) -> Values:
  """Reads the texts; raises a UserError for one that cannot be read."""
  reference = experiment.controls.reference
  window = experiment.computing.profile_steps
  folders = (experiment.teacher.teacher_from or "").split(",")
  models_between = experiment.teaching.chain
  cached = experiment.teacher.teacher_cache is not None
  lora = experiment.language.lora
  return Values(
    scheme=make_scheme(experiment.distillation.regime),
    objective=methods.read_objective(
      with_scheme(experiment).distillation.distillation
    ),
    reference=None if reference is None else methods.read_objective(reference),
    alternatives=_named(experiment.language.alternatives),
    teacher=None if cached else _read_model(experiment.teacher.model),
    student=_read_model(experiment.student.model),
    lora=None if lora is None else read_lora(lora),
    mixes=data.split_mixing(experiment.student.augment)[1] is not None,
    teacher_mixes=data.split_mixing(experiment.teacher.augment)[1] is not None,
    teacher_folders=tuple(filter(None, map(str.strip, folders))),
    chain=tuple(
      models.read_model(str(one))
      for one in (spec.parse_list(models_between) if models_between else ())
    ),
    profile_window=None if window is None else profiling.read_window(window),
  )


def _named(texts: str | None) -> dict[str, ObjectiveSpec]:
  """Reads objectives, each under the name of its first term."""
  objectives: dict[str, ObjectiveSpec] = {}
  for text in spec.parts(texts) if texts else ():
    objective = methods.read_objective(text)
    first = objective.terms[0].spec.name
    names = chain([first], (f"{first}_{i}" for i in count(2)))
    name = next(name for name in names if name not in objectives)
    objectives[name] = objective
  return objectives


def _read_model(text: str) -> models.ModelSpec | None:
  return None if text == AUTO else models.read_model(text)


def with_scheme(experiment: Experiment) -> Experiment:
  """Fills in what networks learn by that learn together."""
  settings = experiment.distillation
  is_default = settings.distillation == Distillation().distillation
  has_weight = settings.hard_weight is not None
  objective = objective_of(settings.regime, shared=has_weight)
  if not objective or not is_default:
    return experiment
  warmth = settings.temperature
  if warmth is None and not has_weight:
    warmth = TEMPERATURE
  settings = dataclasses.replace(
    settings, distillation=objective, temperature=warmth
  )
  return dataclasses.replace(experiment, distillation=settings)


def with_objective(
  experiment: Experiment, objective: str, *, labels: bool = True
) -> Experiment:
  """Fills in what a student learns by where no method is named.

  Args:
    labels: whether a method that is named without a weight shares it with them.
  """
  settings = experiment.distillation
  text = settings.distillation
  if text == Distillation().distillation:
    text = objective
  (first, *others) = methods.read_objective(text).terms
  alone = first.weight is None and not others
  if (
    alone and not labels and first.spec.name not in ("ce", *methods.OBJECTIVES)
  ):
    text = f"{text}:1"
  settings = dataclasses.replace(settings, distillation=text)
  return dataclasses.replace(experiment, distillation=settings)


def is_cut(model: models.ModelSpec | None) -> bool:
  """Says whether a network is named as a part of another one, as layers(3)."""
  return model is not None and model.spec.name in CUTS


def policy_of(experiment: Experiment) -> str:
  """Returns `--policy`, or the one that the methods ask for where none is named."""
  policy = experiment.language.policy
  if policy != "off":
    return policy
  text = experiment.distillation.distillation
  if text.strip() == "distillm":
    return "adaptive"
  return next((DRAWN[x] for x in methods_of(text) if x in DRAWN), policy)


def methods_of(objective: str | ObjectiveSpec) -> tuple[str, ...]:
  """Lists the methods of an objective; `ce` is the labels' own."""
  return tuple(term.spec.name for term in methods.terms_of(objective))


def with_task(experiment: Experiment, task: Task) -> Experiment:
  """Fills in what a student learns by whose task's answers are no logits."""
  settings = experiment.distillation
  is_default = settings.distillation == Distillation().distillation
  if not is_default or task.kind in methods.READS["kd"]:
    return experiment
  settings = dataclasses.replace(settings, distillation=BY_KIND[task.kind])
  return dataclasses.replace(experiment, distillation=settings)


def objective_text(experiment: Experiment, objective: ObjectiveSpec) -> str:
  """Writes out the student's objective with every weight."""
  settings = experiment.distillation
  terms = methods.terms_of(
    objective,
    hard_weight=_unless_swept(settings.hard_weight, None),
    method_weight=_unless_swept(settings.method_weight, 1.0),
  )
  return " + ".join(map(str, terms))


def objective_temperature(
  experiment: Experiment, objective: ObjectiveSpec
) -> float:
  """Returns the temperature of the student's objective."""
  values = [
    dict(term.spec.kwargs).get("temperature")
    for term in methods.terms_of(objective)
  ]
  for value in (*values, experiment.distillation.temperature):
    if isinstance(value, int | float):
      return float(value)
  return 4.0


def _unless_swept(value, otherwise):
  return otherwise if isinstance(value, tuple) else value
