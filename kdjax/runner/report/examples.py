"""The picture of single examples: what a teacher says beyond the right class."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.runner.report import style
from kdjax.runner.report.theory import softmax

# So much of a text is shown.
LETTERS = 170
# So many classes have a bar and a name each that can still be read.
MOST = 50


@style.styled
def soft_targets_figure(
  inputs: np.ndarray,
  labels: np.ndarray,
  teacher_logits: np.ndarray,
  student_logits: np.ndarray | None = None,
  *,
  temperature: float = 4.0,
  class_names: Sequence[str] | None = None,
) -> Figure:
  """Draws some examples beside their teacher's classes, plain and softened.

  Args:
    inputs: (K, H, W, 1 or 3) images, each of which is stretched to full contrast;
      or (K,) texts.
    labels: (K,) int, the true classes.
    teacher_logits: (K, C).
    student_logits: (K, C), drawn as dots over the bars; may be None.
    class_names: C names for the axis; by default the numbers. Of more than 50
      classes the axis shows the numbers.
  """
  inputs, teacher = np.asarray(inputs), np.asarray(teacher_logits, dtype=float)
  student = (
    None if student_logits is None else np.asarray(student_logits, float)
  )
  names = list(map(style.legible, _class_names(class_names, teacher.shape[-1])))
  sizes = {len(inputs), len(labels), len(teacher)}
  if len(sizes) > 1 or (student is not None and student.shape != teacher.shape):
    raise ValueError(
      f"soft_targets_figure: {len(inputs)} inputs, {len(labels)} labels,"
      f" teacher {teacher.shape}, student"
      f" {None if student is None else student.shape}"
    )
  # Names of more than a letter stand upright below the last row.
  below = max(map(len, names)) if len(names) <= MOST else 1
  below = 0.07 * below if below > 1 else 0.0
  drawing = style.figure(0.7 + 1.02 * len(inputs) + below)
  of_texts = inputs.ndim == 1
  panels = drawing.subplots(
    len(inputs),
    3,
    squeeze=False,
    width_ratios=[2 if of_texts else 1, 2, 2],
    sharey="col",
  )
  show = _text if of_texts else _picture
  for row, label in zip(range(len(inputs)), labels, strict=True):
    show(panels[row, 0], inputs[row], _titled(names[int(label)]))
    for panel, heat in zip(panels[row, 1:], (1.0, temperature), strict=True):
      dots = None if student is None else softmax(student[row] / heat)
      _bars(panel, softmax(teacher[row] / heat), dots, int(label))
      if len(names) <= MOST:
        panel.set_xticks(
          range(len(names)), names if row == len(inputs) - 1 else []
        )
      elif row < len(inputs) - 1:
        panel.tick_params(labelbottom=False)
  _finish(drawing, panels, names, temperature)
  return drawing


def _titled(name: str) -> str:
  """The title of a picture, in two lines where one is wider than the picture."""
  return (
    f"true: {name}" if len(name) < 8 else f"true:\n{style.legible(name, 12)}"
  )


def _picture(panel: Axes, image: np.ndarray, title: str) -> None:
  image = image.astype(float)
  low, high = image.min(), image.max()
  image = (image - low) / (high - low if high > low else 1)
  if image.ndim == 3 and image.shape[-1] == 1:
    image = image[..., 0]
  panel.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
  panel.set_xticks([])
  panel.set_yticks([])
  panel.spines[:].set_visible(False)
  panel.set_title(title, size=9, pad=2)


def _text(panel: Axes, text: str, title: str) -> None:
  """Writes the beginning of a text, in lines that fit the panel."""
  lines = textwrap.wrap(style.legible(text, LETTERS), 34) or [""]
  panel.text(0, 1, "\n".join(lines), size=7, va="top", parse_math=False)
  panel.set_xticks([])
  panel.set_yticks([])
  panel.spines[:].set_visible(False)
  panel.set_title(title.replace("\n", " "), size=9, pad=2, loc="left")


def _bars(
  panel: Axes, teacher: np.ndarray, student: np.ndarray | None, label: int
) -> None:
  many = len(teacher) > MOST
  if many:  # one thing to draw, as pixels: thousands take minutes
    panel.vlines(
      range(len(teacher)), 0, teacher, color="#9ca3af", rasterized=True
    )
    panel.vlines(label, 0, teacher[label], color=style.INK)
  else:
    colours = ["#9ca3af"] * len(teacher)
    colours[label] = style.INK
    panel.bar(range(len(teacher)), teacher, color=colours, width=0.8)
  if student is not None:
    panel.plot(
      range(len(student)),
      student,
      style.marker_of("student"),
      color=style.colour_of("student"),
      markersize=1.5 if many else 4.2,
      markeredgecolor="white",
      markeredgewidth=0 if many else 0.6,
      clip_on=many,  # what is rasterized and not clipped has no place
      zorder=4,
      rasterized=many,
    )
  panel.set_ylim(0, 1.02)
  panel.set_yticks([0, 0.5, 1])
  panel.grid(axis="y")


def _finish(
  drawing: Figure, panels: np.ndarray, names: list[str], temperature: float
) -> None:
  from matplotlib.lines import Line2D
  from matplotlib.patches import Patch

  panels[0, 1].set_title("T = 1")
  panels[0, 2].set_title(f"T = {temperature:g}")
  for panel in panels[:, 2]:
    panel.tick_params(labelleft=False)
  for panel in panels[-1, 1:]:
    if len(names) <= MOST and max(map(len, names)) > 1:
      panel.tick_params(axis="x", labelrotation=90, labelsize=8)
  handles = [
    Patch(color=style.INK, label="teacher, true class"),
    Patch(color="#9ca3af", label="other classes"),
  ]
  if any(panel.get_lines() for panel in panels[:, 1]):
    handles.append(
      Line2D(
        [],
        [],
        marker=style.marker_of("student"),
        color=style.colour_of("student"),
        lw=0,
        markersize=5,
        label="student",
      )
    )
  panels[len(panels) // 2, 1].set_ylabel("Probability")
  drawing.legend(
    handles=handles, loc="outside upper center", ncols=3, columnspacing=1.2
  )


def _class_names(names: Sequence[str] | None, classes: int) -> list[str]:
  names = [str(k) for k in range(classes)] if names is None else list(names)
  if len(names) != classes:
    raise ValueError(
      f"soft_targets_figure: {len(names)} class names for {classes} classes"
    )
  return names
