"""Rotary positions: pairs of features turned by angles that grow with position.

What configs call `default`, `linear`, `dynamic`, `llama3`, `yarn` and `longrope`
differ in the frequencies alone, so that a network holds these and nothing else.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError, unknown_name

Rotation = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class Rope:
  """The frequencies of rotary positions, as a value.

  Attributes:
    frequencies: radians a token, one for each pair of rotated features; features
      behind twice as many are left as they are.
    factor: what rotated features are multiplied by.
    long: the frequencies of documents longer than `switch`; () for none.
    switch: tokens up to which a document has the first frequencies.
  """

  frequencies: tuple[float, ...]
  factor: float = 1.0
  long: tuple[float, ...] = ()
  switch: int = 0


def make_rope(
  width: int, config: Mapping[str, Any], *, positions: int | None = None
) -> Rope:
  """Makes the frequencies that a config's `rope_parameters` describe.

  Args:
    width: rotated features of a head; of an odd number one more is rotated.
    config: "rope_theta", and with "rope_type" other than "default" what that
      needs, by transformers' names.
    positions: the config's `max_position_embeddings`.

  Raises:
    UserError: for an unknown rope_type, or one whose numbers are missing or make
      no frequencies.

  Example:
    >>> make_rope(4, {"rope_theta": 100.0, "rope_type": "linear", "factor": 2.0})
    Rope(frequencies=(0.5, 0.05000000074505806), factor=1.0, long=(), switch=0)
  """
  kind = str(config.get("rope_type") or config.get("type") or "default")
  if kind not in _SCALINGS:
    raise unknown_name("rope_type", kind, _SCALINGS)
  steps = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
  plain = 1 / np.float32(config["rope_theta"]) ** steps
  try:
    with np.errstate(all="ignore"):
      rope = _SCALINGS[kind](plain, config, positions)
  except KeyError as error:
    raise UserError(f"rope_type {kind} needs {error.args[0]}") from None
  except (TypeError, ValueError, ArithmeticError):
    rope = Rope((math.nan,))
  numbers = (*rope.frequencies, *rope.long, rope.factor)
  if not all(0 <= x < math.inf for x in numbers):
    settings = {name: config[name] for name in sorted(config)}
    raise UserError(f"rope_type {kind}: no frequencies come of {settings}")
  return rope


def rotation(
  rope: Rope, positions: jax.Array, lengths: jax.Array | None = None
) -> Rotation:
  """Computes the cosines and sines of a rotation.

  Args:
    positions: (B, T) int, of each token in its document.
    lengths: (B, T) or (B, 1) int, tokens of its document; needed where there
      are `long` frequencies.

  Returns:
    Two arrays (B, T, features / 2) float32.
  """
  angles = _angles(rope.frequencies, positions)
  if rope.long:
    longer = (lengths > rope.switch)[..., None]
    angles = jnp.where(longer, _angles(rope.long, positions), angles)
  return jnp.cos(angles) * rope.factor, jnp.sin(angles) * rope.factor


def rotate(x: jax.Array, turn: Rotation | None) -> jax.Array:
  """Rotates the first features of every head; feature i pairs with i + half.

  Args:
    x: (B, T, heads, d) float.
    turn: cosines and sines (B, T, features / 2); None leaves x as it is.

  Returns:
    (B, T, heads, d), computed in float32, in the type of x.
  """
  if turn is None:
    return x
  cosines, sines = (part[:, :, None] for part in turn)
  half = cosines.shape[-1]
  first, second = x[..., :half], x[..., half : 2 * half]
  rotated = [first * cosines - second * sines, second * cosines + first * sines]
  rotated = [part.astype(x.dtype) for part in rotated]
  return jnp.concatenate([*rotated, x[..., 2 * half :]], axis=-1)


def _angles(frequencies: tuple[float, ...], positions: jax.Array) -> jax.Array:
  return positions[..., None] * jnp.asarray([[frequencies]], jnp.float32)


def _values(frequencies: np.ndarray) -> tuple[float, ...]:
  return tuple(map(float, frequencies.astype(np.float32)))


def _default(plain, config, positions) -> Rope:
  del config, positions
  return Rope(_values(plain))


def _linear(plain, config, positions) -> Rope:
  del positions
  return Rope(_values(plain / np.float32(config["factor"])))


def _llama3(plain, config, positions) -> Rope:
  """Slow frequencies are divided by the factor, fast ones kept, with a ramp."""
  low, high = config["low_freq_factor"], config["high_freq_factor"]
  length = config.get("original_max_position_embeddings") or positions
  waves = 2 * math.pi / plain
  slow = plain / np.float32(config["factor"])
  share = (length / waves - low) / (high - low)
  between = (1 - share) * slow + share * plain
  scaled = np.where(waves > length / low, slow, between)
  return Rope(_values(np.where(waves < length / high, plain, scaled)))


def _yarn(plain, config, positions) -> Rope:
  length = config.get("original_max_position_embeddings") or positions
  factor = config.get("factor") or positions / length
  theta, width = config["rope_theta"], 2 * len(plain)

  def place(rotations):
    turns = length / (rotations * 2 * math.pi)
    return width * math.log(turns) / (2 * math.log(theta))

  low = place(config.get("beta_fast") or 32)
  high = place(config.get("beta_slow") or 1)
  if config.get("truncate", True):
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, width - 1)
  ramp = (np.arange(len(plain), dtype=np.float32) - low) / max(high - low, 1e-3)
  ramp = np.clip(ramp, 0, 1).astype(np.float32)
  scaled = plain / np.float32(factor) * ramp + plain * (1 - ramp)
  return Rope(_values(scaled), _yarn_factor(factor, config))


def _yarn_factor(factor, config) -> float:
  if config.get("attention_factor") is not None:
    return float(config["attention_factor"])

  def scale(weight):
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

  one, every = config.get("mscale"), config.get("mscale_all_dim")
  return scale(one) / scale(every) if one and every else scale(1)


def _longrope(plain, config, positions) -> Rope:
  """Two lists of divisors, for documents up to the original length and longer."""
  length = config.get("original_max_position_embeddings") or positions
  factor = config.get("factor") or positions / length
  scale = config.get("attention_factor")
  if scale is None:
    grown = 1 + math.log(factor) / math.log(length) if factor > 1 else 1.0
    scale = math.sqrt(grown)
  short, long = (
    np.asarray(config[name], np.float32)
    for name in ("short_factor", "long_factor")
  )
  for name, divisors in (("short_factor", short), ("long_factor", long)):
    if divisors.shape != plain.shape:
      raise UserError(
        f"{name} has {divisors.size} numbers, the heads have {plain.size}"
        " rotated pairs"
      )
  return Rope(
    _values(plain / short), float(scale), _values(plain / long), length
  )


_SCALINGS = {
  "default": _default,
  "linear": _linear,
  # Changes nothing up to the config's own greatest position.
  "dynamic": _default,
  "llama3": _llama3,
  "yarn": _yarn,
  "longrope": _longrope,
}
