"""The report of a run: one HTML file that needs nothing beside it."""

import base64
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from kdjax.errors import StorageError
from kdjax.report import (
  compression,
  formats,
  methods,
  reading,
  rounds,
  style,
  sweep_tables,
  tables,
  verdicts,
)
from kdjax.report.pictures import Picture, is_png
from kdjax.report.text import Table, right_aligned

# Settings that only runs with one of these results heed.
_HEEDED = {
  "search": ("methods",),
  "soft_td": ("soft_td", "rounds"),
  "synthesis": ("synthesis",),
  "quantify": ("quantify",),
  "compression": ("compression", "table"),
  "cache": (),
  "export": (),
}
# Settings that runs with one of these results do not heed.
_UNHEEDED = {
  "synthesis": ("teacher", "distillation", "teaching", "controls", "computing"),
  "quantify": ("teaching", "controls", "computing"),
  "table": ("teaching", "computing"),
  "rounds": ("teaching",),
}


class _Tile(NamedTuple):
  label: str
  value: str
  unit: str
  colour: str


def write_page(
  path: str | Path,
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]],
  figures: Mapping[str, Picture | Figure | bytes],
) -> Path:
  """Writes a run's report as one self-contained HTML file.

  Args:
    path: of the file; its folder is made if it is not there.
    results: as in results.json.
    history: the rows of metrics.jsonl; may be empty.
    figures: by name, as `pictures.draw` returns them. A plain Figure, or the
      bytes of an SVG or PNG file, stands under its name as title.

  Returns:
    The path.

  Raises:
    StorageError: if the file cannot be written.
  """
  path = Path(path)
  html = render_page(results, history, figures)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
  except OSError as error:
    raise StorageError(f"cannot write the report {path}: {error}") from error
  return path


def write_html(path: str | Path, parts: Mapping[str, Any]) -> Path:
  """Writes a page of the house's form that is no distillation run's.

  Args:
    path: of the file, in a folder that is there.
    parts: "name", "headline", "notes", "accuracies" (network and accuracies),
      "titles" of networks that are not called as elsewhere (may be missing),
      "tables", "figures" by name, and "results", for its settings, environment,
      times and command.

  Returns:
    The path.

  Raises:
    StorageError: if the file cannot be written.
  """
  results = parts["results"]
  html = _template().render(
    name=parts["name"],
    headline=parts["headline"],
    notes=parts["notes"],
    tiles=[
      _Tile(
        parts.get("titles", {}).get(name) or reading.title_of(name),
        formats.with_spread([100 * x for x in values], 1),
        "% test accuracy",
        style.colour_of(name),
      )
      for name, values in parts["accuracies"]
    ],
    tables=parts["tables"],
    figures=[_shown(name, one) for name, one in parts["figures"].items()],
    training=[],
    **_surroundings(results),
  )
  try:
    Path(path).write_text(html, encoding="utf-8")
  except OSError as error:
    raise StorageError(f"cannot write the report {path}: {error}") from error
  return Path(path)


def render_page(
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]],
  figures: Mapping[str, Picture | Figure | bytes],
) -> str:
  """Returns the HTML that `write_page` writes; all text is escaped.

  Args:
    results: as in results.json.
    history: the rows of metrics.jsonl; may be empty.
    figures: as for `write_page`.
  """
  return _template().render(
    name=results.get("name") or "Distillation report",
    headline=verdicts.headline(results),
    notes=verdicts.notes(results),
    tiles=_tiles(results),
    tables=tables_of(results),
    figures=[_shown(name, figure) for name, figure in figures.items()],
    training=[tables.training_table(history)] if history else [],
    **_surroundings(results),
  )


def _surroundings(results: Mapping[str, Any]) -> dict[str, Any]:
  """Settings, environment, times and command."""
  return {
    "settings": _settings(results),
    "environment": _flat(results.get("environment") or {}),
    "seconds": [
      (_label(name), formats.duration(seconds))
      for name, seconds in (results.get("seconds") or {}).items()
    ],
    "command": results.get("command"),
  }


def _tiles(results: Mapping[str, Any]) -> list[_Tile]:
  """The numbers at the top: the test error of each network."""
  return [
    _Tile(
      reading.title_of(name),
      formats.with_spread(reading.errors_in_percent(entry)),
      "% test error",
      style.colour_of(name),
    )
    for name, entry in reading.networks(results).items()
  ]


def tables_of(results: Mapping[str, Any], *, costs: bool = True) -> list[Table]:
  """Returns the tables of what a run has, in the order of the page.

  Args:
    results: as in results.json.
    costs: whether to say what the networks take, in bytes and time.
  """
  chosen = []
  if results.get("methods"):
    chosen.append(methods.methods_table(results))
  chosen.append(tables.networks_table(results))
  if results.get("comparisons"):
    chosen.append(tables.comparisons_table(results))
  if results.get("omitted_class"):
    chosen.append(tables.omitted_class_table(results["omitted_class"]))
  if results.get("rounds"):
    chosen.append(rounds.rounds_table(results))
  if results.get("sweep"):
    chosen += sweep_tables.tables_of(results["sweep"])
  if results.get("compression") and costs:
    chosen.append(compression.compression_table(results))
  return [*chosen, tables.cost_table(results)] if costs else chosen


def _shown(name: str, picture: Picture | Figure | bytes) -> dict[str, str]:
  if not isinstance(picture, Picture):
    picture = Picture(picture, name)
  data = picture.figure
  if not isinstance(data, bytes):
    data = style.to_png(data) if picture.raster else style.to_svg(data)
  # An image apart, not markup in the page: the ids of two SVGs would clash.
  kind = "image/png" if is_png(data) else "image/svg+xml"
  encoded = base64.b64encode(data).decode("ascii")
  return {
    "source": f"data:{kind};base64,{encoded}",
    "title": picture.title,
    "caption": picture.caption,
  }


def _settings(
  results: Mapping[str, Any],
) -> list[tuple[str, list[tuple[str, str]]]]:
  """The settings by part; those that stand in no part come first.

  Parts of other commands, which this run did not heed, are left out.
  """
  experiment = dict(results.get("experiment") or {})
  for part, needed in _HEEDED.items():
    if not any(results.get(one) for one in needed):
      experiment.pop(part, None)
  for result, parts in _UNHEEDED.items():
    for part in parts if results.get(result) else ():
      experiment.pop(part, None)
  if not (experiment.get("cluster") or {}).get("multihost"):
    experiment.pop("cluster", None)
  alone = {
    key: value
    for key, value in experiment.items()
    if not isinstance(value, Mapping)
  }
  parts = [("Experiment", _flat(alone))] if alone else []
  parts += [
    (_label(key), _flat(value))
    for key, value in experiment.items()
    if isinstance(value, Mapping)
  ]
  return parts


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
  rows = []
  for key, value in values.items():
    if isinstance(value, Mapping) and value:
      rows += _flat(value, f"{prefix}{key}.")
    else:
      rows.append((f"{prefix}{key}", formats.setting(value)))
  return rows


def _label(name: str) -> str:
  return name.replace("_", " ").capitalize()


@functools.cache
def _template() -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("kdjax.report", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals["right_aligned"] = right_aligned
  return environment.get_template("page.html.jinja")
