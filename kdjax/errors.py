"""Errors that end a run: one clear line for people, one exit status for scripts."""

import difflib
import io
import sys
from collections.abc import Iterable


class KdjaxError(Exception):
  """An error whose message is all that the user needs to see."""

  exit_status = 1


class UserError(KdjaxError):
  """The user's mistake, found before anything was compiled or written."""

  exit_status = 2


class DivergedError(KdjaxError):
  """Training left the finite numbers."""

  exit_status = 3


class StorageError(KdjaxError):
  """A file that should be readable or writable is not, or is damaged."""

  exit_status = 4


class InfrastructureError(KdjaxError):
  """Something that the run stands on is gone, such as one of its processes."""

  exit_status = 70


class PreemptedError(KdjaxError):
  """The run was asked to stop, and saved what it has."""

  exit_status = 75


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UserError:
  """Returns the error for a name that is not among the choices.

  Args:
    kind: what the name should have named, such as "model".
    name: what was given.
    choices: the names that exist.

  Returns:
    A UserError that gives the nearest name and all choices.

  Example:
    >>> print(unknown_name("method", "fitnet", ["fitnets", "kd"]))
    unknown method 'fitnet'; did you mean 'fitnets'? Choices: fitnets, kd
  """
  choices = sorted(choices)
  near = difflib.get_close_matches(name.lower(), choices, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  return UserError(
    f"unknown {kind} {name!r}{hint} Choices: {', '.join(choices)}"
  )


def print_any_name() -> None:
  """Lets stdout and stderr print what their encoding has no form for, as codes.

  Names of files and classes need not be text.

  Example:
    >>> print_any_name()
  """
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")


def warn(text: str) -> None:
  """Says on stderr what does not end a run.

  Args:
    text: one line.
  """
  print(f"launch.py: warning: {text}", file=sys.stderr, flush=True)


def counted(count: int, noun: str, several: str | None = None) -> str:
  """Writes a number of things.

  Args:
    count: how many.
    noun: what one of them is.
    several: what more are; the noun with an s by default.

  Example:
    >>> counted(1, "image"), counted(2, "image"), counted(0, "class", "classes")
    ('1 image', '2 images', '0 classes')
  """
  return f"{count} {noun if count == 1 else several or noun + 's'}"
