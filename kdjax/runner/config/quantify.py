"""How knowledge is measured."""

import dataclasses

from kdjax.runner.config.field import COUNT, POSITIVE, SHARE, Interval, option


@dataclasses.dataclass(frozen=True)
class Quantify:
  """What `launch.py quantify` asks of the networks."""

  tap: str = option(
    "head:in", "the layer that is examined, and that the student matches"
  )
  weights: str | None = option(
    None,
    "module whose kernels' way is the weight distance; the tap's by default",
  )
  estimator: str = option(
    "jacobian",
    "how entropies are estimated: in closed form, optimised, or by the authors'"
    " schedule",
    choices=("jacobian", "optimise", "published"),
  )
  explained_images: int = option(
    60, "how many scored images are examined", within=COUNT
  )
  grid: int = option(
    16, "cells along each side of an image", within=Interval(2)
  )
  entropy_weight: float = option(
    7.0, "weight of the entropy (the paper's lambda)", within=POSITIVE
  )
  threshold: float | None = option(
    None,
    "b: how many nats below the background a concept is; 0.2 for the published"
    " estimator, 0.75 for the others, which marks about the same cells",
    within=Interval(0),
  )
  foreground_share: float = option(
    0.25, "a cell is foreground if more of it is on the object", within=SHARE
  )
  probes: int = option(
    32, "random vectors an image, for the closed form", within=COUNT
  )
  probes_at_once: int | None = option(
    None, "fewer at a time take less memory; all by default", within=COUNT
  )
  images_at_once: int = option(
    8,
    "images a device examines at a time; fewer take less memory",
    within=COUNT,
  )
  compared_images: int = option(
    8,
    "images of each network on which the closed form is compared with the"
    " optimiser",
    within=Interval(0),
  )
  label_epochs: int = option(
    10,
    "epochs on labels for the student's layers above the tap, once the layers"
    " up to it match the teacher's",
    within=COUNT,
  )
  teacher_split: str | None = option(
    None, "TFDS split that the teacher learns from; --train_split by default"
  )
  quantify_from: str | None = option(
    None,
    "folder of a stopped run of the same settings, to go on where it was",
  )
