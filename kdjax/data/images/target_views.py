"""What a view does to maps of targets: they go where their pixels go.

A target view draws what the view of the images draws, from the same key, so that
nothing has to be handed from one to the other. Targets are classes: what is scaled
takes the nearest one, and is never between two.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.data.images import augment

TargetView = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def make_target_view(
  text: str, *, border: int, size: int | None = None
) -> TargetView:
  """Builds what moves targets as a view moves its images.

  Args:
    text: as `make_view` takes it.
    border: the target of what a view shows from outside of the image.
    size: as `make_view` takes it.

  Returns:
    A function (key, targets (B, H, W) int, positions (B,) int32) -> (B, H, W), or
    (B, size, size) after a `random_resized_crop`.

  Raises:
    UserError: for what `make_view` refuses, and for a view of which it is not known
      where it moves pixels.

  Example:
    >>> view = make_target_view("shift(1) + noise(0.1)", border=255)
    >>> int(view(jax.random.key(0), jnp.zeros((1, 4, 4), int), jnp.arange(1)).max())
    255
  """
  augment.make_view(text, size=size)  # refuses what is wrong with it
  views = []
  for term in spec.parse_sum(text):
    if term.spec.name not in TARGET_VIEWS:
      raise UserError(
        f"view {term.spec}: it also turns and moves images, and targets that are"
        " maps would stay behind; take"
        f" {', '.join(name for name in TARGET_VIEWS if name != 'none')}"
      )
    make = TARGET_VIEWS[term.spec.name]
    options = {"size": size, "border": border}
    views.append(
      spec.build("view", term.spec, {term.spec.name: make}, **options)
    )

  def view(key, targets, positions):
    for number, apply in enumerate(views):
      targets = apply(augment.fold(key, number), targets, positions)
    return targets

  return view


def _stays(*settings, border: int, **named) -> TargetView:
  """Leaves targets where they are."""
  del settings, named, border
  return lambda key, targets, positions: targets


def _shift(pixels: int, *, border: int) -> TargetView:
  def view(key, targets, positions):
    distance = augment.draw_distances(key, positions, pixels)
    return augment.moved(targets[..., None], distance, border)[..., 0]

  return view


def _crop(padding: int, *, border: int) -> TargetView:
  return _shift(padding, border=border)


def _flip(*, border: int) -> TargetView:
  del border

  def view(key, targets, positions):
    mirrored = augment.draw_flips(key, positions)
    return jnp.where(mirrored[:, None, None], targets[:, :, ::-1], targets)

  return view


def _random_resized_crop(
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  size: int | None = None,
  *,
  border: int,
) -> TargetView:
  del border

  def view(key, targets, positions):
    height, width = targets.shape[1:]
    side = height if size is None else size
    boxes = augment.draw_boxes(key, positions, (height, width), scale, ratio)

    def nearest(target, box):
      rows, columns = (_places(box[i], box[i + 2], side) for i in (0, 1))
      return target[rows[:, None], columns[None, :]]

    return jax.vmap(nearest)(targets, boxes)

  return view


def _places(start: jax.Array, length: jax.Array, side: int) -> jax.Array:
  """(side,) the old pixel in which each new one's middle lies."""
  middles = (jnp.arange(side) + 0.5) * (length / side)
  return start + jnp.minimum(middles.astype(jnp.int32), length - 1)


TARGET_VIEWS = {
  "none": _stays,
  "shift": _shift,
  "crop": _crop,
  "flip": _flip,
  "random_resized_crop": _random_resized_crop,
  "noise": _stays,
  "color_jitter": _stays,
}
