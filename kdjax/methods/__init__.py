"""Methods by name: one paper, one file, found automatically.

`make_objective` turns what the user wrote into one Method:

  kd                               hard_weight * ce + (1 - hard_weight) * kd
  response                         the same: a family stands for its default
  attention_transfer               its published objective, ce + 1000 * itself
  kd(temperature=8):0.9 + ce:0.1   exactly this sum
  hard, soft, soft_and_hard        presets
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from kdjax.core import spec
from kdjax.core.errors import UserError, unknown_name
from kdjax.core.method import Method, weighted_sum
from kdjax.core.registry import import_modules
from kdjax.core.schedule import SCHEDULES, make_schedule
from kdjax.core.task import Task, hard_label_method
from kdjax.losses.checks import read_numbers
from kdjax.methods._each_teacher import for_each_teacher
from kdjax.methods._of_answers import default_taps, reading_answers
from kdjax.methods.registry import (
  FAMILIES,
  MAKERS,
  OBJECTIVES,
  PRESETS,
  READS,
  VARIANTS,
  register,  # noqa: F401  (for those who add one)
  why_not,
)

import_modules("kdjax.methods")

HARD_WEIGHT = 0.1


class ObjectiveSpec(NamedTuple):
  """What an objective's text says.

  Attributes:
    text: the text.
    terms: as they are written, a preset's in its place; a weight that is not
      written is None.
  """

  text: str
  terms: tuple[spec.Term, ...]

  @property
  def labels_alone(self) -> bool:
    """Whether no method stands beside the labels."""
    return all(term.spec.name == "ce" for term in self.terms)


def read_objective(distillation: str | ObjectiveSpec) -> ObjectiveSpec:
  """Reads a method, a family, a preset or a sum, unless it is read already.

  Example:
    >>> [str(term) for term in read_objective("response:0.5 + ce").terms]
    ['response:0.5', 'ce']
  """
  if isinstance(distillation, ObjectiveSpec):
    return distillation
  terms = spec.parse_sum(PRESETS.get(distillation.strip(), distillation))
  return ObjectiveSpec(distillation, terms)


def terms_of(
  distillation: str | ObjectiveSpec, *, hard_weight=None, method_weight=1.0
) -> tuple[spec.Term, ...]:
  """Resolves presets, families, published objectives and missing weights.

  Args:
    hard_weight: the labels' share where no weights are written: a number,
      traced or not, or a Spec of a schedule; 0.1 by default, or what the
      method's published objective says. Where that has a stage without labels,
      the share is that of the stages with them. A stage that is written, as in
      'ce + kd:after(0.1)', is none of these weights.
    method_weight: factor of every weight but the labels'; likewise.
  """
  text, terms = read_objective(distillation)
  terms = _named(terms)
  if [(term.spec.name, term.weight) for term in terms] == [("ce", None)]:
    # The labels alone, as in the preset `hard`.
    terms = [terms[0]._replace(weight=1.0)]
  if hard_weight is not None and _only_stages(terms):
    terms = [_shared(term, hard_weight) for term in terms]
  elif any(term.weight is not None for term in terms):
    if hard_weight is not None:
      raise UserError(
        f"hard_weight={hard_weight} does not go with the weights written in"
        f" {text!r}; leave one of them out"
      )
    terms = [
      _published(term) if term.weight is None else term for term in terms
    ]
  elif len(terms) == 1 and terms[0].spec.name in OBJECTIVES:
    terms = _objective(terms[0], hard_weight)
  else:
    hard = HARD_WEIGHT if hard_weight is None else hard_weight
    soft = [_published(term, _complement(hard)) for term in terms]
    terms = [spec.Term(spec.Spec("ce"), hard), *soft]
  names = [term.spec.name for term in terms]
  if len(set(names)) < len(names):
    raise UserError(f"{text!r} names a method twice, or 'ce' without a weight")
  terms = [
    term if term.spec.name == "ce" else _scaled(term, method_weight)
    for term in terms
  ]
  for term in terms:
    _check_weight(term)
  return tuple(terms)


def make_objective(
  distillation: str | ObjectiveSpec,
  *,
  hard_weight=None,
  method_weight=1.0,
  steps: int | None = None,
  task: Task | None = None,
  adapt: Callable[[str, Method], Method] = lambda name, method: method,
  **defaults,
) -> Method:
  """Builds the method that the user wrote.

  Args:
    distillation: a method, a family, a preset or a weighted sum.
    hard_weight: the labels' share where no weights are written: a number,
      traced or not, or a Spec of a schedule.
    method_weight: factor of every weight but the labels'; likewise.
    steps: length of the training, for schedules that are shares of it.
    task: what answers and labels are; classes by default. Of another task `ce`
      is the hard loss.
    adapt: (name, method) -> what stands in the sum in a method's place.
    **defaults: hyper-parameters for the methods that take them and do not set
      them in the text, such as `temperature`; numbers, traced or not, or Specs;
      None leaves the method's own.

  Returns:
    The weighted sum.

  Raises:
    UserError: as `terms_of`, for arguments that a method does not take, and for
      a method that does not read the task's answers.

  Example:
    >>> make_objective("kd(temperature=8):0.9 + ce:0.1").couples_batch
    False
  """
  by_name, makers = {}, MAKERS
  if task is not None and task.kind != "categories":
    # Of classes `ce` itself also knows smoothing and masked classes.
    makers = MAKERS | {"ce": lambda: hard_label_method(task)}
  known = {"class_weights": task and task.class_weights, "steps": steps}
  settings = {
    key: make_schedule(value, steps=steps)
    for key, value in (known | defaults).items()
    if value is not None
  }
  terms = terms_of(
    distillation, hard_weight=hard_weight, method_weight=method_weight
  )
  if task is not None:
    check_reads(terms, task)
  for term in terms:
    kwargs = tuple(
      (key, make_schedule(_unquoted(term, key, value), steps=steps))
      for key, value in term.spec.kwargs
    )
    call = dataclasses.replace(term.spec, kwargs=kwargs)
    known = settings | default_taps(makers[call.name], task)
    method = spec.build("method", call, makers, **known)
    method = reading_answers(method, task)
    # Answers are pooled; of what lies inside, every teacher has its own.
    if method.teacher_taps:
      method = for_each_teacher(method)
    weight = make_schedule(term.weight, steps=steps)
    by_name[term.spec.name] = (adapt(term.spec.name, method), weight)
  return weighted_sum(by_name)


def reading(kind: str) -> list[str]:
  """Lists the methods that read a kind of answers, of `kdjax.core.task.KINDS`.

  Example:
    >>> "kd" in reading("values"), "logit_mse" in reading("values")
    (False, True)
  """
  return sorted(name for name in MAKERS if kind in READS[name])


def check_reads(terms: Iterable[spec.Term], task: Task) -> None:
  """Refuses methods that do not read a task's answers.

  Args:
    terms: of an objective, from `terms_of`.

  Raises:
    UserError: names the task, the method, and the methods that fit.
  """
  for term in terms:
    name = term.spec.name
    if task.kind not in READS[name]:
      raise UserError(
        f"the task {task.name!r} has answers of the kind {task.kind!r}, and"
        f" {name} reads {' and '.join(READS[name])}; methods that fit are"
        f" {', '.join(reading(task.kind))}"
      )
    if why := why_not(name, task):
      raise UserError(f"{name} {why}")


def takes(distillation: str | ObjectiveSpec, name: str) -> bool:
  """Says whether a setting reaches a method of an objective.

  Returns:
    Whether a method takes one and has not been given its own.

  Example:
    >>> takes("kd", "temperature"), takes("kd(8)", "temperature")
    (True, False)
  """
  for term in terms_of(distillation):
    signature = inspect.signature(MAKERS[term.spec.name])
    by_place = dict.fromkeys(list(signature.parameters)[: len(term.spec.args)])
    if name in signature.parameters and name not in by_place | dict(
      term.spec.kwargs
    ):
      return True
  return False


def tap_arguments(
  distillation: str | ObjectiveSpec, tap: str, whose: str
) -> list[str]:
  """Lists the arguments of an objective's methods that name a tap."""
  other = {"student": "teacher_", "teacher": "student_"}[whose]
  arguments = []
  for term in terms_of(distillation):
    parameters = inspect.signature(MAKERS[term.spec.name]).parameters
    for name, parameter in parameters.items():
      value = dict(term.spec.kwargs).get(name, parameter.default)
      value = str(value).removesuffix(":out")
      starts_with = value and tap.removesuffix(":out").startswith(value)
      if starts_with and not name.startswith(other):
        arguments.append(f"{term.spec.name}({name}='...')")
  return arguments


