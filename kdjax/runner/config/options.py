"""Settings by name: read from flags, checked, written out.

Order of precedence: the defaults of `config`, an experiment's file, the flags.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from kdjax.core import spec
from kdjax.core.errors import UserError, program, unknown_name
from kdjax.runner.config import Experiment


class Option(NamedTuple):
  """One setting: where it stands and what may be given.

  Attributes:
    decisive: whether no command passes it over where a file sets it.
    own_run: whether it says which images or networks: who gives it means a run
      of his own, for which the settings of a demo are not.
  """

  group: str
  field: dataclasses.Field
  type: Any
  decisive: bool
  own_run: bool

  @property
  def flag(self) -> str:
    return self.field.metadata["flag"] or self.field.name

  @property
  def flags(self) -> tuple[str, ...]:
    other = self.field.metadata["other_flag"]
    return (self.flag, other) if other else (self.flag,)


@functools.cache
def options(config: type = Experiment) -> tuple[Option, ...]:
  """Lists every setting of a command's class, in order; of all by default."""
  groups = {one.type: one.name for one in dataclasses.fields(Experiment)}
  settings = []
  for part in dataclasses.fields(config):
    names = (groups[one] for one in groups if issubclass(one, part.type))
    group = next(names, part.name)
    hints = typing.get_type_hints(part.type)
    # Which class a field is written in says what kind of setting it is.
    home = {
      name: vars(base)
      for base in reversed(part.type.__mro__)
      for name in vars(base).get("__annotations__", ())
    }
    for field in dataclasses.fields(part.type):
      kind = (home[field.name].get(x, False) for x in ("decisive", "own_run"))
      settings.append(Option(group, field, hints[field.name], *kind))
  return tuple(settings)


def with_own_groups(experiment: Experiment, config: type) -> Experiment:
  """Adds the groups of a command's class that no other command has."""
  kind = _kind_for(config)
  return kind(**vars(experiment)) if kind is not Experiment else experiment


@functools.cache
def _kind_for(config: type) -> type[Experiment]:
  there = {one.group for one in options()}
  new_groups = {one.group for one in options(config)} - there
  groups = [
    (one.name, one.type, dataclasses.field(default=one.type()))
    for one in dataclasses.fields(config)
    if one.name in new_groups
  ]
  if not groups:
    return Experiment
  return dataclasses.make_dataclass(
    "Experiment", groups, bases=(Experiment,), frozen=True
  )


def value_of(experiment: Experiment, one: Option) -> Any:
  """Returns what a setting is.

  Example:
    >>> value_of(Experiment(), options()[0])
    'mnist5k'
  """
  return getattr(getattr(experiment, one.group), one.field.name)


def as_text(value: Any) -> Any:
  """Writes a value as it is typed; None and truth values stay as they are.

  Example:
    >>> as_text((0.1, 1.0)), as_text(3), as_text(False)
    ('0.1,1.0', '3', False)
  """
  if isinstance(value, tuple):
    return ",".join(map(str, value))
  return value if value is None or isinstance(value, bool) else str(value)


def as_flag(one: Option, value: Any) -> str:
  """Writes a setting as it is typed."""
  if isinstance(value, bool):
    return f"--{'' if value else 'no'}{one.flag}"
  return f"--{one.flag}={as_text(value)}"


def with_flags(experiment: Experiment, texts: Mapping[str, Any]) -> Experiment:
  """Returns the experiment with the settings that flags give.

  A flag also stands against what an experiment's file has written into its
  objective: with --temperature=4, "kd(temperature=8)" becomes "kd".

  Args:
    texts: texts (or, for switches, truth values) by flag name.
  """
  for one in options(type(experiment)):
    if one.flag in texts:
      value = _read(one, texts[one.flag])
      group = getattr(experiment, one.group)
      group = dataclasses.replace(group, **{one.field.name: value})
      experiment = dataclasses.replace(experiment, **{one.group: group})
  if "distillation" not in texts:
    experiment = _yielding(experiment, set(texts))
  return experiment


def check(experiment: Experiment, *, sweep: bool = False) -> None:
  """Checks every number and choice.

  Args:
    sweep: whether several numbers may stand where one is meant.

  Raises:
    UserError: names the flag, the value and what is allowed.

  Example:
    >>> check(Experiment())
  """
  for one in options(type(experiment)):
    value = value_of(experiment, one)
    if _is_grid(one, experiment):
      if not sweep:
        raise UserError(
          f"--{one.flag}={_text(value)}: several values are for"
          f" `{program()} sweep`; give one"
        )
      if not value:
        raise UserError(f"--{one.flag}: give at least one value")
      twice = next((x for i, x in enumerate(value) if x in value[:i]), None)
      if twice is not None:
        raise UserError(
          f"--{one.flag}={_text(value)}: {twice:g} stands there twice; name each"
          " value once"
        )
    for number in value if isinstance(value, tuple) else (value,):
      _check_number(one, number)
    choices = one.field.metadata["choices"]
    if choices and value is not None and not _is_one_of(value, choices):
      raise unknown_name(f"--{one.flag}", value, choices)
  if sweep and not has_grid(experiment):
    flags = [
      one.flag
      for one in options()
      if _takes(one.type, tuple[float, ...]) and _takes(one.type, float)
    ]
    raise UserError(
      f"a sweep needs several values for one of --{', --'.join(flags)}, such as"
      " --temperature=1,4"
    )


