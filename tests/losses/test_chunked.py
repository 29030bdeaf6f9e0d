"""Losses of large vocabularies: those of the logits, without the logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kdjax import losses
from kdjax.losses import chunked
from kdjax.losses.chunked import _call

KEYWORDS = {
  "kd": {},
  "soft_cross_entropy": {},
  "forward_kl": {},
  "reverse_kl": {},
  "symmetric_kl": {"lam": 0.3},
  "tvd": {},
  "adaptive_kl": {"mu": 0.4},
  "generalized_jsd": {"beta": 0.3},
  "jensen_shannon": {},
  "skew_kl": {},
  "skew_reverse_kl": {},
  "topk_kd": {"k": 5},
  "topk_kd bucket": {"k": 5, "tail": "bucket"},
  "generalized_jsd at 1": {"beta": 1},
}
# Two that share no arithmetic; the others have the same passes around them.
FAST = ("kd", "topk_kd bucket")
SHAPE, CLASSES = (2, 9), 40
WEIGHT = 0.5


def table(names=KEYWORDS):
  return [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in names
  ]


def problem(dtype=jnp.float32, scale=1.0):
  """Returns student and teacher as (hidden, head, bias), labels and mask."""
  random = np.random.default_rng(3)

  def side(width):
    shapes = ((*SHAPE, width), (width, CLASSES), (CLASSES,))
    hidden, head, bias = (random.normal(size=x) for x in shapes)
    return tuple(jnp.asarray(x, dtype) for x in (hidden * scale, head, bias))

  student, teacher = side(6), side(4)
  labels = random.integers(0, CLASSES, SHAPE, np.int32)
  labels[0, ::3] = -1
  mask = jnp.asarray(random.random(SHAPE) > 0.2)
  return student, teacher, jnp.asarray(labels), mask


def ours(name, student, teacher, **more):
  keywords = {"temperature": 2.0, "chunk_size": 5} | KEYWORDS[name] | more
  return getattr(chunked, name.split()[0])(
    *student[:2],
    *teacher[:2],
    student_bias=student[2],
    teacher_bias=teacher[2],
    **keywords,
  )


def with_a_rest(student, teacher, *, k, tail, temperature):
  """`topk_kd` with its bucket from the definition, not from the other loss."""
  assert tail == "bucket"
  dead = jnp.isinf(student) | jnp.isinf(teacher)
  log_q, log_p = (
    jax.nn.log_softmax(jnp.where(dead, -1e30, x) / temperature)
    for x in (student, teacher)
  )
  is_kept = log_p >= jnp.sort(log_p, axis=-1)[..., -k, None]
  kept = jnp.sum(jnp.where(is_kept, jnp.exp(log_p) * (log_p - log_q), 0), -1)
  q, p = (
    jnp.maximum(jnp.sum(jnp.where(is_kept, 0, jnp.exp(x)), -1), 1e-7)
    for x in (log_q, log_p)
  )
  return temperature**2 * (kept + p * jnp.log(p / q))


def naive(name, student, teacher, labels=None, mask=None, **more):
  """Returns the loss that `ours` should find, from all the logits.

  A mask of numbers weighs the tokens.
  """
  both = [
    jnp.matmul(hidden, head, precision="highest") + bias[None, None]
    for hidden, head, bias in (student, teacher)
  ]
  keywords = {"temperature": 2.0} | KEYWORDS[name] | more
  function = (
    with_a_rest
    if name == "topk_kd bucket"
    else getattr(losses, name.split()[0])
  )
  loss = function(*both, **keywords)
  mask = jnp.ones(SHAPE, bool) if mask is None else mask
  if labels is not None:
    log_q = jax.nn.log_softmax(both[0])
    at = jnp.take_along_axis(log_q, jnp.maximum(labels, 0)[..., None], -1)
    loss += WEIGHT * jnp.where(labels >= 0, -at[..., 0], 0.0)
  return jnp.sum(jnp.where(mask > 0, mask * loss, 0.0))


def check_close(got, want, relative=1e-5):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    size = float(np.max(np.abs(b)))
    np.testing.assert_allclose(a, b, rtol=relative, atol=relative * size)


@pytest.fixture
def small_tiles(monkeypatch):
  """Two tokens a tile, so that a chunk of 5 has three tiles."""
  monkeypatch.setattr(_call, "_TILE_BYTES", 2 * 4 * CLASSES)


@functools.partial(jax.jit, static_argnums=0)
def both_ways(name, student, teacher, labels, mask):
  def mine(student, teacher):
    totals = ours(
      name, student, teacher, labels=labels, mask=mask, label_weight=WEIGHT
    )
    return totals.loss, totals

  want = jax.value_and_grad(lambda x: naive(name, x, teacher, labels, mask))
  got = jax.value_and_grad(mine, (0, 1), has_aux=True)
  return got(student, teacher), want(student)


@pytest.mark.parametrize("masks", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("name", table())
def test_value_and_gradients_are_those_of_the_logits(name, masks, small_tiles):
  student, teacher, labels, mask = problem()
  dead = np.arange(CLASSES) == 7  # with an infinite bias, on one side or both
  student, teacher = (
    (hidden, head, np.where(dead & masked, np.float32(-np.inf), bias))
    for (hidden, head, bias), masked in zip(
      (student, teacher), masks, strict=True
    )
  )
  labels = np.where(labels == 7, 8, labels)

  totals = both_ways(name, student, teacher, labels, mask)
  ((loss, totals), (grads, of_teacher)), want = totals
  check_close((loss, grads), want)
  assert all(not x.any() for x in jax.tree.leaves(of_teacher))
  assert totals.tokens == mask.sum()
  assert totals.labelled == (mask & (labels >= 0)).sum()
  parts = totals.divergence + WEIGHT * totals.cross_entropy
  np.testing.assert_allclose(loss, parts, rtol=1e-6)


def test_masked_tokens_may_hold_anything():
  student, teacher, labels, mask = problem()
  spoil = np.where(mask, 0, np.where(labels % 2, np.nan, np.inf))
  spoil = np.float32(spoil)[..., None]
  spoilt = [(x[0] + spoil, *x[1:]) for x in (student, teacher)]

  def step(student, teacher):
    return jax.value_and_grad(
      lambda x: ours("kd", x, teacher, labels=labels, mask=mask).loss
    )(student)

  step = jax.jit(step)
  got = step(*spoilt)
  check_close(got, step(student, teacher))
  assert not got[1][0][~mask].any()


def test_totals_of_parts_add_up():
  student, teacher, labels, mask = problem()
  find = jax.jit(lambda *x: ours("kd", *x[:2], labels=x[2], mask=x[3]))

  def part(one):
    # All of them, of which the others do not count: one program.
    return find(student, teacher, labels, mask & one)

  whole = find(student, teacher, labels, mask)
  first = np.array([[True], [False]])
  halves = jax.tree.map(np.add, part(first), part(~first))
  check_close(halves, whole)
  np.testing.assert_allclose(whole.mean(), whole.loss / mask.sum(), rtol=1e-6)
  assert whole.sum() == whole.loss
  nothing = find(student, teacher, labels, mask & False)
  assert nothing.mean() == 0 and nothing.tokens == 0


def test_what_has_no_gradient_says_so():
  student, teacher, *_ = problem()
  with pytest.raises(NotImplementedError, match=r"kdjax\.losses\.kd"):
    jax.grad(lambda t: ours("kd", student, teacher, temperature=t).loss)(2.0)
  with pytest.raises(NotImplementedError, match="first derivatives"):
    jax.hessian(
      lambda x: ours("kd", (x, *student[1:]), teacher).loss,
    )(student[0])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"student_head": (5, 40)}, r"hidden states .* \(2, 9, 6\) and \(5, 40\)"),
    ({"teacher_head": (4, 41)}, "the same vocabulary"),
    ({"teacher_hidden": (2, 8, 4)}, "the same tokens"),
    ({"student_bias": (1, 40)}, "bias"),
    ({"mask": (2,)}, "mask"),
    ({"labels": (2, 9)}, "integer"),
    ({"chunk_size": 0}, "chunk_size"),
    ({"temperature": 0.0}, "temperature"),
  ],
)
def test_wrong_inputs_are_named(change, message):
  given = {
    "student_hidden": (2, 9, 6),
    "student_head": (6, 40),
    "teacher_hidden": (2, 9, 4),
    "teacher_head": (4, 40),
  } | change
  arrays = {
    key: np.zeros(x, np.float32) if isinstance(x, tuple) else x
    for key, x in given.items()
  }
  hidden, head, *others = (arrays.pop(key) for key in list(given)[:4])
  with pytest.raises(ValueError, match=message):
    chunked.kd(hidden, head, *others, **arrays)


@pytest.mark.parametrize(
  ("name", "keywords"),
  [
    ("symmetric_kl", {"lam": 2}),
    ("adaptive_kl", {"mu": -1}),
    ("generalized_jsd", {"beta": 2}),
    ("skew_kl", {"lam": 0}),
    ("skew_reverse_kl", {"lam": 1}),
    ("topk_kd", {"k": 41}),
    ("topk_kd", {"k": 1, "tail": "cut"}),
  ],
)
def test_wrong_keywords_are_named(name, keywords):
  student, teacher, *_ = problem()
  with pytest.raises(ValueError, match=f"{name}: "):
    ours(name, student, teacher, **keywords)


def test_chunks_hold_what_they_may():
  vocabulary = _call.Vocabulary(128256)
  chunk, tile = _call.sizes(4096, vocabulary, jnp.float32, None)
  assert chunk % tile == 0
  assert 3 * chunk * 128256 * 4 <= _call.CHUNK_BYTES * 1.02
  assert _call.sizes(3, vocabulary, jnp.float32, 100)[0] == 3
  assert _call.sizes(0, vocabulary, jnp.float32, None) == (1, 1)


def temporary_bytes(call):
  count, width, classes = 4096, 256, 128256
  shapes = ((count, width), (width, classes)) * 2
  shapes = [jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]
  compiled = jax.jit(jax.value_and_grad(call, (0, 1))).lower(*shapes).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", table())
def test_a_tenth_of_the_memory(name):
  """At V = 128256, N = 4096; compiled for shapes, nothing is run."""
  name, keywords = name.split()[0], KEYWORDS[name]

  def mine(*arrays):
    return getattr(chunked, name)(*arrays, **keywords).loss

  def plain(hidden, head, teacher_hidden, teacher_head):
    both = (hidden @ head, teacher_hidden @ teacher_head)
    return getattr(losses, name)(*both, **keywords).sum()

  assert temporary_bytes(mine) <= temporary_bytes(plain) / 10


@pytest.mark.slow
@pytest.mark.parametrize("name", KEYWORDS)
def test_extremes_stay_finite(name):
  """Logits 40 times as large; and a student that is its teacher."""
  step = jax.jit(
    jax.value_and_grad(lambda x, teacher: ours(name, x, teacher).loss)
  )
  student, _, *_ = problem()
  teacher = tuple(x[::-1] for x in student)
  far = [(x[0] * 40, *x[1:]) for x in (student, teacher)]
  want = jax.jit(jax.value_and_grad(lambda x, y: naive(name, x, y)))
  check_close(step(*far), want(*far))
  value, grads = step(student, student)
  if name != "soft_cross_entropy":
    assert abs(value) < 1e-6
  assert all(jnp.max(jnp.abs(x)) < 1e-4 for x in jax.tree.leaves(grads))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kd", "generalized_jsd", "skew_reverse_kl"])
def test_finite_differences(name):
  with jax.enable_x64(True):
    student, teacher, labels, mask = problem(jnp.float64)
    loss = jax.jit(
      lambda *x: ours(name, x, teacher, labels=labels, mask=mask).loss
    )
    assert loss(*student).dtype == jnp.float64
    check_grads(loss, student, order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_eager_jit_and_vmap_agree():
  student, teacher, labels, mask = problem()

  def step(hidden, labels):
    return jax.value_and_grad(
      lambda x: (
        ours("kd", (x, *student[1:]), teacher, labels=labels, mask=mask).loss
      )
    )(hidden)

  one = jax.jit(step)(student[0], labels)
  with jax.disable_jit():
    check_close(step(student[0], labels), one)
  stack = jnp.stack([student[0], 2 * student[0]])
  both = jax.vmap(step)(stack, jnp.stack([labels, labels]))
  check_close(jax.tree.map(lambda x: x[0], both), one)
  check_close(
    jax.tree.map(lambda x: x[1], both), jax.jit(step)(stack[1], labels)
  )


@pytest.mark.slow
def test_bfloat16_heads_get_what_float32_rounds_to():
  student, teacher, labels, _ = problem(jnp.bfloat16)

  def grads(student, teacher, chunk_size):
    return jax.grad(
      lambda x: ours("kd", x, teacher, chunk_size=chunk_size).loss
    )(student)

  wide = [jax.tree.map(lambda x: x.astype(jnp.float32), student)]
  wide += [jax.tree.map(lambda x: x.astype(jnp.float32), teacher)]
  want = grads(*wide, None)
  for chunk_size in (None, 2):
    got = grads(student, teacher, chunk_size)
    assert all(x.dtype == jnp.bfloat16 for x in got)
    check_close([x.astype(jnp.float32) for x in got], want, 2**-8)


@pytest.mark.slow
def test_a_temperature_for_each_token():
  student, teacher, *_ = problem()
  temperature = jnp.linspace(1.0, 4.0, 9)[None]

  def both(student):
    more = {"temperature": temperature}
    got = jax.value_and_grad(lambda x: ours("kd", x, teacher, **more).loss)
    want = jax.value_and_grad(lambda x: naive("kd", x, teacher, **more))
    return got(student), want(student)

  check_close(*jax.jit(both)(student))


@jax.jit
def with_gradient(student, teacher, labels):
  def total(student):
    totals = ours("kd", student, teacher, labels=labels)
    return totals.loss, totals

  return jax.grad(total, has_aux=True)(student)


@pytest.mark.parametrize(
  "dtype", [np.int32, pytest.param(np.int8, marks=pytest.mark.slow), np.uint16]
)
def test_a_label_outside_the_vocabulary_is_no_label(dtype):
  student, teacher, labels, _ = problem()
  spoilt, without = np.array(labels), np.array(labels)
  spoilt[1, :5] = [-100, -1, CLASSES, CLASSES + 9, 127]
  without[1, :5] = -1
  spoilt = spoilt.astype(dtype)
  want = with_gradient(student, teacher, without)[1]

  grad, totals = with_gradient(student, teacher, spoilt)
  check_close(totals, want)
  assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(grad))


@pytest.mark.parametrize("name", table())
def test_float_weights_in_the_mask_are_weights(name, small_tiles):
  student, teacher, labels, mask = problem()
  weights = np.where(mask, np.linspace(0.1, 1.5, 9, dtype=np.float32), 0)
  more = {"labels": labels, "label_weight": WEIGHT}

  def mine(student):
    totals = ours(name, student, teacher, mask=weights, **more)
    return totals.mean(), totals

  def want(student):
    total = naive(name, student, teacher, labels, weights)
    return total / weights.sum()

  @jax.jit
  def both(student):
    mine_and = jax.value_and_grad(mine, has_aux=True)
    return mine_and(student), jax.value_and_grad(want)(student)

  ((mean, totals), grads), wanted = both(student)
  check_close((mean, grads), wanted)
  np.testing.assert_allclose(totals.tokens, weights.sum(), rtol=1e-6)
  known = np.where(labels >= 0, weights, 0)
  np.testing.assert_allclose(totals.labelled, known.sum(), rtol=1e-6)


def test_a_mask_of_zeros_and_ones_is_a_mask():
  student, teacher, labels, mask = problem()
  masks = [mask.astype(x) for x in (bool, jnp.int32, jnp.uint8)]
  want, *totals = jax.jit(
    lambda *pair: [ours("kd", *pair, labels=labels, mask=x) for x in masks]
  )(student, teacher)
  for got in totals:
    check_close(got, want)
    assert got.tokens.dtype == got.labelled.dtype == jnp.int32


def test_weights_in_the_mask_are_checked_and_constant():
  student, teacher, _, mask = problem()
  with pytest.raises(ValueError, match=r"^chunked\.kd: mask must be >= 0"):
    ours("kd", student, teacher, mask=jnp.where(mask, 1.0, -1.0))
  with pytest.raises(NotImplementedError, match=r"kdjax\.losses\.kd"):
    jax.grad(lambda x: ours("kd", student, teacher, mask=x).loss)(
      mask.astype(jnp.float32)
    )


def test_a_label_that_the_student_masks_is_no_label():
  student, teacher, labels, _ = problem()
  masked = np.arange(CLASSES) < 10
  student = *student[:2], np.where(masked, np.float32(-np.inf), student[2])
  kept = np.where(labels < 10, -1, labels)
  want = with_gradient(student, teacher, kept)[1]
  grad, totals = with_gradient(student, teacher, labels)
  check_close(totals, want)
  assert totals.labelled < (labels >= 0).sum()
  assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(grad))