def asks_a_teacher(distillation: str | ObjectiveSpec) -> bool:
  """Says whether a method of an objective learns from a teacher.

  Example:
    >>> asks_a_teacher("kd"), asks_a_teacher("hard")
    (True, False)
  """
  # None of these decides it.
  settings = {"steps": 1, "examples": 2, "classes": 2}
  return make_objective(distillation, **settings).needs_teacher


def _unquoted(term: spec.Term, key: str, value):
  """Returns a value; refuses a bare word, which is nobody's schedule."""
  bare = isinstance(value, spec.Spec) and not (value.args or value.kwargs)
  if bare and value.name not in SCHEDULES:
    raise UserError(
      f"{term.spec}: {key}={value} is neither a number nor a schedule; a text"
      f" stands in quotes, {key}='{value}'"
    )
  return value


def _check_weight(term: spec.Term) -> None:
  if isinstance(term.weight, spec.Spec):
    return
  try:
    weights = read_numbers(term.weight)
  except (TypeError, ValueError):
    weights = np.asarray(np.nan)
  if weights is not None and not np.all((weights >= 0) & (weights < 1e30)):
    raise UserError(f"the weight in '{term}' must be finite and not negative")


def _named(terms) -> list[spec.Term]:
  """Puts methods' names in the place of families' and of kinds of divergences."""
  return [term._replace(spec=_resolve(term.spec)) for term in terms]


