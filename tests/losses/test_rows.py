"""Large logits in blocks of rows give what the plain expressions give."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses import _label, _math, _rows, _terms

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
# One that knows the sum of its slopes, one that does not, and a labelled one of
# two terms. What the others add to them, their terms, is looked at by itself, and
# their values are worked by hand in test_masks.
QUICK = ("kd", "generalized_jsd", "dkd")
# A row over the blocks is compiled once more: nothing of a loss's own.
WITH_A_ROW_OVER = ("kd",)


HOW = pytest.mark.parametrize(
  # One block is what a loop over blocks calls.
  "how",
  ["blocks", pytest.param("whole", marks=pytest.mark.slow)],
)


def inputs(dtype=np.float32, alone=True):
  """Classes are masked on both sides; on one side `alone` too, if asked."""
  random = np.random.default_rng(0)
  student, teacher = 3 * random.normal(size=(2, ROWS, CLASSES))
  student[:, :2] = teacher[:, :2] = -np.inf
  if alone:
    student[::2, 2] = teacher[::3, 3] = -np.inf
  labels = jnp.asarray(random.integers(4, CLASSES, size=ROWS), jnp.int32)
  return *(jnp.asarray(x, dtype) for x in (student, teacher)), labels


@contextlib.contextmanager
def going(how):
  """Inputs go in "blocks" (three, and a row over), as a "whole", or "plain"."""
  # Or a function that was traced before would be used as it was.
  jax.clear_caches()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(_rows, "LARGE", 1 << 40 if how == "plain" else 1)
    patch.setattr(_rows, "WHOLE", 1 if how == "blocks" else 1 << 40)
    patch.setattr(_rows, "BLOCK", 2 * CLASSES)
    yield
  jax.clear_caches()


def every_loss(quick, student, teacher, labels, temperatures):
  """Returns all losses, weighed row by row, and their sum."""
  values, table = {}, HEATED | LABELLED | OTHERS
  for name in QUICK if quick else table:
    options = table[name]
    rows = ROWS if name in WITH_A_ROW_OVER else ROWS - 1
    inputs = [student, teacher, *([labels] if name in LABELLED else [])]
    if name not in OTHERS:
      options = options | {"temperature": temperatures[:rows]}
    loss = functools.partial(getattr(losses, name), **options)
    values[name] = loss(*(x[:rows] for x in inputs))
  weights = jnp.linspace(0.5, 2.0, ROWS)
  return values, {
    name: jnp.sum(x * weights[: len(x)].astype(x.dtype))
    for name, x in values.items()
  }


def values_and_gradients(which, student, teacher, labels, temperatures):
  """The rows' values by name, and the gradients of weighed sums of them.

  The gradients are stacked: of "each" loss, or of one sum of "all" of them or of
  a "few".
  """

  def totals(student, teacher, temperatures):
    quick = which == "few"
    values, sums = every_loss(quick, student, teacher, labels, temperatures)
    return jnp.stack(list(sums.values())), values

  sums, pull, values = jax.vjp(
    totals, student, teacher, temperatures, has_aux=True
  )
  kind = sums.dtype
  if which == "each":
    return values, jax.vmap(pull)(jnp.eye(len(sums), dtype=kind))
  slopes = pull(jnp.linspace(1.0, 2.0, len(sums), dtype=kind))
  return values, [x[None] for x in slopes]


@functools.cache
def outcomes(how, which):
  """What one program gives where classes are masked alike, and by one side."""
  with going(how), jax.enable_x64(True):
    run = jax.jit(functools.partial(values_and_gradients, which))
    temperatures = jnp.linspace(1.0, 5.0, ROWS)
    return {
      alone: jax.tree.map(
        np.asarray, run(*inputs(np.float64, alone), temperatures)
      )
      for alone in (False, True)
    }


def check_close(name, got, want, share):
  size = np.max(np.abs(want))
  np.testing.assert_allclose(
    got, want, rtol=share, atol=share * size, err_msg=name
  )


@pytest.mark.parametrize(
  "which",
  ["few", *(pytest.param(x, marks=pytest.mark.slow) for x in ("all", "each"))],
)
@HOW
@pytest.mark.parametrize("alone", [False, True], ids=["alike", "one_masks"])
def test_large_logits_give_what_plain_expressions_give(alone, how, which):
  plain, slopes = outcomes("plain", which)[alone]
  values, gradients = outcomes(how, which)[alone]
  for name in plain:
    check_close(name, values[name], plain[name], 1e-12)
  for got, want in zip(
    zip(*gradients, strict=True), zip(*slopes, strict=True), strict=True
  ):
    student, teacher, temperature = got
    check_close("student", student, want[0], 1e-11)
    check_close("temperature", temperature, want[2], 1e-11)
    assert not teacher.any()


TERMS = {
  "kl": _terms.kl,
  "reverse_kl": _terms.reverse_kl,
  "cross_entropy": _terms.cross_entropy,
  "total_variation": _terms.total_variation,
  "powers": _terms.Powers(1.5),
  "jensen_shannon": _terms.JensenShannon(0.3),
  "skew_kl": _terms.SkewKL(0.3),
  "skew_reverse_kl": _terms.SkewReverseKL(0.3),
}


@functools.cache
def sums_and_slopes():
  """Of every term: a row's sum, its gradient, and what the term says of both."""
  student, teacher = np.random.default_rng(1).normal(size=(2, 9))

  def pair(student):
    log_q, log_p = (jax.nn.log_softmax(x) for x in (student, teacher))
    return _rows.Pair(log_q, log_p, jnp.exp(log_q), jnp.exp(log_p))

  def one(term, student):
    total, slope = jax.value_and_grad(lambda x: term(pair(x))[0].sum())(student)
    said = term(pair(student))[1]
    added = term.slopes(total) if hasattr(term, "slopes") else said.sum()
    return total, slope, said, said - pair(student).q * said.sum(), added

  with jax.enable_x64(True):
    found = jax.jit(
      lambda x: {name: one(term, x) for name, term in TERMS.items()}
    )(student)
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_says_its_own_slope(name):
  """By log q, which every logit moves by the rest of the softmax as well."""
  _, slope, said, centred, added = sums_and_slopes()[name]
  np.testing.assert_allclose(centred, slope, rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(added, said.sum(), rtol=1e-9)


@HOW
def test_half_precision_is_computed_in_float32(how):
  student, teacher, labels = inputs(jnp.bfloat16)

  def total(student):
    loss = losses.dkd(student, teacher, labels)
    return loss.sum(), loss

  with going(how):
    found = jax.jit(jax.value_and_grad(total, has_aux=True))(student)
  (_, loss), gradient = found
  assert loss.dtype == jnp.float32
  assert gradient.dtype == jnp.bfloat16
  wide = [x.astype(jnp.float32) for x in (student, teacher)]
  want = jax.jit(losses.dkd)(*wide, labels)  # as small as it is: plain
  np.testing.assert_allclose(loss, want, rtol=1e-5)


@functools.cache
def of_maps(how):
  random = np.random.default_rng(0)
  student, teacher = random.normal(size=(2, 3, 6, 8, 5)).astype(np.float32)

  def total(student):
    loss = losses.cwd(student, teacher)
    return jnp.sum(loss * jnp.arange(1.0, 4.0)), loss

  with going(how):
    return jax.jit(jax.value_and_grad(total, has_aux=True))(student)


@HOW
def test_channels_of_large_maps_stay_where_they_are(how):
  ((_, plain), slopes), ((_, got), gradient) = of_maps("plain"), of_maps(how)
  check_close("value", got, plain, 1e-6)
  check_close("gradient", gradient, slopes, 1e-5)


def test_members_second_derivatives_and_leading_dimensions():
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
  for how in ("plain", "blocks"):
    members = jax.vmap(lambda x: curved(x * student, teacher))
    with going(how):
      found.append(jax.jit(members)(jnp.array([0.5, 1.0])))
  for name, plain, got in zip(("value", "slope", "curve"), *found, strict=True):
    assert got.shape == (2, 2, 3)
    check_close(name, got, plain, 1e-5)


def test_extremes_stay_finite():
  random = np.random.default_rng(0)
  signs = np.sign(random.normal(size=(2, ROWS, CLASSES))).astype(np.float32)
  labels = jnp.arange(ROWS)

  def total(student):
    pair = student, 1e4 * signs[1]
    return sum(
      jnp.sum(x)
      for x in (
        losses.dkd(*pair, labels),
        losses.reverse_kl(*pair),
      )
    )

  with going("blocks"):
    value, gradient = jax.jit(jax.value_and_grad(total))(1e4 * signs[0])
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_only_large_logits_come_here():
  assert not _rows.is_large(jnp.zeros((128, 1000)))
  assert _rows.is_large(jnp.zeros((256, 1000)))
  assert not _rows.is_large(jnp.zeros((1 << 16, 10)))


@pytest.mark.parametrize("rounded_up", [False, True])
@pytest.mark.parametrize(
  ("row", "first"),
  [
    ([1.0, 3.0, 3.0, 2.0], 1),
    ([1e-3, -2e-3, 2e-3], 2),
    ([-np.inf, -5.0, -7.0], 1),
    ([-np.inf, -np.inf], 0),
    ([1.0, np.nan, 2.0], 1),
  ],
)
def test_the_first_largest_is_a_class(monkeypatch, row, first, rounded_up):
  """Also where a program's maximum is a bit more than all of which it is one."""
  if rounded_up:
    monkeypatch.setattr(_math, "apart", lambda x: jnp.nextafter(x, jnp.inf))
  assert _label.argmax(jnp.array([row], jnp.float32)) == first
