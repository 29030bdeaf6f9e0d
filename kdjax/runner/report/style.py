"""How pictures look: colours that everybody can tell apart, legible on a phone.

Figures are made without pyplot, which keeps global state and may look for a
display. A figure is 4.8 inches wide, so that its text stays readable when a
phone shrinks it to its own width.
"""

import functools
import io
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.runner.report import reading

WIDTH = 4.8
GREY = "#6b7280"
INK = "#1f2937"

# Okabe and Ito's palette; a network keeps its colour and mark in all pictures.
_COLOURS = {
  "teacher": "#000000",
  "student": "#0072b2",
  "baseline": "#d55e00",
  "label_smoothing": "#009e73",
  "augmented": "#cc79a7",
}
_MARKERS = {
  "teacher": "*",
  "student": "o",
  "baseline": "s",
  "label_smoothing": "^",
  "augmented": "D",
}
_SPARE = (
  ("#e69f00", "v"),
  ("#56b4e9", "P"),
  ("#8b5a2b", "X"),
  ("#7a5fb0", "<"),
  ("#5f6b2d", ">"),
)

_SETTINGS = {
  "font.family": ["DejaVu Sans"],
  "font.size": 10,
  "axes.titlesize": 10,
  "axes.labelsize": 10,
  "xtick.labelsize": 9,
  "ytick.labelsize": 9,
  "legend.fontsize": 9,
  "legend.frameon": False,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.edgecolor": GREY,
  "axes.labelcolor": INK,
  "axes.titlecolor": INK,
  "text.color": INK,
  "xtick.color": INK,
  "ytick.color": INK,
  "axes.grid": False,
  "axes.axisbelow": True,
  "grid.color": "#e5e7eb",
  "grid.linewidth": 0.8,
  "figure.facecolor": "white",
  "axes.facecolor": "white",
  "savefig.facecolor": "white",
  "figure.constrained_layout.w_pad": 0.07,
  "figure.constrained_layout.h_pad": 0.07,
  "lines.linewidth": 1.8,
  # Outlines need no font on the reader's side; a fixed salt makes the same
  # figure the same bytes.
  "svg.fonttype": "path",
  # Names are text: two dollars in one are no formula.
  "text.parse_math": False,
  "svg.hashsalt": "kdjax",
}

# What has the letters that DejaVu Sans has not, where one of these is installed.
_FURTHER = (
  "Noto Sans CJK JP",
  "Noto Sans CJK SC",
  "Noto Sans CJK KR",
  "Source Han Sans",
  "WenQuanYi Zen Hei",
  "WenQuanYi Micro Hei",
  "Droid Sans Fallback",
  "IPAGothic",
  "PingFang SC",
  "Hiragino Sans",
  "Microsoft YaHei",
  "Yu Gothic",
  "Malgun Gothic",
  "Arial Unicode MS",
  "Unifont",
)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def styled(
  draw: Callable[Parameters, Result],
) -> Callable[Parameters, Result]:
  """Wraps a function so that it draws in the style of all figures."""

  @functools.wraps(draw)
  def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    # The user's own settings (a dark theme, TeX) must not leak in either.
    with matplotlib.rc_context():
      matplotlib.rcParams.update(_defaults())
      matplotlib.rcParams.update(_SETTINGS | {"font.family": _families()})
      return draw(*args, **kwargs)

  return drawn


def figure(height: float) -> Figure:
  """Returns an empty figure, as wide as all others, that lays itself out."""
  return Figure(figsize=(WIDTH, height), layout="constrained")


def colour_of(network: str) -> str:
  """Returns a network's colour: "student" -> "#0072b2"."""
  return _COLOURS.get(network) or _spare(network)[0]


def marker_of(network: str) -> str:
  """Returns a network's mark, which tells it apart without colour."""
  return _MARKERS.get(network) or _spare(network)[1]


