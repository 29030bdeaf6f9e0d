"""What a page shows of networks that name a class at every pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdjax.runner.report import formats, reading, style
from kdjax.runner.report.text import Table

# Networks whose classes are drawn, in this order.
NETWORKS = ("teacher", "student", "baseline")
# So many classes have a colour of their own in the legend.
MOST = 24


@style.styled
def maps_figure(
  images: np.ndarray,
  labels: np.ndarray,
  called: Mapping[str, np.ndarray],
  divergence: np.ndarray,
  class_names: Sequence[str],
) -> Figure:
  """Draws images, their masks, what networks make of them, and where two disagree.

  Args:
    images: (K, H, W, 1 or 3); each is stretched to full contrast.
    labels: (K, H, W) int, classes; what is none is white.
    called: (K, H, W) int by network, the classes that it names.
    divergence: (K, H, W) nats, of the student from the teacher.
    class_names: C names.
  """
  names = [name for name in NETWORKS if name in called]
  columns = ["Image", "Mask", *map(reading.title_of, names), "Disagreement"]
  rows, classes = len(images), len(class_names)
  height, width = labels.shape[1:]
  side = style.WIDTH / len(columns) * height / width
  there = np.unique(np.concatenate([labels, *called.values()]))
  there = [int(k) for k in there if 0 <= k < classes][:MOST]
  lines = -(-len(there) // 6)
  drawing = style.figure(side * rows + 0.8 + 0.18 * lines)
  panels = drawing.subplots(rows, len(columns), squeeze=False)
  for panel, title in zip(panels[0], columns, strict=True):
    panel.set_title(title, size=8)
  top = max(float(divergence.max()), 1e-6)
  for row, axes in enumerate(panels):
    _show(axes[0], images[row])
    for axis, ids in zip(
      axes[1:-1],
      [labels[row], *(called[name][row] for name in names)],
      strict=True,
    ):
      axis.imshow(_coloured(ids, classes), interpolation="nearest")
    heat = axes[-1].imshow(
      divergence[row], vmin=0, vmax=top, cmap="magma", interpolation="nearest"
    )
    for axis in axes:
      axis.set_xticks([])
      axis.set_yticks([])
      axis.spines[:].set_visible(False)
  bar = drawing.colorbar(
    heat, ax=panels, location="bottom", shrink=0.5, aspect=40, pad=0.02
  )
  bar.set_label("Disagreement: KL divergence, nats", size=8)
  bar.ax.tick_params(labelsize=8)
  drawing.legend(
    handles=[
      Patch(
        color=_colours(classes)[k], label=style.legible(str(class_names[k]))
      )
      for k in there
    ],
    loc="outside lower center",
    ncols=6,
    fontsize=7,
  )
  return drawing


def class_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table of the scores of whole maps, and that of each class's."""
  entries = {
    name: entry
    for name, entry in reading.networks(results).items()
    if entry.get("per_pixel_class")
  }
  if not entries:
    return []
  first, *_ = entries.values()
  width = first["boundary_width"]
  titles = {"mean IoU, %": None, "Boundary IoU, %": "boundary_iou"}
  titles |= {"Pixel accuracy, %": "accuracy"}
  score = reading.score_of(results)
  headers, columns = ["Pixels"], [first["per_pixel_class"]["pixels"]]
  for name, entry in entries.items():
    for title, key in (("IoU", "iou"), ("boundary", "boundary_iou")):
      headers.append(f"{reading.title_of(name)} {title}, %")
      columns.append(map(_percent, entry["per_pixel_class"][key]))
  return [
    Table(
      "Maps",
      ("Network", *titles),
      tuple(
        (
          reading.title_of(name),
          *(
            formats.with_spread(
              score.of(entry)
              if key is None
              else 100 * reading.numbers(entry[key])
            )
            for key in titles.values()
          ),
        )
        for name, entry in entries.items()
      ),
      (
        "IoU: pixels that are of a class and called it, over those that are one or"
        " the other, in the whole test set; the mean over the classes. Boundary IoU:"
        f" the same of pixels at most {width} away from another class or the image's"
        " edge, in what is true and in what is called.",
      ),
    ),
    Table(
      "Classes",
      ("Class", *headers),
      tuple(
        (name, *map(str, cells))
        for name, *cells in zip(results["class_names"], *columns, strict=True)
      ),
      ("Pixels: of the test images. Means over the seeds.",),
    ),
  ]


def _percent(value: float | None) -> str:
  return "" if value is None else f"{100 * value:.1f}"


def _show(axis, image: np.ndarray) -> None:
  low, high = image.min(), image.max()
  image = (image - low) / (high - low if high > low else 1)
  grey = image.shape[-1] != 3
  axis.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None)


def _colours(classes: int) -> np.ndarray:
  """(C, 3): the first class grey, the others around the colour circle."""
  from matplotlib.colors import hsv_to_rgb

  others = np.arange(max(classes - 1, 1)) / max(classes - 1, 1)
  # Neighbours of the circle differ in brightness too.
  value = np.where(np.arange(len(others)) % 2, 0.65, 0.95)
  bright = hsv_to_rgb(np.stack([others, np.full_like(others, 0.8), value], -1))
  return np.concatenate([[[0.82, 0.82, 0.84]], bright])[:classes]


def _coloured(ids: np.ndarray, classes: int) -> np.ndarray:
  known = (ids >= 0) & (ids < classes)
  colours = _colours(classes)[np.where(known, ids, 0)]
  return np.where(known[..., None], colours, 1.0)
