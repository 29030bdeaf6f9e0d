"""How images are learned that teach a network as real ones do."""

import dataclasses

from kdjax.runner.config.field import COUNT, POSITIVE, option


@dataclasses.dataclass(frozen=True)
class Synthesis:
  """What `launch.py synthesise` learns, and what it is compared with."""

  images_per_class: int = option(
    3, "how many images of each class are learned", within=COUNT
  )
  inner_steps: int = option(
    1,
    "batches that the learned images are dealt out to, as many of each class to"
    " every one; a network takes a step on each",
    within=COUNT,
  )
  inner_epochs: int = option(
    20, "how often a network passes over the learned images", within=COUNT
  )
  outer_steps: int = option(
    150, "steps that images and learning rates take", within=COUNT
  )
  outer_batch_size: int = option(
    512, "real images that score a step", within=COUNT
  )
  network_inits: int = option(
    4, "networks, freshly started, that learn in every step", within=COUNT
  )
  initialisation: str = option(
    "random",
    "what networks start from: anew each time, or one fixed start that the"
    " images are made for",
    choices=("random", "fixed"),
  )
  first_images: str = option(
    "real",
    "what the images start from: real ones, or noise",
    choices=("real", "noise"),
  )
  learn_labels: bool = option(
    False, "also learn each image's label, a share of every class"
  )
  image_rate: float = option(
    0.02, "Adam's peak rate for images and labels", within=POSITIVE
  )
  rate_rate: float = option(
    0.02, "Adam's peak rate for the learning rates' logarithms", within=POSITIVE
  )
  first_rate: float = option(
    0.1, "where the learning rates start", within=POSITIVE
  )
  fresh_networks: int = option(
    5, "unseen networks that are trained on each set of images", within=COUNT
  )
  real_rates: tuple[float, ...] = option(
    (0.03, 0.1, 0.3, 1.0),
    "learning rates tried for real images, on held-out ones",
    within=POSITIVE,
  )