def draw_band(
  axes: Axes,
  collectives: Sequence[float],
  values: Sequence[np.ndarray],
  name: str,
) -> None:
  """Draws a network's mean as a line, one standard deviation as a band."""
  if not len(values):
    return
  mean = np.array([float(reading.finite_mean(value)) for value in values])
  finite = [value[np.isfinite(value)] for value in values]
  spread = np.array([v.std(ddof=1) if v.size > 1 else 0.0 for v in finite])
  colour = colour_of(name)
  axes.plot(
    collectives,
    mean,
    color=colour,
    label=reading.title_of(name),
    ls="--" if name == "teacher" else "-",
    # A line of one or two points would hardly be seen.
    marker=marker_of(name) if len(collectives) < 3 else None,
  )
  # A band that reaches 0 would have no lower end on a logarithmic axis.
  low = np.maximum(mean - spread, 0.5 * mean)
  axes.fill_between(
    collectives, low, mean + spread, color=colour, alpha=0.18, lw=0
  )


def plain_log_scale(axes: Axes, axis: str) -> None:
  """Gives an axis a logarithmic scale with plain numbers: 2, 5, 10, 20.

  Args:
    axes: where to draw; its data must be positive.
  """
  from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
  )

  getattr(axes, f"set_{axis}scale")("log")
  side = getattr(axes, f"{axis}axis")
  low, high = side.get_view_interval()
  steps = (1, 2, 3, 5) if high / low < 50 else (1,)
  if high / low < 4:
    steps = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
  side.set_major_locator(LogLocator(subs=steps))
  side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  side.set_minor_locator(NullLocator())
  side.set_minor_formatter(NullFormatter())


def legible(name: str, longest: int = 16) -> str:
  """Returns a name of the user's as a picture can show it.

  Args:
    longest: how many characters are shown; of a longer name the beginning.
  """
  characters = set().union(*map(_characters, _families()))
  text = "".join(
    one if one.isprintable() and ord(one) in characters else _code(one)
    for one in name
  )
  return text if len(text) <= longest else f"{text[: longest - 1]}…"


@styled
def to_svg(drawing: Figure) -> bytes:
  """Returns a figure as SVG; the same figure gives the same bytes."""
  buffer = io.BytesIO()
  drawing.savefig(buffer, format="svg", metadata={"Date": None})
  return buffer.getvalue()


@styled
def to_png(drawing: Figure, dots_per_inch: int = 200) -> bytes:
  """Returns a figure as PNG.

  Args:
    dots_per_inch: 200 is sharp on a phone; 4.8 inches become 960 pixels.
  """
  buffer = io.BytesIO()
  drawing.savefig(buffer, format="png", dpi=dots_per_inch)
  return buffer.getvalue()


def _spare(network: str) -> tuple[str, str]:
  # By its letters, not by hash(): the same colour in every process.
  return _SPARE[sum(map(ord, network)) % len(_SPARE)]


def _code(one: str) -> str:
  """A character in ASCII; the half of one, from names that are no UTF-8, as ?."""
  number = ord(one)
  if 0xD800 <= number < 0xE000:
    return "?"
  kind, digits = ("x", 2) if number < 256 else ("u", 4)
  return f"\\{'U' if number > 0xFFFF else kind}{number:0{digits}x}"


@functools.cache
def _families() -> list[str]:
  """Fonts to look for a character in, one after the other."""
  from matplotlib import font_manager

  families = {font.name for font in font_manager.fontManager.ttflist}
  return [
    *_SETTINGS["font.family"],
    *(name for name in _FURTHER if name in families),
  ]


@functools.cache
def _characters(family: str) -> frozenset[int]:
  """The characters that a font has."""
  from matplotlib import font_manager

  path = font_manager.findfont(family, fallback_to_default=False)
  return frozenset(font_manager.get_font(path).get_charmap())


@functools.cache
def _defaults() -> dict:
  keep = ("backend", "backend_fallback", "interactive", "toolbar")
  skip = set(keep) | {"date.epoch", "webagg.port", "webagg.address"}
  return {
    key: value
    for key, value in matplotlib.rcParamsDefault.items()
    if key not in skip and not key.startswith(("_", "webagg."))
  }
