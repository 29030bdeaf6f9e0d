"""MiniLM's relations: hand-worked values, heads of different sizes, masks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

ZERO = jnp.zeros((1, 1, 2, 1))
ONE_ZERO = jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1)
# x x' = ((1, 0), (0, 0)): only the first query differs from uniform.
KL = math.e / (math.e + 1) - math.log((math.e + 1) / 2)

# name: (student, teacher, expected)
MINILM = {
  "attention": ((ZERO, ZERO, ZERO), (ONE_ZERO, ONE_ZERO, ZERO), KL / 2),
  "values": ((ZERO, ZERO, ZERO), (ZERO, ZERO, ONE_ZERO), KL / 2),
  "both": ((ZERO, ZERO, ZERO), (ONE_ZERO, ONE_ZERO, ONE_ZERO), KL),
  # Four equal dimensions: q k' = 4 and 1 / sqrt(4), so a quarter in both.
  "own head size": (
    (ZERO, ZERO, ZERO),
    (0.5**0.5 * jnp.tile(ONE_ZERO, 4),) * 2 + (jnp.tile(ZERO, 4),),
    KL / 2,
  ),
}


@pytest.mark.parametrize(
  ("student", "teacher", "expected"), MINILM.values(), ids=MINILM
)
def test_minilm_by_hand(student, teacher, expected):
  loss = jax.jit(losses.minilm)(student, teacher)
  np.testing.assert_allclose(loss, [expected], rtol=1e-5)


def projections(seed, *shape):
  random = np.random.default_rng(seed).normal(size=(3, *shape))
  return tuple(random.astype(np.float32))


def test_minilmv2_splits_into_relation_heads():
  student, teacher = projections(0, 2, 5, 8), projections(1, 2, 5, 12)

  def relation(x, head, heads):
    part = np.split(np.asarray(x, np.float64), heads, axis=-1)[head]
    scores = part @ part.swapaxes(1, 2) / math.sqrt(part.shape[-1])
    odds = np.exp(scores)
    return odds / odds.sum(-1, keepdims=True)

  expected = np.zeros(2)
  weights = (1.0, 2.0, 0.5)
  for weight, s, t in zip(weights, student, teacher, strict=True):
    for head in range(4):
      q, p = relation(s, head, 4), relation(t, head, 4)
      expected += weight * (p * np.log(p / q)).sum(-1).mean(-1) / 4
  loss = losses.minilmv2(student, teacher, relation_heads=4, weights=weights)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


def minilmv2(student, teacher, mask=None):
  return losses.minilmv2(student, teacher, relation_heads=2, mask=mask)


@pytest.mark.parametrize(
  ("function", "shape"),
  [(losses.minilm, (2, 2, 5, 4)), (minilmv2, (2, 5, 4))],
  ids=["minilm", "minilmv2"],
)
def test_masked_tokens_change_nothing(function, shape):
  student, teacher = projections(0, *shape), projections(1, *shape)
  mask = np.array([[True, True, True, False, False], [True] * 5])
  kept = mask.reshape((2,) + (1,) * (len(shape) - 3) + (5, 1))
  other = tuple(np.where(kept, x, np.float32(1e3)) for x in student)

  def total(student):
    value = function(student, teacher, mask=mask)
    return value.sum(), value

  slope = jax.jit(jax.grad(total, has_aux=True))
  (_, changed), (gradient, plain) = slope(other), slope(student)
  np.testing.assert_allclose(changed, plain, rtol=1e-5)
  for part in map(np.asarray, gradient):
    assert not np.where(kept, 0, part).any()
    assert part.any()


@pytest.mark.parametrize(
  ("function", "shape"),
  [(losses.minilm, (1, 2, 5, 4)), (minilmv2, (1, 5, 4))],
  ids=["minilm", "minilmv2"],
)
def test_zero_where_both_agree(function, shape):
  side = projections(0, *shape)
  value, gradient = jax.jit(
    jax.value_and_grad(lambda s: function(s, side).sum())
  )(side)
  assert value == pytest.approx(0, abs=1e-7)
  for part in gradient:
    np.testing.assert_allclose(part, 0, atol=1e-6)


FOUR, THREE = jnp.zeros((1, 2, 3, 4)), jnp.zeros((1, 3, 4))
REFUSED = {
  "minilm": lambda: losses.minilm((FOUR,) * 3, (FOUR[:, :1],) * 3),
  "minilm: rank": lambda: losses.minilm((THREE,) * 3, (THREE,) * 3),
  "minilm: two": lambda: losses.minilm((FOUR,) * 2, (FOUR,) * 2),
  "minilmv2": lambda: minilmv2((THREE,) * 3, (THREE[:, :2],) * 3),
  "minilmv2: heads": lambda: losses.minilmv2(
    (THREE,) * 3, (THREE,) * 3, relation_heads=3
  ),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message.split(":")[0]) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"
