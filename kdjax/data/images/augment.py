"""Views: what a network sees of a batch.

A view is a pure function of (key, images, positions). What happens to an
example depends on the key and on the example's position in the global batch
alone, so a batch cut over devices gives the same views as a whole one. The
key may be one for all examples, or one for each.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.core import checks, spec
from kdjax.core.errors import UserError
from kdjax.data.images.boxes import draw_box, scale_box
from kdjax.data.images.colour import jitter
from kdjax.data.images.randaugment import draw_operations

ViewFunction = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def make_view(text: str, *, size: int | None = None) -> ViewFunction:
  """Builds a view from its description.

  Args:
    text: `none`, or one or more of `shift(pixels)`, `crop(padding)`, `flip`,
      `noise(scale)`, `random_resized_crop`, `color_jitter` and `randaugment`
      joined by ` + `, applied from left to right.
    size: side of what `random_resized_crop` shows where it does not say; None
      is the images' own height.

  Returns:
    A function (key, images (B, H, W, C) float32, positions (B,) int32) ->
    (B, H, W, C) float32, (B, size, size, C) after a `random_resized_crop`; the
    key is () or (B,). It can be jitted, scanned, mapped over devices, and
    mapped over a further axis of keys or images.

  Raises:
    UserError: for an unknown name or an impossible argument.

  Example:
    >>> view = make_view("shift(2) + flip")
    >>> images = jnp.ones((3, 8, 8, 1))
    >>> view(jax.random.key(0), images, jnp.arange(3)).shape
    (3, 8, 8, 1)
  """
  terms = spec.parse_sum(text)
  for term in terms:
    if term.weight is not None:
      raise UserError(f"view {text!r}: a view has no weight; remove ':'")
  views = [spec.build("view", term.spec, VIEWS, size=size) for term in terms]

  def view(key, images, positions):
    for number, apply in enumerate(views):
      images = apply(fold(key, number), images, positions)
    return images

  return view


def _none() -> ViewFunction:
  """Shows the images as they are."""
  return lambda key, images, positions: images


def _shift(pixels: int) -> ViewFunction:
  """Moves each image by up to `pixels` in each direction; zeros enter.

  Both distances are uniform on the integers -pixels..pixels.

  Args:
    pixels: >= 0.

  Returns:
    A view.

  Raises:
    ValueError: if pixels is not an integer >= 0.
  """
  checks.whole_number("pixels", pixels, least=0)

  def view(key, images, positions):
    height, width = images.shape[1:3]
    if pixels and pixels >= max(height, width):
      raise ValueError(
        f"{pixels} pixels move images of {height} x {width} out of sight"
      )
    return moved(images, draw_distances(key, positions, pixels))

  return view


def _crop(padding: int) -> ViewFunction:
  """Cuts a window of the images' own size out of images padded with zeros.

  The literature's name for `shift`: the window's place is uniform.

  Args:
    padding: zeros on each side, >= 0.

  Returns:
    A view.

  Raises:
    ValueError: if padding is not an integer >= 0.
  """
  checks.whole_number("padding", padding, least=0)
  return _shift(padding)


def _random_resized_crop(
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  size: int | None = None,
) -> ViewFunction:
  """Scales a random rectangle of each image to a square.

  Args:
    scale: least and greatest share of the image's area, in (0, 1].
    ratio: least and greatest width / height, > 0.
    size: side of the square, >= 1; None is the image's height.

  Returns:
    A view.

  Raises:
    ValueError: for impossible numbers.

  Source:
    Szegedy et al. 2014, arXiv:1409.4842; the defaults are torchvision's.
  """
  for name, pair, upper_bound in (
    ("scale", scale, 1.0),
    ("ratio", ratio, math.inf),
  ):
    is_pair = isinstance(pair, tuple) and len(pair) == 2
    if not is_pair or not 0 < pair[0] <= pair[1] <= upper_bound:
      within = f"in (0, {upper_bound:g}]" if upper_bound < math.inf else "> 0"
      raise ValueError(
        f"{name} must be two rising numbers {within}, got {pair!r}"
      )
  if size is not None:
    checks.whole_number("size", size)

  def view(key, images, positions):
    height, width = images.shape[1:3]
    side = height if size is None else size
    boxes = draw_boxes(key, positions, (height, width), scale, ratio)
    return jax.vmap(lambda image, box: scale_box(image, box, side))(
      images, boxes
    )

  return view


def _flip() -> ViewFunction:
  """Mirrors each image left to right with probability one half."""

  def view(key, images, positions):
    mirrored = draw_flips(key, positions)
    mirror = images[:, :, ::-1]
    return jnp.where(mirrored[:, None, None, None], mirror, images)

  return view


def _noise(scale: float) -> ViewFunction:
  """Adds normal noise to each pixel; the sum is not clipped.

  Args:
    scale: standard deviation, >= 0, in units of the images (0..1).

  Returns:
    A view.

  Raises:
    ValueError: if scale is not a finite number >= 0.
  """
  checks.number("scale", scale)

  def view(key, images, positions):
    noise = _draw(jax.random.normal, key, positions, images.shape[1:])
    return images + scale * noise.astype(images.dtype)

  return view


def _color_jitter(
  brightness: float = 0.4,
  contrast: float = 0.4,
  saturation: float = 0.4,
  hue: float = 0.0,
) -> ViewFunction:
  """Changes brightness, contrast, saturation and hue, in this order.

  Args:
    brightness: the factor is uniform in [max(0, 1 - it), 1 + it].
    contrast: likewise.
    saturation: likewise; grey images have none.
    hue: the turn of the colour circle is uniform in [-it, it], at most 0.5.

  Returns:
    A view; what it shows is within 0..1.

  Raises:
    ValueError: if one is not a finite number >= 0.

  Source:
    Chen et al. 2020, arXiv:2002.05709, has a strength for all four; torchvision
    draws their order as well.
  """
  spans = (brightness, contrast, saturation, hue)
  for span in spans:
    checks.number("each strength", span)
  if hue > 0.5:
    raise ValueError(f"hue must be at most 0.5, half the circle, got {hue!r}")

  def view(key, images, positions):
    return jax.vmap(lambda one, image: jitter(one, image, jnp.array(spans)))(
      _keys(key, positions), images
    )

  return view


def _randaugment(layers: int = 2, magnitude: int = 9) -> ViewFunction:
  """Applies randomly chosen operations to each image, all at one magnitude.

  Fourteen operations: identity, autocontrast, equalize, rotate, solarize, color,
  posterize, contrast, brightness, sharpness, and shear and translate in x and y.

  Args:
    layers: operations an image, >= 1.
    magnitude: 0 to 30, as torchvision counts it.

  Returns:
    A view; what it shows is within 0..1.

  Raises:
    ValueError: for other numbers.

  Source:
    Cubuk et al. 2019, arXiv:1909.13719; the amounts are torchvision's.
  """
  checks.whole_number("layers", layers)
  checks.whole_number("magnitude", magnitude, least=0)
  if magnitude > 30:
    raise ValueError(f"magnitude must be at most 30, got {magnitude!r}")

  def view(key, images, positions):
    return jax.vmap(
      lambda one, image: draw_operations(one, image, layers, magnitude / 30)
    )(_keys(key, positions), images)

  return view


VIEWS = {
  "none": _none,
  "shift": _shift,
  "crop": _crop,
  "flip": _flip,
  "noise": _noise,
  "random_resized_crop": _random_resized_crop,
  "color_jitter": _color_jitter,
  "randaugment": _randaugment,
}


def draw_distances(
  key: jax.Array, positions: jax.Array, pixels: int
) -> jax.Array:
  """Draws how far `shift` moves each image, (B, 2) int32 rows and columns."""
  # Bits modulo the width: biased by 2^-32 * width, and half of randint's cost.
  bits = _draw(jax.random.bits, key, positions, (2,))
  return (bits % jnp.uint32(2 * pixels + 1)).astype(jnp.int32) - pixels


def draw_flips(key: jax.Array, positions: jax.Array) -> jax.Array:
  """Draws which images `flip` mirrors, (B,) bool."""
  return _draw(jax.random.bits, key, positions, ()) % 2 == 0


def draw_boxes(
  key: jax.Array,
  positions: jax.Array,
  size: tuple[int, int],
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> jax.Array:
  """Draws the rectangle of each image that `random_resized_crop` shows, (B, 4)."""
  return jax.vmap(lambda one: draw_box(one, *size, scale, ratio))(
    _keys(key, positions)
  )


def fold(key: jax.Array, number: int) -> jax.Array:
  """As jax.random.fold_in, which takes one key only."""
  if not key.ndim:
    return jax.random.fold_in(key, number)
  return jax.vmap(jax.random.fold_in, in_axes=(0, None))(key, number)


def _draw(
  sample: Callable, key: jax.Array, positions: jax.Array, shape: tuple
) -> jax.Array:
  """Draws (B, *shape) numbers, each row from its own position's key."""
  return jax.vmap(lambda one: sample(one, shape))(_keys(key, positions))


