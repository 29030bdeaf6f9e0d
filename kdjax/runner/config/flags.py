"""Which flags each command has, and what is said of those that it does not have.

A command's flags are the settings of its class, see `commands`; configs below are
these classes by command.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.core.errors import UserError, program
from kdjax.runner.config import Experiment
from kdjax.runner.config.data import Source, StoredData
from kdjax.runner.config.language import Language
from kdjax.runner.config.options import Option, as_flag, options, value_of

Configs = Mapping[str, type]


def contains(config: type, part: type) -> bool:
  """Says whether a command's class has a part of the settings, or more of it.

  Example:
    >>> from kdjax.runner.config.commands import ExportConfig, ListConfig
    >>> contains(ListConfig, Source), contains(ExportConfig, Source)
    (True, False)
  """
  return any(issubclass(one.type, part) for one in dataclasses.fields(config))


def takes_experiment(config: type) -> bool:
  """Says whether a command's settings may come from an experiment."""
  return contains(config, Source) or contains(config, Language)


def trains(config: type) -> bool:
  """Says whether a command trains, and does not only look at single settings."""
  return contains(config, StoredData) or contains(config, Language)


def by_flag(config: type) -> dict[str, Option]:
  """Returns a command's settings by flag."""
  return {one.flag: one for one in options(config)}


def check_typed(
  command: str, values: Mapping[str, Any], configs: Configs
) -> None:
  """Refuses the flags of other commands."""
  config = configs[command]
  command_flags = {"experiment"} if takes_experiment(config) else set()
  command_flags |= {flag for one in options(config) for flag in one.flags}
  order = ["experiment", *by_flag(Experiment)]
  foreign = sorted(values.keys() - command_flags, key=[*order, *values].index)
  for name in foreign[:1]:
    value = values[name]
    text = f"--{name}={value}"
    if isinstance(value, bool):
      text = f"--{'' if value else 'no'}{name}"
    raise no_such_flag(command, name, text, configs)


def no_such_flag(
  command: str, name: str, text: str, configs: Configs
) -> UserError:
  """Returns the error for a flag that a command does not have.

  Example:
    >>> from kdjax.runner.config.commands import CacheConfig
    >>> print(no_such_flag("cache", "vews", "--vews=4", {"cache": CacheConfig}))
    --vews=4: cache has no such flag; did you mean --views? (launch.py cache --help)
  """
  having = _having(name, configs)
  # Another command's flag is seldom a slip of the pen.
  near = difflib.get_close_matches(
    name, by_flag(configs[command]), n=1, cutoff=0.8 if having else 0.6
  )
  hint = f"; did you mean --{near[0]}?" if near else ""
  if having:
    hint += f"; {_listed(having)} {'has' if len(having) == 1 else 'have'} it"
  page = (having or [command])[0]
  return UserError(
    f"{text}: {command} has no such flag{hint} ({program()} {page} --help)"
  )


def check_experiment(
  command: str, name: str, settings: Experiment, configs: Configs
) -> None:
  """Refuses an experiment that sets what a command would have to pass over."""
  command_options = by_flag(configs[command])
  # A command on texts takes nothing of an experiment with images: not its rate, either.
  alone = not contains(configs[command], Source)
  for one in options() if trains(configs[command]) else ():
    value, decisive = value_of(settings, one), one.decisive or alone
    if (
      decisive
      and one.flag not in command_options
      and value != one.field.default
    ):
      having = _having(one.flag, configs)
      raise UserError(
        f"{as_flag(one, value)}: the experiment {name} sets it, and {command}"
        f" does not heed it; {_listed(having)}"
        f" {'does' if len(having) == 1 else 'do'}"
      )


def _having(flag: str, configs: Configs) -> list[str]:
  """The commands that have a flag."""
  return [
    command
    for command, config in configs.items()
    if any(flag in one.flags for one in options(config))
  ]


def _listed(names: Sequence[str]) -> str:
  """Names with commas, the last with "and"."""
  return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