def _is_one_of(value: str, choices: tuple[str, ...]) -> bool:
  """Says whether a text is a choice, of one with arguments whatever they are."""
  if "(" not in value:
    return value in choices
  name = value.partition("(")[0]
  return any(one.startswith(f"{name}(") for one in choices)


# Settings that stood in another group, and what their default was called there.
_FORMER = {("cache", "task"): (("data", "task"), {"images": None})}


def as_dict(experiment: Experiment) -> dict[str, dict[str, Any]]:
  """Returns all settings as JSON values, by group and name."""
  return {
    group.name: {
      name: str(value) if isinstance(value, spec.Spec) else value
      for name, value in vars(getattr(experiment, group.name)).items()
    }
    for group in dataclasses.fields(experiment)
  }


def from_dict(settings: Mapping[str, Mapping[str, Any]]) -> Experiment:
  """Returns the experiment whose settings `as_dict` wrote, by way of JSON.

  Args:
    settings: by group and name. What is missing has its default: older runs do
      not know it.
  """
  by_name = {(one.group, one.field.name): one for one in options()}
  experiment = Experiment()
  for group, values in settings.items():
    for name, value in values.items():
      if (group, name) in _FORMER:
        (group, name), words = _FORMER[group, name]
        value = words.get(value, value)
      if (group, name) not in by_name:
        raise UserError(f"the stored setting {group}.{name} is unknown here")
      if isinstance(value, list):
        value = tuple(value)
      one = by_name[group, name]
      if isinstance(value, str) and not _takes(one.type, str):
        value = _read(one, value)
      new = dataclasses.replace(getattr(experiment, group), **{name: value})
      experiment = dataclasses.replace(experiment, **{group: new})
  return experiment


def has_grid(experiment: Experiment) -> bool:
  """Says whether several values stand for one setting, as for a sweep."""
  return any(_is_grid(one, experiment) for one in options())


def _yielding(experiment: Experiment, flags: set[str]) -> Experiment:
  """Takes out of a file's objective what flags say themselves."""
  settings = experiment.distillation
  typed_flags = {
    one.flag for one in options() if one.group == "distillation"
  } & flags
  terms = spec.parse_sum(settings.distillation)
  kept_terms = [
    term._replace(
      spec=dataclasses.replace(
        term.spec,
        kwargs=tuple(
          pair for pair in term.spec.kwargs if pair[0] not in typed_flags
        ),
      )
    )
    for term in terms
  ]
  if kept_terms == list(terms):
    return experiment
  text = " + ".join(map(str, kept_terms))
  settings = dataclasses.replace(settings, distillation=text)
  return dataclasses.replace(experiment, distillation=settings)


def _read(one: Option, text: Any) -> Any:
  """Turns a flag's text into the setting's type."""
  if isinstance(text, str) and not text.strip():
    # A shell's variable that is not set: it must not stand for the default.
    raise UserError(
      f"--{one.flag}={text}: it is empty; give a value, or leave the flag out"
    )
  if not isinstance(text, str):
    return text
  if (
    text.strip().lower() == "none"
    and _takes(one.type, type(None))
    and not one.field.metadata["none_is_a_text"]
  ):
    return None
  if _takes(one.type, str):
    return text
  try:
    value = spec.parse_value(text)
  except UserError:
    value = text
  whole = _takes(one.type, int)
  alone = int if whole else int | float
  if type(value) is not bool and isinstance(value, alone):
    kind = tuple[int, ...] if whole else tuple[float, ...]
    value = (value,) if one.type == kind else value
  numbers = value if isinstance(value, tuple) else (value,)
  several = isinstance(value, tuple) and not _takes(one.type, tuple)
  if isinstance(value, spec.Spec) and _takes(one.type, spec.Spec):
    # A bare word is nobody's schedule: nan and inf among them.
    if value.args or value.kwargs:
      return value
    numbers = ("",)
  if several or not all(_is_number(number, whole) for number in numbers):
    kind = "a whole number" if whole else "a number"
    kind += " or a schedule" if _takes(one.type, spec.Spec) else ""
    raise UserError(f"--{one.flag}={text}: expected {kind}{_allowed(one)}")
  if whole:
    return value
  return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def _is_grid(one: Option, experiment: Experiment) -> bool:
  value = value_of(experiment, one)
  return isinstance(value, tuple) and _takes(one.type, float)


def _check_number(one: Option, value: Any) -> None:
  within = one.field.metadata["within"]
  if within is None or value is None or isinstance(value, spec.Spec):
    return
  if not (math.isfinite(value) and value in within):
    raise UserError(f"--{one.flag}={value}: it must be {within}")


def _takes(annotation: Any, kind: Any) -> bool:
  """Whether a type, or one of a union, is of a kind."""
  union = isinstance(annotation, types.UnionType)
  union = union or typing.get_origin(annotation) is typing.Union
  parts = typing.get_args(annotation) if union else (annotation,)
  plain = {typing.get_origin(part) for part in parts}
  if kind is int:
    return int in parts or tuple[int, ...] in parts
  return kind in parts or kind in plain


def _is_number(value: Any, whole: bool) -> bool:
  kinds = int if whole else int | float
  return isinstance(value, kinds) and not isinstance(value, bool)


def _allowed(one: Option) -> str:
  within = one.field.metadata["within"]
  return f", {within}" if within else ""


def _text(value: tuple) -> str:
  return ",".join(f"{number:g}" for number in value)
