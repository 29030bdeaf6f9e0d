"""Methods by name: one paper, one file, found automatically.

`make_objective` turns what the user wrote into one Method:

  kd                               hard_weight * ce + (1 - hard_weight) * kd
  response                         the same: a family stands for its default
  kd(temperature=8):0.9 + ce:0.1   exactly this sum
  hard, soft, soft_and_hard        presets
"""

import dataclasses

from kdjax import spec
from kdjax.errors import UserError, unknown_name
from kdjax.method import Method, weighted_sum
from kdjax.methods.registry import FAMILIES, MAKERS, PRESETS
from kdjax.registry import import_modules
from kdjax.schedule import make_schedule

import_modules("kdjax.methods")

HARD_WEIGHT = 0.1


def terms_of(distillation: str, *, hard_weight=None) -> tuple[spec.Term, ...]:
  """Resolves presets, families and missing weights.

  Args:
    distillation: what the user wrote.
    hard_weight: the labels' share where no weights are written: a number,
      traced or not, or a Spec of a schedule; 0.1 by default.

  Returns:
    The terms, each with its weight.

  Raises:
    UserError: for an unknown name, a negative weight, a name that stands
      twice, or a hard weight beside written weights.

  Example:
    >>> [str(term) for term in terms_of("response", hard_weight=0.5)]
    ['ce:0.5', 'kd:0.5']
  """
  terms = spec.parse_sum(PRESETS.get(distillation.strip(), distillation))
  terms = tuple(
    spec.Term(
      dataclasses.replace(term.spec, name=_resolve(term.spec.name)), term.weight
    )
    for term in terms
  )
  if all(term.weight is None for term in terms):
    hard_weight = HARD_WEIGHT if hard_weight is None else hard_weight
    soft = [spec.Term(term.spec, _complement(hard_weight)) for term in terms]
    terms = (spec.Term(spec.Spec("ce"), hard_weight), *soft)
  elif hard_weight is not None:
    raise UserError(
      f"hard_weight={hard_weight} does not go with the weights written in"
      f" {distillation!r}; leave one of them out"
    )
  names = [term.spec.name for term in terms]
  if len(set(names)) < len(names):
    raise UserError(
      f"{distillation!r} names a method twice, or 'ce' without a weight"
    )
  for term in terms:
    if isinstance(term.weight, int | float) and not 0 <= term.weight < 1e30:
      raise UserError(f"the weight in '{term}' must be finite and not negative")
  return terms


def make_objective(
  distillation: str, *, hard_weight=None, **defaults
) -> Method:
  """Builds the method that the user wrote.

  Args:
    distillation: a method, a family, a preset or a weighted sum.
    hard_weight: the labels' share where no weights are written: a number,
      traced or not, or a Spec of a schedule.
    **defaults: hyper-parameters for the methods that take them and do not set
      them in the text, such as `temperature`; numbers, traced or not, or Specs.

  Returns:
    The weighted sum.

  Raises:
    UserError: as `terms_of`, and for arguments that a method does not take.

  Example:
    >>> make_objective("kd(temperature=8):0.9 + ce:0.1").couples_batch
    False
  """
  made = {}
  for term in terms_of(distillation, hard_weight=hard_weight):
    kwargs = tuple(
      (key, make_schedule(value)) for key, value in term.spec.kwargs
    )
    given = {key: make_schedule(value) for key, value in defaults.items()}
    method = spec.build(
      "method", dataclasses.replace(term.spec, kwargs=kwargs), MAKERS, **given
    )
    made[term.spec.name] = (method, make_schedule(term.weight))
  return weighted_sum(made)


def _resolve(name: str) -> str:
  name = FAMILIES.get(name, name)
  if name not in MAKERS:
    raise unknown_name("method", name, [*MAKERS, *FAMILIES, *PRESETS])
  return name


def _complement(weight):
  if isinstance(weight, spec.Spec):
    return spec.Spec("complement", (weight,))
  return 1 - weight