def _keys(key: jax.Array, positions: jax.Array) -> jax.Array:
  """A key for each example, (B,), of one for all or one for each."""
  axes = (0 if key.ndim else None, 0)
  return jax.vmap(jax.random.fold_in, in_axes=axes)(key, positions)


def moved(
  images: jax.Array, distance_Bx2: jax.Array, border: int = 0
) -> jax.Array:
  """Moves images; `border` enters."""
  # One gather with a mask: measured on a CPU inside scan, 128 images of 28x28,
  # it takes 0.05 ms; a vmapped dynamic_slice of padded images 0.06 (and 3 times
  # as much under a further vmap), selects among static shifts 0.12 to 0.18, two
  # products with one-hot matrices 0.40.
  batch, height, width, _ = images.shape
  row = jnp.arange(height)[None] - distance_Bx2[:, :1]
  column = jnp.arange(width)[None] - distance_Bx2[:, 1:]
  inside = ((row >= 0) & (row < height))[:, :, None] & (
    (column >= 0) & (column < width)
  )[:, None, :]
  patches = images[
    jnp.arange(batch)[:, None, None],
    row.clip(0, height - 1)[:, :, None],
    column.clip(0, width - 1)[:, None, :],
  ]
  return jnp.where(inside[..., None], patches, border)