def _objective(term: spec.Term, hard_weight) -> list[spec.Term]:
  """The published objective of a method, with the arguments that it was given."""
  name = term.spec.name
  terms = [
    published._replace(spec=term.spec)
    if published.spec.name == name
    else published
    for published in spec.parse_sum(OBJECTIVES[name])
  ]
  if hard_weight is None:
    return terms
  if not any(published.spec.name == "ce" for published in terms):
    raise UserError(
      f"hard_weight={hard_weight}: the objective of {name} has no label term,"
      f" {OBJECTIVES[name]!r}; write the weights yourself"
    )
  return [
    _in_its_stage(published, hard_weight)
    if published.spec.name == "ce"
    else published
    for published in terms
  ]


def _only_stages(terms: list[spec.Term]) -> bool:
  """Whether labels without a weight stand beside stages without a value."""
  weights = {term.spec.name: term.weight for term in terms}
  without_labels = weights.pop("ce", "none") is None
  return (
    without_labels
    and bool(weights)
    and all(
      isinstance(weight, spec.Spec)
      and weight.name in ("before", "after")
      and (len(weight.args), len(weight.kwargs)) == (1, 0)
      for weight in weights.values()
    )
  )


def _shared(term: spec.Term, hard_weight) -> spec.Term:
  """A term with its share of the objective, in its stage."""
  if term.spec.name == "ce":
    return term._replace(weight=hard_weight)
  return _in_its_stage(term, _complement(hard_weight))


def _scaled(term: spec.Term, factor) -> spec.Term:
  _check_weight(term._replace(weight=factor))
  return term._replace(weight=_product(term.weight, factor))


def _in_its_stage(published: spec.Term, weight) -> spec.Term:
  """A weight of one's own, in the stage of the training that is published."""
  reweighted = published._replace(weight=weight)
  if not isinstance(published.weight, spec.Spec):
    return reweighted
  _check_weight(reweighted)
  share, *_ = published.weight.args
  weight_spec = dataclasses.replace(published.weight, args=(share, weight))
  return published._replace(weight=weight_spec)


def _published(term: spec.Term, otherwise=1.0) -> spec.Term:
  """A term with the weight that it has in its own published objective."""
  text = OBJECTIVES.get(term.spec.name)
  for published in spec.parse_sum(text) if text else ():
    if published.spec.name == term.spec.name:
      return term._replace(weight=published.weight)
  return term._replace(weight=otherwise)


def _resolve(method: spec.Spec) -> spec.Spec:
  name = FAMILIES.get(method.name, method.name)
  name, *settings = VARIANTS.get(name, (name,))
  if name in PRESETS:
    methods = PRESETS[name].removesuffix(":1")
    raise UserError(
      f"{name!r} is a whole objective, without settings or other terms; write"
      f" {methods!r} in its place"
    )
  if name not in MAKERS:
    choices = [*MAKERS, *FAMILIES, *VARIANTS, *PRESETS]
    raise unknown_name("method", name, choices)
  if dict(method.kwargs).keys() & dict(settings).keys():
    raise UserError(f"{method}: its name says which {name} it is")
  kwargs = (*method.kwargs, *settings)
  return dataclasses.replace(method, name=name, kwargs=kwargs)


def _product(weight, factor):
  if isinstance(factor, int | float) and factor == 1:
    return weight
  if isinstance(weight, spec.Spec) or isinstance(factor, spec.Spec):
    return spec.Spec("product", (weight, factor))
  return weight * factor


def _complement(weight):
  if isinstance(weight, spec.Spec):
    return spec.Spec("complement", (weight,))
  return 1 - weight
