"""All pictures that some results allow, each with a title and how to read it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from kdjax.core.errors import StorageError
from kdjax.runner.report import (
  examples,
  methods,
  parts,
  pixel_page,
  plots,
  reading,
  style,
  sweeps,
)


class Picture(NamedTuple):
  """A figure with what belongs around it on the page.

  `figure` is a matplotlib Figure, or the bytes of an SVG or PNG file. `raster`
  asks for PNG on the page, which is smaller where the figure holds photographs.
  `file` is the content of the file beside the page, where it is drawn already.
  """

  figure: Figure | bytes
  title: str
  caption: str = ""
  raster: bool = False
  file: bytes | None = None


def makers(
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]] = (),
  samples: Mapping[str, Any] | None = None,
) -> dict[str, Callable[[], Picture]]:
  """Returns how each picture is drawn that the given values suffice for.

  Args:
    samples: the keyword arguments of `examples.soft_targets_figure`, or of
      `pixel_page.maps_figure`; or None.
  """
  catalogue = _catalogue(results, history, samples)
  return {
    name: partial(_named, results, make)
    for name, (has_data, make) in catalogue.items()
    if has_data
  }


def _named(results: Mapping[str, Any], make: Callable[[], Picture]) -> Picture:
  """Draws a picture whose words call the examples what they are."""
  picture = make()
  title, caption = (
    reading.of_examples(results, text)
    for text in (picture.title, picture.caption)
  )
  return picture._replace(title=title, caption=caption)


def drawn(
  makers: Mapping[str, Callable[[], Picture]], left_out: list[str]
) -> dict[str, Picture]:
  """Draws all pictures that can be drawn, as the bytes of files."""
  ready = {
    name: lambda make=make: _rendered(make()) for name, make in makers.items()
  }
  return parts.make_parts("the picture", ready, left_out)


def save_figures(
  folder: str | Path, figures: Mapping[str, Picture | Figure | bytes]
) -> list[Path]:
  """Writes figures as files, `<name>.png` each (`.svg` for the bytes of one)."""
  folder, paths = Path(folder), []
  for name, picture in figures.items():
    drawing = picture
    if isinstance(picture, Picture):
      drawing = picture.file or picture.figure
    data = drawing if isinstance(drawing, bytes) else style.to_png(drawing)
    path = folder / f"{name}.{'png' if is_png(data) else 'svg'}"
    try:
      folder.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)
    except OSError as error:
      raise StorageError(f"cannot write {path}: {error}") from error
    paths.append(path)
  return paths


def _rendered(picture: Picture) -> Picture:
  """A picture as bytes: many fail where they are laid out, not before."""
  if isinstance(picture.figure, bytes):
    return picture
  file = style.to_png(picture.figure)
  drawing = file if picture.raster else style.to_svg(picture.figure)
  return picture._replace(figure=drawing, file=file)


def is_png(data: bytes) -> bool:
  """Returns whether bytes are those of a PNG file."""
  return data.startswith(b"\x89PNG")


def _catalogue(
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]],
  samples: Mapping[str, Any] | None,
) -> dict[str, tuple[bool, Callable[[], Picture]]]:
  networks, score = reading.networks(results), reading.score_of(results)
  sweep, omitted = results.get("sweep"), results.get("omitted_class")
  return {
    "methods": (bool(results.get("methods")), lambda: _methods(results)),
    "accuracy": (
      any(name != "teacher" for name in networks),
      lambda: _accuracy(results),
    ),
    "curves": (
      bool(reading.rows_by_network(history)),
      lambda: _curves(history, score),
    ),
    "soft_targets": (
      bool(samples) and "divergence" not in samples,
      lambda: _soft_targets(samples),
    ),
    "maps": (
      bool(samples) and "divergence" in samples,
      lambda: _maps(samples),
    ),
    "agreement": (
      any(
        reading.numbers(entry.get("agreement")).size
        for name, entry in networks.items()
        if name != "teacher"
      ),
      lambda: _agreement(results),
    ),
    "sweep": (bool(sweep), lambda: _sweep(sweep, score)),
    "omitted_class": (bool(omitted), lambda: _omitted_class(omitted)),
  }


def _methods(results: Mapping[str, Any]) -> Picture:
  title = reading.score_of(results).title
  return Picture(
    methods.methods_figure(results),
    f"T{title[1:]} of every method",
    "A dot is one seed, the tick their mean. Each arm has had the same number of"
    " tries on held-out images; dashed: baseline, dotted: kd.",
  )


def _accuracy(results: Mapping[str, Any]) -> Picture:
  has_pair = {"student", "baseline"} <= set(reading.networks(results))
  score = reading.score_of(results)
  seeds = score.of(results.get("student") or {}).size
  return Picture(
    plots.accuracy_figure(results),
    f"T{score.title[1:]} of every seed",
    (
      "A dot is one seed, a bar the mean of a network"
      if seeds > 1
      else "A bar is a network of one seed"
    )
    + f"; {score.best} is better."
    + (has_pair and seeds > 1)
    * " Grey lines join baseline and student of the same seed: where nearly all"
    f" of them {'rise' if score.sign > 0 else 'fall'}, the gain is not luck.",
  )


def _curves(
  history: Sequence[Mapping[str, Any]], score: reading.Score
) -> Picture:
  seeds = max(reading.numbers(row.get("loss")).size for row in history)
  return Picture(
    plots.curves_figure(history, score),
    "Training, epoch by epoch",
    (
      "Lines are means over seeds, bands one standard deviation to both sides. "
      if seeds > 1
      else ""
    )
    + f"Each network's loss is its own, so only {score.title}s compare.",
  )


def _agreement(results: Mapping[str, Any]) -> Picture:
  said = "puts a test image into its teacher's class"
  if reading.answers_yes_or_no(results):
    said = "says yes or no where its teacher does"
  return Picture(
    plots.agreement_figure(results),
    "Agreement with the teacher",
    reading.of_answers(
      results,
      f"How often a network {said}, right or wrong. A student that learned from its"
      " teacher, and not merely to be right, stands higher than a control of the"
      f" same {reading.score_of(results).title}.",
    ),
  )


def _soft_targets(samples: Mapping[str, Any]) -> Picture:
  return Picture(
    examples.soft_targets_figure(**samples),
    "What the teacher says about single images",
    "Bars are the teacher's probabilities, dots the student's. At T = 1 the"
    " teacher names one class; the softened column shows which others it finds"
    " similar, and that is what the student is taught beyond the label.",
    raster=True,
  )


def _maps(samples: Mapping[str, Any]) -> Picture:
  return Picture(
    pixel_page.maps_figure(**samples),
    "What networks make of single images",
    "Colours are classes; white does not count. Of each third of the test set one"
    " image as it comes, then the one of which the teacher gets most wrong. Student"
    " and baseline are those of the first seed. Bright: where the student's"
    " probabilities are far from the teacher's.",
    raster=True,
  )


def _sweep(sweep: Mapping[str, Any], score: reading.Score) -> Picture:
  text = reading.last_axes(sweep, 3, score.name).get("text") or ""
  return Picture(
    sweeps.sweep_figure(sweep, score),
    "Settings tried",
    f"T{score.title[1:]} of the student at each setting, mean and standard"
    f" deviation over seeds; {score.best} is better. Marked = are those that a"
    " paired test over the seeds cannot tell from the best."
    + (f" {text}" if text else ""),
  )


def _omitted_class(omitted: Mapping[str, Any]) -> Picture:
  return Picture(
    plots.omitted_class_figure(omitted),
    "A class that the student has never seen",
    "Share of that class's test images that are recognised, and accuracy over"
    " all classes. What the student knows of it, it learned from how alike the"
    " teacher finds it to other classes; the bias shift makes up for its never"
    " having been the answer.",
  )
