"""RandAugment's operations on one image, traceable.

Each example of a batch has an operation of its own, and under `vmap` a choice
among fourteen would compute them all. So they are done in three stages, each
with what one operation needs or with nothing to do: a table of levels, a blend
with another image, an affine map. Ours, as the libraries that have all of them
work on the host, one image at a time, with random numbers of their own.
"""

import jax
import jax.numpy as jnp

from kdjax.data.images.colour import blend, check_channels, grey

OPERATIONS = (
  "identity",
  "autocontrast",
  "equalize",
  "posterize",
  "solarize",
  "brightness",
  "contrast",
  "color",
  "sharpness",
  "rotate",
  "shear_x",
  "shear_y",
  "translate_x",
  "translate_y",
)
# The greatest amounts: torchvision's.
_FACTOR = 0.9
_BITS = 4
_DEGREES = 30.0
_SHEAR = 0.3
_SHIFT = 150 / 331


def draw_operations(
  key: jax.Array, image: jax.Array, layers: int, strength: float
) -> jax.Array:
  """Applies operations that are drawn uniformly, one after the other.

  Args:
    image: (H, W, 1 or 3) float in 0..1.
    layers: how many, >= 0.
    strength: of each, in [0, 1]; its sign is drawn where it has one.

  Returns:
    (H, W, 1 or 3) float in 0..1.
  """
  check_channels(image)

  def layer(image, one):
    for_kind, for_sign = jax.random.split(one)
    kind = jax.random.randint(for_kind, (), 0, len(OPERATIONS))
    sign = jnp.where(jax.random.bernoulli(for_sign), 1.0, -1.0)
    return operate(image, kind, sign * strength), None

  # A scan, so that the program does not grow with the layers.
  image = jnp.clip(image, 0.0, 1.0)
  return jax.lax.scan(layer, image, jax.random.split(key, layers))[0]


def operate(image: jax.Array, kind: jax.Array, amount: jax.Array) -> jax.Array:
  """Applies one operation to one image.

  As Pillow does it, to one level of 256: levels are rounded where an operation
  looks them up, and pixels that come from outside are black.

  Args:
    image: (H, W, 1 or 3) float in 0..1.
    kind: () int, which of OPERATIONS.
    amount: () float in [-1, 1]; 1 is a factor of 1.9, 4 bits fewer, all levels
      solarised, 30 degrees, a shear of 0.3 or a shift by 0.45 of the side. Its
      sign counts where an operation has two directions.

  Returns:
    (H, W, 1 or 3) float in 0..1.
  """
  image = _with_levels(image, kind, jnp.abs(amount))
  image = _blended(image, kind, amount)
  return _mapped(image, kind, amount)


def _is(kind: jax.Array, *names: str) -> jax.Array:
  return jnp.any(kind == jnp.array([OPERATIONS.index(name) for name in names]))


def _with_levels(image, kind, strength) -> jax.Array:
  """Looks up each pixel's level in a table of its channel."""
  levels = jnp.round(255 * image).astype(jnp.int32).clip(0, 255)
  tables = jax.vmap(lambda one: _table(one, kind, strength))(
    jnp.moveaxis(levels, -1, 0)
  )
  by_table = tables[jnp.arange(image.shape[-1]), levels] / 255
  by_level = _is(kind, "autocontrast", "equalize", "posterize", "solarize")
  return jnp.where(by_level, by_table, image)


def _table(levels, kind, strength) -> jax.Array:
  """(256,) float: what each level of a channel becomes."""
  level = jnp.arange(256)
  counts = jnp.zeros(256, jnp.int32).at[levels.ravel()].add(1)
  width = 2 ** jnp.round(_BITS * strength).astype(jnp.int32)
  solarise = jnp.where(level < 255 * (1 - strength), level, 255 - level)
  low, high = levels.min(), levels.max()
  spread = (level - low) * (255 / jnp.maximum(high - low, 1))
  spread = jnp.where(high > low, spread, level).clip(0, 255)
  # Pillow's own rounding: the counts of the levels below, in whole steps.
  step = (counts.sum() - counts[high]) // 255
  below = jnp.cumsum(counts) - counts
  even = (step // 2 + below) // jnp.maximum(step, 1)
  even = jnp.where(step > 0, even, level).clip(0, 255)
  return jnp.select(
    [_is(kind, name) for name in ("posterize", "solarize", "autocontrast")],
    [level // width * width, solarise, jnp.floor(spread)],
    even,
  )


def _blended(image, kind, amount) -> jax.Array:
  """Blends an image with what it is without light, contrast, colour or edges."""
  light = grey(image)
  other = jnp.select(
    [_is(kind, name) for name in ("brightness", "contrast", "color")],
    [
      jnp.zeros_like(image),
      jnp.full_like(image, light.mean()),
      light + 0 * image,
    ],
    _smooth(image),
  )
  blends = _is(kind, "brightness", "contrast", "color", "sharpness")
  return jnp.where(blends, blend(other, image, 1 + _FACTOR * amount), image)


def _smooth(image: jax.Array) -> jax.Array:
  """Means of 3 x 3 pixels, the middle counted five times; borders stay."""
  height, width, _ = image.shape
  if min(height, width) < 3:
    return image
  total = 4 * image[1:-1, 1:-1] + sum(
    image[i : height - 2 + i, j : width - 2 + j]
    for i in range(3)
    for j in range(3)
  )
  return image.at[1:-1, 1:-1].set(total / 13)


def _mapped(image, kind, amount) -> jax.Array:
  """Fetches every pixel from where an affine map says, the nearest one."""
  height, width, _ = image.shape
  angle = jnp.where(_is(kind, "rotate"), amount, 0.0) * jnp.deg2rad(_DEGREES)
  cosine, sine = jnp.cos(angle), jnp.sin(angle)
  shear_x, shear_y = (
    jnp.where(_is(kind, name), _SHEAR * amount, 0.0)
    for name in ("shear_x", "shear_y")
  )
  shift_x, shift_y = (
    jnp.where(_is(kind, name), jnp.trunc(_SHIFT * side * amount), 0.0)
    for name, side in (("translate_x", width), ("translate_y", height))
  )
  # Pixels are squares: their middles lie at halves. Rotations are about the
  # image's middle, shears about its corner.
  y = (jnp.arange(height) + 0.5)[:, None]
  x = (jnp.arange(width) + 0.5)[None]
  right, down = x - width / 2, y - height / 2
  from_x = cosine * right - sine * down + width / 2 + shear_x * y - shift_x
  from_y = sine * right + cosine * down + height / 2 + shear_y * x - shift_y
  column = jnp.floor(from_x).astype(jnp.int32)
  row = jnp.floor(from_y).astype(jnp.int32)
  inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
  pixels = image[row.clip(0, height - 1), column.clip(0, width - 1)]
  names = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
  return jnp.where(
    _is(kind, *names), jnp.where(inside[..., None], pixels, 0.0), image
  )
