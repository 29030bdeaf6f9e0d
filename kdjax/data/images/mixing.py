"""Mixing: two examples of a batch in one image, and in one pair of labels.

A partner is another example of the global batch, wherever the devices cut it.
What is drawn depends on the key and on the example's position alone.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.core import checks, spec
from kdjax.core.errors import UserError

# (key, images (B, H, W, C), positions (B,), everyone (N, H, W, C), count) ->
# images (B, H, W, C), partners (B,) among everyone, shares (B,) of one's own.
Mixing = Callable[..., tuple[jax.Array, jax.Array, jax.Array]]


def split_mixing(text: str) -> tuple[str, Mixing | None]:
  """Takes the mixing off a description of views.

  Args:
    text: as `make_view` takes it, with `mixup(alpha)` or `cutmix(alpha)` as the
      last term or nowhere.

  Returns:
    The views without it, and a function (key, images (B, H, W, C) float32,
    positions (B,), everyone (N, H, W, C), count) -> mixed images, each one's
    partner among `everyone` (B,) int32, and the share (B,) of an image that is
    its own. `everyone` is the global batch in its order and `count` how many of
    it are no padding, which stands at the end; None where nothing is mixed.
  """
  terms = spec.parse_sum(text)
  *before, last = terms
  for term in before:
    if term.spec.name in BLENDS:
      raise UserError(
        f"view {text!r}: {term.spec.name} mixes what the other views show and"
        " must stand last, once"
      )
  if last.spec.name not in BLENDS:
    return text, None
  if last.weight is not None:
    raise UserError(f"view {text!r}: a view has no weight; remove ':'")
  blend = spec.build("view", last.spec, BLENDS)
  return " + ".join(map(str, before)) or "none", _with_partners(blend)


def _with_partners(blend: Callable) -> Mixing:
  def mixing(key, images, positions, everyone, count):
    # Batches are shuffled: the next example is as good as any other, and with
    # two or more of them never the same.
    partners = (positions + 1) % jnp.maximum(count, 1)
    images, share = blend(key, images, everyone[partners], positions)
    return images, partners, share

  return mixing


def _mixup(alpha: float = 1.0) -> Callable:
  """Adds two images up, share * own + (1 - share) * partner.

  Args:
    alpha: share ~ Beta(alpha, alpha), one draw an example; 1 is uniform.

  Returns:
    (key, images, partners, positions) -> (images, share).

  Raises:
    ValueError: if alpha is not a finite number > 0.

  Source:
    Zhang et al. 2018, arXiv:1710.09412. The authors' code draws one share a
    batch; here each example has its own.
  """
  checks.number("alpha", alpha, "a number > 0", lambda x: 0 < x < math.inf)

  def blend(key, images, partners, positions):
    share = jax.vmap(lambda at: _share(jax.random.fold_in(key, at), alpha))(
      positions
    )
    weight = share[:, None, None, None]
    return weight * images + (1 - weight) * partners, share

  return blend


def _cutmix(alpha: float = 1.0) -> Callable:
  """Pastes a rectangle of the partner into each image, at its own place.

  Args:
    alpha: the wanted share is Beta(alpha, alpha), one draw an example. The
      rectangle has the image's shape and a uniform centre; where it leaves the
      image it is cut off, and `share` is what is left to see, counted in pixels.

  Returns:
    (key, images, partners, positions) -> (images, share).

  Raises:
    ValueError: if alpha is not a finite number > 0.

  Source:
    Yun et al. 2019, arXiv:1905.04899; the authors draw one rectangle a batch.
  """
  checks.number("alpha", alpha, "a number > 0", lambda x: 0 < x < math.inf)

  def blend(key, images, partners, positions):
    height, width = images.shape[1:3]

    def region(at):
      for_share, for_place = jax.random.split(jax.random.fold_in(key, at))
      side = jnp.sqrt(1 - _share(for_share, alpha))
      centre = jax.random.uniform(for_place, (2,))
      down = _within(centre[0], side, height)
      collectives = _within(centre[1], side, width)
      return down[:, None] & collectives[None]

    inside = jax.vmap(region)(positions)
    share = 1 - jnp.mean(inside, axis=(1, 2), dtype=jnp.float32)
    return jnp.where(inside[..., None], partners, images), share

  return blend


def _within(centre, side, length) -> jax.Array:
  """(length,) bool: the pixels whose middle lies in an interval of the axis."""
  pixel = (jnp.arange(length) + 0.5) / length
  return jnp.abs(pixel - centre) < side / 2


def _share(key, alpha) -> jax.Array:
  # Beta(1, 1), the usual one, without a loop of rejections.
  if alpha == 1:
    return jax.random.uniform(key)
  return jax.random.beta(key, alpha, alpha)


BLENDS = {"mixup": _mixup, "cutmix": _cutmix}
