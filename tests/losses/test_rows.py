"""Large logits in blocks of rows give what the plain expressions give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses import _rows

ROWS, CLASSES = 7, 40
HEATED = {
  "kd": {},
  "soft_cross_entropy": {},
  "reverse_kl": {},
  "symmetric_kl": {},
  "jensen_shannon": {},
  "generalized_jsd": {"beta": 0.0},
  "skew_kl": {},
  "skew_reverse_kl": {},
  "tvd": {},
}
LABELLED = {"dkd": {}, "nkd": {}, "wsld": {}, "ofa": {"eps": 1.5}}
OTHERS = {"ttm": {"weighted": True}, "hard_distillation": {}}


def inputs(dtype=np.float32, alone=True):
  """Classes are masked on both sides; on one side `alone` too, if asked."""
  random = np.random.default_rng(0)
  student, teacher = 3 * random.normal(size=(2, ROWS, CLASSES))
  student[:, :2] = teacher[:, :2] = -np.inf
  if alone:
    student[::2, 2] = teacher[::3, 3] = -np.inf
  labels = jnp.asarray(random.integers(4, CLASSES, size=ROWS), jnp.int32)
  return *(jnp.asarray(x, dtype) for x in (student, teacher)), labels


@pytest.fixture
def blocks(monkeypatch):
  """blocks(True): all inputs are large, three blocks and a row over."""

  def switch(on, whole=False):
    # Or a function that was traced before would be found as it was.
    jax.clear_caches()
    monkeypatch.setattr(_rows, "LARGE", 1 if on else 1 << 40)
    monkeypatch.setattr(_rows, "WHOLE", 1 << 40 if whole else 1)
    monkeypatch.setattr(_rows, "BLOCK", 2 * CLASSES)

  yield switch
  jax.clear_caches()


def every_loss(student, teacher, labels, temperatures):
  """Returns all losses, weighed row by row, and their sum."""
  found = {}
  for name, options in (HEATED | LABELLED).items():
    given = (labels,) if name in LABELLED else ()
    loss = functools.partial(getattr(losses, name), **options)
    found[name] = loss(student, teacher, *given, temperature=temperatures)
  for name, options in OTHERS.items():
    found[name] = getattr(losses, name)(student, teacher, **options)
  weights = jnp.linspace(0.5, 2.0, ROWS)
  return found, {
    name: jnp.sum(x * weights.astype(x.dtype)) for name, x in found.items()
  }


def values_and_gradients(student, teacher, labels, temperatures):
  """By name: the rows' values, and the gradients of a weighed sum of them."""

  def totals(student, teacher, temperatures):
    values, sums = every_loss(student, teacher, labels, temperatures)
    return sums, values

  _, pull, values = jax.vjp(
    totals, student, teacher, temperatures, has_aux=True
  )
  names = list(values)
  ones = jnp.eye(len(names), dtype=temperatures.dtype)
  seeds = dict(zip(names, ones, strict=True))
  gradients = jax.vmap(pull)(seeds)
  return values, {
    name: [x[i] for x in gradients] for i, name in enumerate(names)
  }


def check_close(name, got, want, share):
  size = np.max(np.abs(want))
  np.testing.assert_allclose(
    got, want, rtol=share, atol=share * size, err_msg=name
  )


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole"])
@pytest.mark.parametrize("alone", [False, True], ids=["alike", "one_masks"])
def test_large_logits_give_what_plain_expressions_give(blocks, alone, whole):
  with jax.enable_x64(True):
    given = (*inputs(np.float64, alone), jnp.linspace(1.0, 5.0, ROWS))
    found = []
    for on in (False, True):
      blocks(on, whole)
      found.append(jax.jit(values_and_gradients)(*given))
  (plain, slopes), (values, gradients) = jax.tree.map(np.asarray, found)
  for name in plain:
    check_close(name, values[name], plain[name], 1e-12)
    student, teacher, temperature = gradients[name]
    check_close(name, student, slopes[name][0], 1e-11)
    check_close(name, temperature, slopes[name][2], 1e-11)
    assert not teacher.any(), name


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole"])
def test_half_precision_is_computed_in_float32(blocks, whole):
  blocks(True, whole)
  student, teacher, labels = inputs(jnp.bfloat16)

  def total(student):
    loss = losses.dkd(student, teacher, labels)
    return loss.sum(), loss

  found = jax.jit(jax.value_and_grad(total, has_aux=True))(student)
  (_, loss), gradient = found
  assert loss.dtype == jnp.float32
  assert gradient.dtype == jnp.bfloat16
  wide = [x.astype(jnp.float32) for x in (student, teacher)]
  blocks(False)
  np.testing.assert_allclose(loss, losses.dkd(*wide, labels), rtol=1e-5)


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole"])
def test_channels_of_large_maps_stay_where_they_are(blocks, whole):
  random = np.random.default_rng(0)
  student, teacher = random.normal(size=(2, 3, 6, 8, 5)).astype(np.float32)

  def total(student):
    loss = losses.cwd(student, teacher)
    return jnp.sum(loss * jnp.arange(1.0, 4.0)), loss

  found = []
  for on in (False, True):
    blocks(on, whole)
    found.append(jax.jit(jax.value_and_grad(total, has_aux=True))(student))
  (((_, plain), slopes), ((_, got), gradient)) = found
  check_close("value", got, plain, 1e-6)
  check_close("gradient", gradient, slopes, 1e-5)


def test_members_second_derivatives_and_leading_dimensions(blocks):
  student, teacher, _ = inputs()
  student, teacher = student[:6, 4:], teacher[:6, 4:]

  def curved(student, teacher):
    """Along a line: value, slope and curvature of a map of logits."""

    def along(step):
      moved = (student + step * teacher).reshape(2, 3, -1)
      return losses.kd(moved, teacher.reshape(2, 3, -1))

    def slope(step):
      return jax.jvp(along, (step,), (1.0,))[1]

    return along(0.1), slope(0.1), jax.jacrev(slope)(0.1)

  found = []
  for on in (False, True):
    blocks(on)
    members = jax.vmap(lambda x: curved(x * student, teacher))
    found.append(jax.jit(members)(jnp.array([0.5, 1.0])))
  for name, plain, got in zip(("value", "slope", "curve"), *found, strict=True):
    assert got.shape == (2, 2, 3)
    check_close(name, got, plain, 1e-5)


def test_extremes_stay_finite(blocks):
  blocks(True)
  signs = jnp.sign(jax.random.normal(jax.random.key(0), (2, ROWS, CLASSES)))
  labels = jnp.arange(ROWS)

  def total(student):
    pair = student, 1e4 * signs[1]
    return sum(
      jnp.sum(x)
      for x in (
        losses.dkd(*pair, labels),
        losses.jensen_shannon(*pair),
        losses.reverse_kl(*pair),
      )
    )

  value, gradient = jax.jit(jax.value_and_grad(total))(1e4 * signs[0])
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_only_large_logits_come_here():
  assert not _rows.is_large(jnp.zeros((128, 1000)))
  assert _rows.is_large(jnp.zeros((256, 1000)))
  assert not _rows.is_large(jnp.zeros((1 << 16, 10)))
