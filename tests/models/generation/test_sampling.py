"""What tokens are drawn from, held to what transformers' warpers say in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models.generation.sampling import (
  Sampling,
  draw_tokens,
  read_sampling,
  warp,
)

LOGITS = np.random.default_rng(0).normal(0, 3, (40, 17)).astype(np.float32)


warped_here = jax.jit(warp, static_argnums=0)


def softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def warped(row, temperature=1.0, top_k=None, top_p=None, min_p=None):
  """As transformers' TemperatureLogitsWarper, TopK, TopP and MinP, in turn."""
  row = row.astype(np.float64) / temperature
  if top_k is not None:
    row = np.where(row < np.sort(row)[-min(top_k, len(row))], -np.inf, row)
  if top_p is not None:
    order = np.argsort(row)
    removed = np.cumsum(softmax(row[order])) <= 1 - top_p
    removed[-1] = False
    row[order[removed]] = -np.inf
  if min_p is not None:
    p = softmax(row)
    row[p < min_p * p.max()] = -np.inf
  return row


@pytest.mark.parametrize(
  ("text", "settings"),
  [
    ("temperature(0.7)", {"temperature": 0.7}),
    ("top_k(5)", {"top_k": 5}),
    ("top_k(1)", {"top_k": 1}),
    ("top_k(16)", {"top_k": 16}),
    ("top_k(99)", {"top_k": 99}),
    ("top_p(0.9)", {"top_p": 0.9}),
    ("top_p(1.0)", {"top_p": 1.0}),
    ("top_p(1e-6)", {"top_p": 1e-6}),
    ("top_p(0.999999)", {"top_p": 0.999999}),
    ("temperature(1e-3) + top_p(0.5)", {"temperature": 1e-3, "top_p": 0.5}),
    ("min_p(0.05)", {"min_p": 0.05}),
    ("min_p(1)", {"min_p": 1.0}),
    (
      "top_p(0.8) + temperature(1.5) + top_k(6)",
      {"temperature": 1.5, "top_k": 6, "top_p": 0.8},
    ),
    (
      "temperature(3) + top_k(9) + top_p(0.95) + min_p(0.3)",
      {"temperature": 3.0, "top_k": 9, "top_p": 0.95, "min_p": 0.3},
    ),
  ],
)
def test_distributions_are_those_of_transformers(text, settings):
  assert read_sampling(text) == Sampling(**settings)
  ours = np.asarray(warped_here(read_sampling(text), LOGITS))
  theirs = np.stack([warped(row, **settings) for row in LOGITS])
  np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))
  np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
  ("row", "k", "left"),
  [
    ([0.0, -0.0, 1.0, -1.0], 3, [1, 1, 1, 0]),
    ([-jnp.inf, -3e38, 3e38, -jnp.inf], 2, [0, 1, 1, 0]),
    ([-jnp.inf, 2.0, -jnp.inf, -jnp.inf], 3, [0, 1, 0, 0]),
    ([-1e-45, 1e-45, -1.0, -2.0], 1, [0, 1, 0, 0]),
    ([5.0, 5.0, 5.0, 5.0], 2, [1, 1, 1, 1]),
  ],
)
def test_the_largest_are_found_among_any_floats(row, k, left):
  kept = warped_here(Sampling(top_k=k), np.float32(row))
  assert np.isfinite(kept).astype(int).tolist() == left


def test_the_order_of_warpers_shows():
  """Cut by top_p before the temperature, other tokens are left."""
  row = np.log(np.float32([[0.5, 0.3, 0.15, 0.05]]))
  right = warped_here(Sampling(temperature=4.0, top_p=0.7), row)
  cut = warped_here(Sampling(top_p=0.7), row)
  wrong = warped_here(Sampling(temperature=4.0), cut)
  assert np.isfinite(right).sum() == 3 and np.isfinite(wrong).sum() == 2


def test_tokens_that_tie_with_the_last_one_stay():
  row = jnp.array([[2.0, 1.0, 1.0, 0.0]])
  for sampling in (Sampling(top_k=2), Sampling(top_p=0.6), Sampling(min_p=0.3)):
    left = np.isfinite(warped_here(sampling, row)).tolist()
    assert left == [[True] * 3 + [False]]


def test_greedy_takes_the_first_of_the_likeliest_and_needs_no_chance():
  assert not read_sampling("greedy").draws
  logits = jnp.array([[0.0, 3.0, 3.0], [-jnp.inf, -2.0, -3.0]])
  drawn = draw_tokens(read_sampling("greedy"), None, logits)
  assert drawn.tolist() == [1, 1] and drawn.dtype == jnp.int32


def test_a_row_is_drawn_from_its_own_key():
  keys = jax.random.split(jax.random.key(3), 8)
  logits = np.asarray(LOGITS[:8], np.float32)
  draw = jax.jit(functools.partial(draw_tokens, Sampling(top_p=0.9)))
  drawn = draw(keys, logits)
  alone = [draw(keys[i, None], logits[i, None]) for i in (0, 5)]
  assert [int(x[0]) for x in alone] == [int(drawn[0]), int(drawn[5])]
  assert len({*drawn.tolist()}) > 2


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("greddy", "unknown sampling 'greddy'; did you mean 'greedy'"),
    ("nucleus(0.9)", "unknown sampling 'nucleus'. Choices: greedy, min_p"),
    ("temperature(0)", "must be > 0; 'greedy' is its limit"),
    ("temperature(-1)", "must be > 0"),
    ("temperature('hot')", "'hot' is no number"),
    ("top_k(0)", "k= takes a whole number >= 1; got 0"),
    ("top_k(2.5)", "k= takes a whole number"),
    ("top_k", "missing a required argument: 'k'"),
    ("top_p(1.5)", r"it must be in \(0, 1\]"),
    ("top_p(0)", r"it must be in \(0, 1\]"),
    ("min_p(True)", "True is no number"),
    ("greedy + top_k(5)", "greedy stands alone"),
    ("top_k(5) + top_k(6)", "once each"),
    ("top_k(5):0.5", "no weight"),
    ("temperature(t=0.5)", "no argument 't'"),
    ("", "cannot read"),
    (None, "sampling= takes a text; got None"),
  ],
)
def test_what_is_refused(text, said):
  with pytest.raises(UserError, match=said) as error:
    read_sampling(text)
  assert "\n" not in str(error.value)
