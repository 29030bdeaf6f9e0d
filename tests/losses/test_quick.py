"""Large vectors give by their plain formulas what careful ones give."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kdjax import losses
from kdjax.losses import _quick

SHAPE = (3, 2, 4, 5)
LOSSES = {
  "cosine_distance": {},
  "factor_transfer": {},
  "attention_transfer": {"distance": "l2"},
}


def sides(dtype=np.float32):
  random = np.random.default_rng(0).normal(size=(2, *SHAPE))
  return [jnp.asarray(x, dtype) for x in random]


@contextlib.contextmanager
def going(how):
  """Inputs go as "large" ones, or as "small" ones."""
  # Or a function that was traced before would be used as it was.
  jax.clear_caches()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(_quick, "LARGE", 1 if how == "large" else 1 << 40)
    yield
  jax.clear_caches()


def weighed(values):
  return jnp.sum(
    values * jnp.arange(1.0, 1 + values.size).reshape(values.shape)
  )


def each(names, student, teacher):
  values = {
    name: getattr(losses, name)(student, teacher, **LOSSES[name])
    for name in names
  }
  return sum(weighed(x) for x in values.values()), values


@functools.cache
def program(how, *names):
  """Values by name, and the gradients of all by both sides."""
  run = jax.value_and_grad(
    functools.partial(each, names), argnums=(0, 1), has_aux=True
  )
  with going(how):
    return jax.jit(run).lower(*sides()).compile()


def changed(side, row, change):
  pair = sides()
  pair[side] = pair[side].at[row].set(change(pair[side][row]))
  return pair


INPUTS = {
  "plain": sides(),
  "equal": sides()[:1] * 2,
  "huge": changed(0, 1, lambda x: 1e25 * x),
  "tiny": changed(1, 1, lambda x: 1e-25 * x),
  "nothing": changed(0, 2, lambda x: 0 * x),
}


@pytest.mark.parametrize("name", INPUTS)
def test_large_vectors_give_what_small_ones_give(name):
  ((_, want), slopes), ((_, got), found) = (
    program(how, *LOSSES)(*INPUTS[name]) for how in ("small", "large")
  )
  for loss in LOSSES:
    np.testing.assert_allclose(got[loss], want[loss], rtol=1e-5, atol=1e-6)
  size = np.max(np.abs(slopes[0]), axis=(1, 2, 3), keepdims=True)
  assert np.all(np.abs(found[0] - slopes[0]) <= 1e-5 * size + 1e-6)
  assert not found[1].any()


def test_masked_entries_are_as_if_removed():
  pair = changed(0, 1, lambda x: x.at[0, 0, 2].set(-jnp.inf))
  names = ("cosine_distance",)
  ((_, got), slopes) = program("large", *names)(*pair)
  student, teacher = (np.delete(x[1, 0, 0], 2) for x in pair)
  lengths = np.linalg.norm(student) * np.linalg.norm(teacher)
  want = 1 - student @ teacher / lengths
  np.testing.assert_allclose(got[names[0]][1, 0, 0], want, rtol=1e-5)
  assert np.isfinite(slopes[0]).all()
  assert slopes[0][1, 0, 0, 2] == 0


@pytest.mark.slow
def test_members_take_one_branch_and_curve_alike():
  def curved(scale):
    student, teacher = sides()

    def along(step):
      return losses.cosine_distance(scale * student + step * teacher, teacher)

    def slope(step):
      return jax.jvp(along, (step,), (1.0,))[1]

    return along(0.1), slope(0.1), jax.jacrev(slope)(0.1)

  scales, found = jnp.array([0.5, 1.0]), {}
  for how in ("small", "large"):
    with going(how):
      members = jax.jit(jax.vmap(curved)).lower(scales).compile()
    found[how] = members(scales)
    assert ("conditional" in members.as_text()) == (how == "large")
  for small, large in zip(*found.values(), strict=True):
    np.testing.assert_allclose(large, small, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_large_vectors_are_slopes(name):
  with going("large"), jax.enable_x64(True):
    student, teacher = sides(np.float64)
    loss = functools.partial(getattr(losses, name), **LOSSES[name])
    check_grads(
      jax.jit(lambda x: loss(x, teacher)), (student,), 1, atol=1e-6, rtol=1e-6
    )
