"""Errors that end a run: one clear line for people, one exit status for scripts."""

import difflib
import errno
import io
import os
import pathlib
import select
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


class TeacherError(InfrastructureError):
  """A teacher that is asked over a network answers wrongly, or not at all."""


class PreemptedError(KdjaxError):
  """The run was asked to stop, and saved what it has."""

  exit_status = 75


# What a disk says that is full, or broken, or does not take so long a file.
_FULL = {
  os.strerror(number): number
  for number in (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
  )
}


def of_storage(error: BaseException) -> StorageError | None:
  """Finds out whether a disk is what an error nobody expected comes from.

  Args:
    error: what was raised; what it was raised from is looked at too.

  Returns:
    One line that names the file where the error does; None if it does not come
    from a disk. Libraries call a full disk an exhausted resource, as they do
    memory that is used up.

  Example:
    >>> print(of_storage(OSError(28, "No space left on device", "a.json")))
    cannot write a.json: No space left on device
    >>> of_storage(ValueError("RESOURCE_EXHAUSTED: Out of memory")) is None
    True
  """
  causes: list[BaseException] = []
  while error is not None and error not in causes:
    causes.append(error)
    reason = (str(error).splitlines() or [""])[0]
    if isinstance(error, OSError) and error.errno in _FULL.values():
      file = error.filename or "a file"
      verb = "read or write" if error.errno == errno.EIO else "write"
      return StorageError(f"cannot {verb} {file}: {os.strerror(error.errno)}")
    if any(text in str(error) for text in _FULL):
      return StorageError(f"cannot write: {reason}")
    error = error.__cause__ or error.__context__
  return None


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


def close_unread() -> bool:
  """Finds out whether nobody reads stdout or stderr any more, as after `| head`.

  What is still to be printed there is lost without a word.

  Example:
    >>> close_unread()
    False
  """
  unread = []
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
      # What is empty tells of the end as well.
      poll = select.poll()
      poll.register(stream.fileno(), 0)
      if any(event & select.POLLERR for _, event in poll.poll(0)):
        unread.append(stream)
    except BrokenPipeError:
      unread.append(stream)
    except (OSError, ValueError):  # no file of the system, or closed
      continue
  for stream in unread:
    with open(os.devnull, "wb") as nowhere:
      os.dup2(nowhere.fileno(), stream.fileno())
  return bool(unread)


def program() -> str:
  """Returns how messages call the runner: as it was started.

  Example:
    >>> program()
    'launch.py'
  """
  path = pathlib.PurePath(sys.argv[0])
  module = path.parts[-2:] == ("kdjax", "__main__.py")
  return "kdjax" if module or path.stem == "kdjax" else "launch.py"


def warn(text: str, speaker: str | None = None) -> None:
  """Says on stderr what does not end a run.

  Args:
    text: one line.
    speaker: who says so; by default the runner, as it was started.
  """
  who = speaker or program()
  print(f"{who}: warning: {text}", file=sys.stderr, flush=True)


def quantity(count: int, noun: str, several: str | None = None) -> str:
  """Writes a number of things.

  Args:
    count: how many.
    noun: what one of them is.
    several: what more are; the noun with an s by default.

  Example:
    >>> quantity(1, "image"), quantity(2, "image"), quantity(0, "class", "classes")
    ('1 image', '2 images', '0 classes')
  """
  return f"{count} {noun if count == 1 else several or noun + 's'}"
