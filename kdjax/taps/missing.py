"""Why a tap found nothing, in words that lead to one that does."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from kdjax.core.errors import UserError
from kdjax.taps.grammar import (
  Path,
  Tap,
  TapError,
  covers,
  covers_path,
  natural,
  shorten_names,
)


@dataclasses.dataclass
class CalledModules:
  """What ran while taps were looked for.

  Attributes:
    kinds: the modules' types by path, in the order of execution.
    calls: how often each method of each module was called.
  """

  kinds: dict[Path, str] = dataclasses.field(default_factory=dict)
  calls: dict[tuple[Path, str], int] = dataclasses.field(default_factory=dict)

  def add(self, module: object, path: Path, method: str) -> None:
    self.kinds.setdefault(path, type(module).__name__)
    self.calls[path, method] = self.calls.get((path, method), 0) + 1


def gather_taps(
  patterns: Iterable[Tap], values: Mapping[Tap, Any], modules: CalledModules
) -> dict[str, Any]:
  """Keeps what was asked for, under its text.

  Args:
    patterns: what was asked for, perhaps with globs.
    values: values by place, more than were asked for perhaps.

  Returns:
    Features by the text of their taps.

  Example:
    >>> values = {Tap(("a",)): 1, Tap(("a",), call=1): 2}
    >>> gather_taps([Tap(("?",))], values, CalledModules())
    {'a': 1}
  """
  feats = {}
  for pattern in patterns:
    taps = {str(tap): tap for tap in values if covers(pattern, tap)}
    if not taps:
      raise not_reached(pattern, modules)
    feats |= {text: values[taps[text]] for text in sorted(taps, key=natural)}
  return feats


def not_reached(tap: Tap, modules: CalledModules) -> UserError:
  """Makes the error for a tap that found nothing.

  Args:
    tap: what was asked for, perhaps with globs.

  Returns:
    A UserError that says how far the tap led and what there is instead.

  Example:
    >>> modules = CalledModules()
    >>> modules.add(object(), ("stage_0",), "__call__")
    >>> print(not_reached(Tap(("stage_1",)), modules))
    tap 'stage_1' is not reached; did you mean 'stage_0'? There is: stage_0
  """
  same = [path for path in modules.kinds if covers_path(tap.path, path)]
  if not same:
    return _no_module(tap, modules)
  calls = {
    method: modules.calls[path, method]
    for path in same
    for method in _methods(modules, path)
  }
  where = "/".join(same[0]) or "the network"
  if tap.method not in calls:
    ran = (
      f"ran {shorten_names(sorted(calls))}, not" if calls else "does not run"
    )
    return TapError(tap, f"is not reached: {where} {ran} {tap.method}")
  if tap.site == "weights" and not tap.call:
    return TapError(
      tap,
      f"is not reached: {where} is a {modules.kinds[same[0]]}, and only"
      " the stock attention layers show their weights",
    )
  times = calls[tap.method]
  if not times:
    return TapError(tap, f"is not reached: {where} was not called")
  if tap.call < times:
    return TapError(
      tap,
      f"is not reached: {where} ran inside a transform, such as"
      " nn.cond, that keeps its values",
    )
  return TapError(
    tap,
    f"is not reached: {where} was called {times}"
    f" time{'s' * (times != 1)}, so the last call is #{times - 1}",
  )


def hidden(tap: Tap, collection: str) -> UserError:
  """Makes the error for a module whose values cannot leave a lifted transform.

  Args:
    collection: the variable collection that would let them out.

  Returns:
    A UserError that says how to make the layer visible.

  Example:
    >>> print(hidden(Tap(("layers", "dense")), "taps"))
    tap 'layers/dense' runs under nn.scan, nn.vmap or another transform that keeps
    its values inside; add "taps" to the transform's variable_axes, as in
    variable_axes={"params": 0, "taps": 0}: the feature then has that axis
  """
  return TapError(
    tap,
    f"runs under nn.scan, nn.vmap or another transform that keeps its"
    f' values inside; add "{collection}" to the transform\'s variable_axes, as in'
    f' variable_axes={{"params": 0, "{collection}": 0}}: the feature then has that'
    " axis",
  )


def _no_module(tap: Tap, modules: CalledModules) -> UserError:
  paths = ["/".join(path) for path in modules.kinds if path]
  near = difflib.get_close_matches("/".join(tap.path), paths, n=1, cutoff=0.5)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  there = shorten_names(paths) or "no module but the network itself"
  return TapError(tap, f"is not reached{hint} There is: {there}")


def _methods(modules: CalledModules, path: Path) -> list[str]:
  return [method for where, method in modules.calls if where == path]
