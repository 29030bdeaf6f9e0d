"""Losses of attention maps: hand-worked values, masks, dead scores."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses


def scores(*rows):
  """One example, one head: one tuple of keys a query."""
  return jnp.array(rows, jnp.float32)[None, None]


# KL((e, 1) / (e + 1) || (1, 1) / 2)
KL = math.e / (math.e + 1) - math.log((math.e + 1) / 2)
INFINITE = -math.inf

# name: (function, student, teacher, keywords, expected)
BY_HAND = {
  "mse": (
    losses.attention_mse,
    scores((1, 2), (3, 4)),
    scores((1, 0), (3, 8)),
    {},
    (4 + 16) / 4,
  ),
  # One token of two counts: one pair.
  "mse masked": (
    losses.attention_mse,
    scores((1, 2), (3, 4)),
    scores((3, 0), (3, 8)),
    {"mask": [[True, False]]},
    4.0,
  ),
  "mse of nothing": (
    losses.attention_mse,
    scores((1, 2), (3, 4)),
    scores((3, 0), (3, 8)),
    {"mask": [[False, False]]},
    0.0,
  ),
  # Scores at or below the bound are 0, and stay in the mean.
  "mse clipped": (
    losses.attention_mse,
    scores((1, -100), (-1e4, 4)),
    scores((1, 2), (-1e4, -101)),
    {"clip_below": -100.0},
    (4 + 16) / 4,
  ),
  "mse at -inf": (
    losses.attention_mse,
    scores((1, INFINITE)),
    scores((3, INFINITE)),
    {},
    2.0,
  ),
  "kl": (
    losses.attention_kl,
    scores((0, 0), (5, 5)),
    scores((1, 0), (7, 7)),
    {},
    KL / 2,
  ),
  # Only the first query counts, over the first two keys.
  "kl masked": (
    losses.attention_kl,
    scores((0, 0, 9), (0, 0, 0), (3, 0, 0)),
    scores((1, 0, 5), (1, 0, 8), (0, 9, 0)),
    {"mask": [[True, True, False]]},
    KL,
  ),
  "kl of nothing": (
    losses.attention_kl,
    scores((0, 0), (5, 5)),
    scores((1, 0), (7, 7)),
    {"mask": [[False, False]]},
    0.0,
  ),
  "kl at -inf": (
    losses.attention_kl,
    scores((0, 0, INFINITE)),
    scores((1, 0, INFINITE)),
    {},
    KL,
  ),
  "kl of a row at -inf": (
    losses.attention_kl,
    scores((INFINITE, INFINITE)),
    scores((INFINITE, INFINITE)),
    {},
    0.0,
  ),
  # 1/2 log(1/2 / 1/4) + 1/2 log(1/2 / 3/4); 1 log(1 / 1/2)
  "kl of probabilities": (
    losses.attention_kl,
    scores((0.25, 0.75), (0.5, 0.5)),
    scores((0.5, 0.5), (1, 0)),
    {"from_probs": True},
    (math.log(4 / 3) / 2 + math.log(2)) / 2,
  ),
  # The masked key adds nothing, the others are taken as they are.
  "kl of masked probabilities": (
    losses.attention_kl,
    scores((0.5, 0.5), (0.5, 0.5)),
    scores((1, 0), (0, 1)),
    {"from_probs": True, "mask": [[True, False]]},
    math.log(2),
  ),
  "inner": (
    losses.attention_inner,
    scores((0.5, 0.5), (1, 0)),
    scores((1, 0), (0, 1)),
    {},
    -0.5,
  ),
}


@pytest.mark.parametrize(
  ("function", "student", "teacher", "keywords", "expected"),
  BY_HAND.values(),
  ids=BY_HAND,
)
def test_value_by_hand(function, student, teacher, keywords, expected):
  mask = keywords.get("mask")
  keywords = {k: v for k, v in keywords.items() if k != "mask"}
  if mask is not None:
    keywords["mask"] = jnp.array(mask)
  value, gradient = jax.jit(
    jax.value_and_grad(lambda s, t: function(s, t, **keywords).sum())
  )(student, teacher)
  assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)
  assert jnp.isfinite(gradient).all()


def test_heads_are_averaged():
  student = jnp.concatenate([scores((1.0,)), scores((2.0,))], axis=1)
  teacher = jnp.zeros((1, 2, 1, 1))
  np.testing.assert_allclose(losses.attention_mse(student, teacher), [2.5])
  np.testing.assert_allclose(
    losses.attention_mse(student, teacher, mask=jnp.array([[True]])), [2.5]
  )
  np.testing.assert_allclose(losses.attention_inner(student, student), [-2.5])


@pytest.mark.parametrize(
  "function", [losses.attention_mse, losses.attention_kl]
)
def test_a_short_sequence_weighs_as_much_as_a_long_one(function):
  padded = np.random.default_rng(0).normal(size=(2, 1, 2, 5, 5))
  padded = padded.astype(np.float32)
  mask = np.arange(5)[None, :] < 3

  def total(student):
    value = function(student, padded[1], mask=mask)
    return value.sum(), value

  gradient, value = jax.jit(jax.grad(total, has_aux=True))(padded[0])
  np.testing.assert_allclose(value, function(*padded[..., :3, :3]), rtol=1e-5)
  assert not gradient[:, :, 3:].any()
  assert not gradient[:, :, :, 3:].any()


@pytest.mark.parametrize("from_probs", [False, True])
def test_kl_of_sharp_maps_is_finite(from_probs):
  student, teacher = scores((1e4, 0), (0, 1e4)), scores((0, 1e4), (0, 1e4))
  if from_probs:
    student, teacher = student / 1e4, teacher / 1e4
  value, gradient = jax.jit(
    jax.value_and_grad(
      lambda s: losses.attention_kl(s, teacher, from_probs=from_probs).sum()
    )
  )(student)
  # A student's zero counts as the least normal number: log 1.2e-38 = -87.
  assert value == pytest.approx(
    -math.log(jnp.finfo(jnp.float32).tiny) / 2 if from_probs else 5e3, rel=1e-5
  )
  assert jnp.isfinite(gradient).all()


def test_tinybert_adds_up_layers():
  student = scores((1, -1e4), (0, 0)), jnp.zeros((1, 2, 2))
  teacher = scores((3, -2e4), (0, 0)), jnp.full((1, 2, 2), 3.0)
  # 4 / 4 an attention, 9 a hidden state
  loss = losses.tinybert(
    ((student[0],) * 2, (student[1],) * 3),
    ((teacher[0],) * 2, (teacher[1],) * 3),
  )
  np.testing.assert_allclose(loss, [2 * 1 + 3 * 9])


def test_tinybert_takes_one_kind_of_layer():
  hidden = np.zeros((2, 2, 2), np.float32)
  loss = losses.tinybert(([], [hidden]), ([], [hidden + 1]))
  np.testing.assert_allclose(loss, [1, 1])


MAPS = jnp.zeros((2, 1, 3, 3))
REFUSED = {
  "attention_mse": lambda: losses.attention_mse(MAPS, MAPS[:, :, :2]),
  "attention_mse: mask": lambda: losses.attention_mse(
    MAPS, MAPS, mask=jnp.ones((2, 2), bool)
  ),
  "attention_kl": lambda: losses.attention_kl(MAPS[0], MAPS[0]),
  "attention_kl: mask": lambda: losses.attention_kl(
    MAPS[..., :2], MAPS[..., :2], mask=jnp.ones((2, 3), bool)
  ),
  "attention_inner": lambda: losses.attention_inner(MAPS, MAPS[:1]),
  "tinybert": lambda: losses.tinybert(([MAPS], []), ([MAPS, MAPS], [])),
  "tinybert: got": lambda: losses.tinybert(([], []), ([], [])),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=".*".join(message.split(":"))):
    call()
