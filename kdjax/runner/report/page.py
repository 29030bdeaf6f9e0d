"""The report of a run: one HTML file that needs nothing beside it."""

import base64
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from kdjax.runner.report import (
  compression_table,
  embedding_table,
  formats,
  group_tables,
  label_table,
  methods,
  number_table,
  parts,
  pixel_page,
  reading,
  rounds,
  style,
  sweep_tables,
  tables,
  text,
  verdicts,
)
from kdjax.runner.report.pictures import Picture, is_png
from kdjax.runner.report.text import Table, right_aligned

# Settings that only runs with one of these results heed.
_HEEDED = {
  "search": ("methods",),
  "soft_td": ("soft_td", "rounds"),
  "synthesis": ("synthesis",),
  "quantify": ("quantify",),
  "compression": ("compression", "table"),
  "cache": (),
  "export": (),
  "language": ("text",),
  "continuation": ("text",),
}
# Settings that runs with one of these results do not heed.
_UNHEEDED = {
  "synthesis": ("teacher", "distillation", "teaching", "controls", "computing"),
  "quantify": ("teaching", "controls", "computing"),
  "table": ("teaching", "computing"),
  "rounds": ("teaching",),
  "text": ("data", "teaching", "controls"),
}


class _Tile(NamedTuple):
  label: str
  value: str
  unit: str
  colour: str


def content(
  results: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Returns what the page of a distillation run shows, see `render`.

  Args:
    history: the rows of metrics.jsonl; may be empty.
  """
  return {
    "name": results.get("name") or "Distillation report",
    "sentences": lambda: [verdicts.headline(results), *verdicts.notes(results)],
    "tiles": lambda: _tiles(results),
    "tables": table_makers(results),
    "training": lambda: (
      [tables.training_table(history, reading.score_of(results))]
      if history
      else []
    ),
  }


def render(
  results: Mapping[str, Any],
  content: Mapping[str, Any],
  figures: Mapping[str, Picture | Figure | bytes],
  left_out: list[str] | None = None,
) -> str:
  """Returns a run's report as one self-contained HTML file; all text is escaped.

  Args:
    results: as in results.json; settings, environment, times and command are shown.
    content: "name", "sentences" () -> the headline and further ones, "tiles" ()
      -> the numbers at the top, "tables" how each is made, "training" () -> the
      tables of what was logged (may be missing).
    figures: by name, as `pictures.drawn` returns them. A plain Figure, or the
      bytes of an SVG or PNG file, stands under its name as title.
  """
  return _template().render(
    name=content["name"],
    **_page_parts({"training": list} | content, figures, left_out),
    **_surroundings(results),
  )


def score_tiles(
  scores: Iterable[tuple[str, Sequence[float]]],
  titles: Mapping[str, str] | None = None,
  score: reading.Score = reading.RIGHT,
) -> list[_Tile]:
  """Returns the score of each network, for the top of a page.

  Args:
    titles: of networks that are not called as elsewhere, or None.
  """
  return [
    _Tile(
      (titles or {}).get(name) or reading.title_of(name),
      formats.with_spread(
        score.shown(values), 1 if score == reading.RIGHT else score.digits
      ),
      f"{score.words.unit} {score.title}".lstrip(),
      style.colour_of(name),
    )
    for name, values in scores
  ]


def _page_parts(
  makers: Mapping[str, Any],
  figures: Mapping[str, Picture | Figure | bytes],
  left_out: list[str] | None,
) -> dict[str, Any]:
  """What the page shows, a part that fails left out, with a note."""
  left_out = [] if left_out is None else left_out
  figure_makers = {
    name: partial(_figure, name, one) for name, one in figures.items()
  }
  whole = {"sentences", "tiles", "training"}
  sections = dict.fromkeys(whole, ()) | parts.make_parts(
    "the part", {name: makers[name] for name in sorted(whole)}, left_out
  )
  headline, *notes = sections.pop("sentences") or [""]
  return sections | {
    "headline": headline,
    "tables": text.make_tables(makers["tables"], left_out),
    "figures": list(
      parts.make_parts("the picture", figure_makers, left_out).values()
    ),
    "notes": [*notes, *left_out],
  }


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
  """The numbers at the top: the score of each network."""
  score = reading.score_of(results)
  return [
    _Tile(
      reading.title_of(name),
      formats.with_spread(score.of(entry), score.digits),
      f"{score.words.unit} {score.title}".lstrip(),
      style.colour_of(name),
    )
    for name, entry in reading.networks(results).items()
  ]


def table_makers(
  results: Mapping[str, Any], *, costs: bool = True
) -> dict[str, Callable[[], list[Table]]]:
  """Returns how the tables of what a run has are made, in the page's order.

  Args:
    costs: whether to say what the networks take, in bytes and time.
  """
  omitted, sweep = results.get("omitted_class"), results.get("sweep")
  catalogue = {
    "methods": (
      results.get("methods"),
      lambda: [methods.methods_table(results)],
    ),
    "left_out": (
      results.get("left_out"),
      lambda: [methods.left_out_table(results)],
    ),
    "networks": (True, lambda: [tables.networks_table(results)]),
    "comparisons": (
      results.get("comparisons"),
      lambda: [tables.comparisons_table(results)],
    ),
    "maps": (
      reading.is_of_pixels(results),
      lambda: pixel_page.class_tables(results),
    ),
    "labels": (
      results.get("label_names"),
      lambda: label_table.label_tables(results),
    ),
    "classes": (
      results.get("class_names"),
      lambda: group_tables.class_tables(results),
    ),
    "groups": (
      results.get("group_names"),
      lambda: group_tables.group_tables(results),
    ),
    "embeddings": (
      (results.get("student") or {}).get("spearman"),
      lambda: embedding_table.embedding_tables(results),
    ),
    "numbers": (
      number_table.has_numbers(results),
      lambda: number_table.number_tables(results),
    ),
    "omitted_class": (omitted, lambda: [tables.omitted_class_table(omitted)]),
    "rounds": (results.get("rounds"), lambda: [rounds.rounds_table(results)]),
    "sweep": (
      sweep,
      lambda: sweep_tables.tables_of(sweep, reading.score_of(results)),
    ),
    "compression": (
      results.get("compression") and costs,
      lambda: [compression_table.compression_table(results)],
    ),
    "costs": (costs, lambda: [tables.cost_table(results)]),
  }
  return {
    name: make for name, (has_data, make) in catalogue.items() if has_data
  }


def _figure(name: str, picture: Picture | Figure | bytes) -> dict[str, str]:
  if not isinstance(picture, Picture):
    picture = Picture(picture, name)
  data = picture.figure
  if not isinstance(data, bytes):
    data = style.to_png(data) if picture.raster else style.to_svg(data)
  # An image apart, not markup in the page: the ids of two SVGs would clash.
  kind = "image/png" if is_png(data) else "image/svg+xml"
  text = base64.b64encode(data).decode("ascii")
  return {
    "source": f"data:{kind};base64,{text}",
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
  for part, sources in _HEEDED.items():
    if not any(results.get(one) for one in sources):
      experiment.pop(part, None)
  for result, others in _UNHEEDED.items():
    for part in others if results.get(result) else ():
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
    loader=jinja2.PackageLoader("kdjax.runner.report", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals["right_aligned"] = right_aligned
  return environment.get_template("page.html.jinja")
