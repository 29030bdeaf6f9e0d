"""What a sweep allows to choose, in sentences made from its numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.runner.report import formats, reading

# Cells that a sentence names.
NAMED = 3


def like_best(sweep: Mapping[str, Any]) -> np.ndarray | None:
  """Says which cells a paired test cannot tell from the best one.

  Returns:
    Bool, of the form of the sweep's axes, True for the best itself; None where
    nothing was tested.

  Example:
    >>> cells = [{"versus_best": None}, {"versus_best": {"holm_p_value": 0.01}}]
    >>> like_best({"axes": {"t": [1, 2]}, "cells": {"student": cells}})
    array([ True, False])
  """
  cells = (sweep.get("cells") or {}).get("student") or []
  if not cells or "versus_best" not in cells[0]:
    return None
  like = [not _differs(cell["versus_best"]) for cell in cells]
  return np.reshape(like, [len(values) for values in sweep["axes"].values()])


def sentences(results: Mapping[str, Any]) -> list[str]:
  """Returns what to choose after a sweep, and how sure that is."""
  sweep = results.get("sweep") or {}
  like = like_best(sweep) if sweep.get("recommendation") else None
  if like is None:
    return []
  cells = sweep["cells"]["student"]
  best = next(cell for cell in cells if cell["versus_best"] is None)
  held_out = reading.on_held_out(results)
  return [
    _recommended(sweep, best, reading.score_of(results)),
    *_others(sweep, cells, like, reading.score_of(results)),
    *_at_an_end(sweep),
    f"The best of {len(cells)} looks better than it is on the images that chose"
    " it. "
    + (
      "These were held out of the training images: measure it on the test set,"
      f" without --validation and with {_flags(sweep['recommendation'])}."
      if held_out
      else "These were the test images: --validation=0.2 chooses on training"
      " images that are held out, and leaves the test set for the measurement."
    ),
    *effort(results),
  ]


def effort(results: Mapping[str, Any]) -> list[str]:
  """Returns how long the networks took, in one sentence.

  Example:
    >>> taken = {"train_seconds": 9.0, "compile_seconds": 3.0, "members": 90}
    >>> effort({"performance": {"student + baseline": taken}})
    ['90 networks trained in 9.0 s, 0.10 s each; 3.0 s of it to compile.']
  """
  for name, effort_of in (results.get("performance") or {}).items():
    seconds, members = effort_of.get("train_seconds"), effort_of.get("members")
    if "student" not in name.split(" + ") or not (seconds and members):
      continue
    most_members = effort_of.get("members_at_once")
    text = (
      f"{members} networks trained in {formats.duration(seconds)},"
      f" {seconds / members:.2f} s each"
    )
    if most_members and most_members < members:
      text += f", at most {most_members} side by side"
    if effort_of.get("compile_seconds") is not None:
      text += (
        f"; {formats.duration(effort_of['compile_seconds'])} of it to compile"
      )
    return [f"{text}."]
  return []


def _differs(comparison: Mapping[str, Any] | None) -> bool:
  p_value = (comparison or {}).get("holm_p_value")
  return reading.finite(p_value) and p_value < reading.SIGNIFICANT


def _recommended(
  sweep: Mapping[str, Any], best: Mapping[str, Any], score: reading.Score
) -> str:
  values = score.shown(best[score.name])
  p_text = (
    f"{formats.with_spread(values, score.digits)} {score.words.unit}".rstrip()
  )
  beside = best["versus_baseline"]
  text = (
    f"Recommended: {_cell(sweep['recommendation'])}, with a {score.title} of"
    f" {p_text}"
  )
  if len(values) == 1:
    return f"{text} of a single seed."
  better = "lower" if beside["mean"] < 0 else "higher"
  sure = "" if _differs(beside) else ", which may be chance"
  p_value = formats.p_value(beside["holm_p_value"])
  by = f"{abs(beside['mean']):.{score.digits}f} {score.points}".rstrip()
  return (
    f"{text} over {len(values)} seeds, {by}"
    f" {better} than the baseline's{sure} (p {_equals(p_value)})."
  )


def _others(sweep, cells, like, score) -> list[str]:
  """Which cells may be as good as the best."""
  if len(cells[0][score.name]) < 2:
    return ["With one seed no cell can be told from another; try --seeds=5."]
  others = [
    {name: cell[name] for name in sweep["axes"]}
    for cell, same in zip(cells, like.ravel(), strict=True)
    if same and cell["versus_best"] is not None
  ]
  text = (
    f"{len(others)} of the other {len(cells) - 1} cells cannot be told from it"
    " (p ≥ 0.05, paired t-tests over the seeds, after Holm's correction)"
  )
  if 0 < len(others) <= NAMED:
    text += f": {'; '.join(map(_cell, others))}"
  more = " More --seeds would tell more of them apart."
  return [f"{text}.{more if 2 * len(others) >= len(cells) else ''}"]


def _at_an_end(sweep: Mapping[str, Any]) -> list[str]:
  """Names axes beyond whose end the best may lie."""
  ends = [
    reading.axis_title(name).lower()
    for name, values in sweep["axes"].items()
    if len(values) > 2
    and sweep["recommendation"][name] in (min(values), max(values))
    and sweep["recommendation"][name] != 0
  ]
  if not ends:
    return []
  return [
    f"It lies at the end of the values tried for {' and '.join(ends)}: go on"
    " beyond."
  ]


def _cell(settings: Mapping[str, float]) -> str:
  return ", ".join(
    f"{reading.axis_title(name).lower()} {formats.setting(value)}"
    for name, value in settings.items()
  )


def _flags(settings: Mapping[str, float]) -> str:
  return " ".join(f"--{name}={value:g}" for name, value in settings.items())


def _equals(text: str) -> str:
  return text if text.startswith("<") else f"= {text}"
