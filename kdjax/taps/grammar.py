"""The text that names a place in a network: `path/to/module:in#1`.

    path/to/module[.method][:in|:out|:weights][#call]

Left out, the method is `__call__`, the place `:out` and the call `#0`. `*`, `?`
and `[...]` in the path stand for characters of one segment; they never cross a
`/`. An empty path is the whole network: `:in`, `:out`, `.encode`.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax

from kdjax.core.errors import UserError, unknown_name

SITES = ("in", "out", "weights")
_FORM = "path/to/module[.method][:in|:out|:weights][#call]"
_TEXT = re.compile(
  r"(?P<path>[^.:#]*)(?:\.(?P<method>[^.:#/]*))?"
  r"(?::(?P<site>[^.:#/]*))?(?:#(?P<call>[^.:#/]*))?"
)
_SEGMENT = re.compile(r"[^\s/]+")

Path = tuple[str, ...]


class Tap(NamedTuple):
  """A place in a network; `str` writes it without what goes without saying.

  Attributes:
    path: names of the modules from the outside in; () is the whole network.
    method: the method called.
    site: "in" (the first positional input), "out" or "weights".
    call: which call of a module that is called several times, from 0.
  """

  path: Path
  method: str = "__call__"
  site: str = "out"
  call: int = 0

  def __str__(self) -> str:
    method = "" if self.method == "__call__" else f".{self.method}"
    plain = self.site == "out" and (self.path or method)
    site = "" if plain else f":{self.site}"
    call = f"#{self.call}" if self.call else ""
    return "/".join(self.path) + method + site + call


class TapError(UserError):
  """A tap that finds nothing.

  Attributes:
    tap: what was asked for.
    reason: what became of it.
    whose: of which network, where that is known: "student" or "teacher".
  """

  def __init__(self, tap: Tap, reason: str, whose: str | None = None):
    self.tap, self.reason, self.whose = tap, reason, whose
    of = f"the {whose}'s " if whose else ""
    super().__init__(f"{of}tap '{tap}' {reason}")


def parse_tap(text: str) -> Tap:
  """Reads a tap.

  Args:
    text: for example "stage_2", "head:in", "shared#1", "stage_*/attention:weights".

  Returns:
    The Tap; its path may hold globs.

  Raises:
    UserError: if the text is no tap; says what is wrong with it.

  Example:
    >>> parse_tap("stage_0/activation:in")
    Tap(path=('stage_0', 'activation'), method='__call__', site='in', call=0)
    >>> print(parse_tap("shared.__call__:out#0"))
    shared
  """
  if not isinstance(text, str):
    raise _bad(text, "a tap is a text in quotes, such as 'stage_0'")
  match = _TEXT.fullmatch(text)
  if not text or not match:
    raise _bad(text, f"a tap is {_FORM}")
  path, method, site, call = match.group("path", "method", "site", "call")
  if site is not None and site not in SITES:
    raise unknown_name(f"place in the tap {text!r}:", site, SITES)
  if call is not None and not (call.isascii() and call.isdigit()):
    raise _bad(text, f"behind '#' comes a call's number, not {call!r}")
  if method is not None and not method.isidentifier():
    raise _bad(text, f"behind '.' comes a method's name, not {method!r}")
  segments = tuple(path.split("/")) if path else ()
  for segment in segments:
    if not _SEGMENT.fullmatch(segment):
      raise _bad(text, "a name in its path is empty or has a space")
    if "**" in segment:
      raise _bad(text, "'*' never crosses '/', so there is no '**'")
  return Tap(segments, method or "__call__", site or "out", int(call or 0))


def parse_taps(taps: str | Iterable[str]) -> tuple[Tap, ...]:
  """Reads several taps.

  Example:
    >>> [str(tap) for tap in parse_taps(["stage_0:out", "head:in"])]
    ['stage_0', 'head:in']
  """
  return tuple(map(parse_tap, [taps] if isinstance(taps, str) else taps))


def covers(pattern: Tap, tap: Tap) -> bool:
  """Says whether a pattern names a place.

  Returns:
    True where every segment, the method, the site and the call agree.
  """
  return pattern[1:] == tap[1:] and covers_path(pattern.path, tap.path)


def covers_path(pattern: Path, path: Path) -> bool:
  """Says whether a path with globs names a path.

  Returns:
    True where both have as many segments and every one agrees.
  """
  return len(pattern) == len(path) and all(
    fnmatch.fnmatchcase(name, glob)
    for glob, name in zip(pattern, path, strict=True)
  )


def natural(text: str) -> list:
  """Returns the sort key that puts stage_2 before stage_10.

  Example:
    >>> sorted(["stage_10", "stage_2"], key=natural)
    ['stage_2', 'stage_10']
  """
  return [
    int(part) if part.isdecimal() else part
    for part in re.split(r"(\d+)", text, flags=re.ASCII)
  ]


def select(feats: Mapping[str, Any], pattern: str) -> tuple[jax.Array, ...]:
  """Picks the features that a tap names.

  Args:
    feats: features by tap, as tapping returns them.
    pattern: a tap, with or without globs.

  Returns:
    The features in natural order: stage_2 before stage_10.

  Raises:
    UserError: if there is none; lists those that there are.

  Example:
    >>> feats = {"stage_10": jnp.ones(1), "stage_2": jnp.zeros(1), "head:in": 0}
    >>> select(feats, "stage_*")
    (Array([0.], dtype=float32), Array([1.], dtype=float32))
  """
  return tuple(feats[key] for key in _keys(feats, pattern))


def pick(feats: Mapping[str, Any], tap: str) -> jax.Array:
  """Picks the one feature that a tap names.

  Args:
    feats: features by tap, as tapping returns them.
    tap: a tap; with globs if it still names exactly one feature.

  Returns:
    The feature.

  Raises:
    UserError: if there is none, or several; lists them.

  Example:
    >>> pick({"stage_0": 0, "head:in": 1}, "head.__call__:in")
    1
  """
  keys = _keys(feats, tap)
  if len(keys) > 1:
    raise UserError(
      f"tap {tap!r} names {len(keys)} features where one is needed:"
      f" {shorten_names(keys)}"
    )
  return feats[keys[0]]


def shorten_names(names: Iterable[str], most: int = 12) -> str:
  """Writes names in a row, and only says how many the rest are.

  Example:
    >>> shorten_names(["a", "b", "c"], most=2)
    'a, b ... and 1 more'
  """
  names = list(names)
  rest = f" ... and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + rest


def _keys(feats: Mapping[str, Any], pattern: str) -> list[str]:
  tap = parse_tap(pattern)
  keys = [key for key in feats if covers(tap, parse_tap(key))]
  if not keys:
    there = shorten_names(sorted(feats, key=natural)) or "none"
    raise UserError(f"tap {pattern!r} names no feature. There is: {there}")
  return sorted(keys, key=natural)


def _bad(text: str, reason: str) -> UserError:
  return UserError(f"cannot read the tap {text!r}: {reason}")
