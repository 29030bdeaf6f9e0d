"""Losses across tokenizers, against loops in NumPy, their gradients, wrong variants."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses import aligned

# Two documents. In the first the student has 5 tokens, the teacher 4: groups of
# 1:1, 2:1, 1:1, then 1:1 and a slot of nothing; in the second 1:3 and 1:1.
ALIGNMENT = aligned.Alignment(
  np.array([[0, 1, 2, 3, 4, -1], [2, -1, -1, 3, -1, -1]]),
  np.array([[0, 1, -1, 2, 3, -1], [0, 1, 2, 3, -1, -1]]),
  np.array([[0, 1, 1, 3, 4, -1], [0, 0, 0, 3, -1, -1]]),
)
GROUPS = [
  (0, 0, [0], [0]), (0, 1, [1, 2], [1]), (0, 3, [3], [2]), (0, 4, [4], [3]),
  (1, 0, [2], [0, 1, 2]), (1, 3, [3], [3]),
]  # fmt: skip
SHARED = aligned.SharedIds(np.int32([0, 2, 5]), np.int32([4, 1, 0]))
CLASSES, OTHERS = 7, 6


def sides(seed=0, classes=CLASSES, others=OTHERS):
  """Logits of 5 and 4 positions, drawn."""
  draw = np.random.default_rng(seed)
  return [
    aligned.Side(
      jnp.asarray(draw.normal(0, 2, (2, rows, width)), jnp.float32),
      jnp.asarray(draw.integers(0, width, (2, rows)), jnp.int32),
    )
    for rows, width in ((5, classes), (4, others))
  ]


def log_softmax(x):
  x = np.asarray(x, np.float64)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def forward_kl(q, p):
  return sum(p * np.log(p / q))


def expected(student, teacher, single, several):
  """A loop over the groups: what one token and what several come to."""
  found = np.zeros((2, 6))
  log_q, log_p = log_softmax(student.rows), log_softmax(teacher.rows)
  for i, slot, own, others in GROUPS:
    if len(own) == len(others) == 1:
      found[i, slot] = single(log_q[i, own[0]], log_p[i, others[0]])
    else:
      totals = [
        sum(x[i, t, side.tokens[i, t]] for t in places)
        for x, side, places in (
          (log_q, student, own), (log_p, teacher, others),
        )
      ]  # fmt: skip
      found[i, slot] = several(*totals)
  return found


def merged(log_probs, ids):
  p = np.exp(log_probs)
  return np.append(p[ids], 1 - p[ids].sum())


def by_classes(log_q, log_p):
  return forward_kl(*map(merged, (log_q, log_p), SHARED))


def by_outcomes(a, b):
  return forward_kl(*(np.array([np.exp(x), 1 - np.exp(x)]) for x in (a, b)))


@functools.partial(jax.jit, static_argnames=("measure", "chunk_size"))
def divergence(student, teacher, alignment=ALIGNMENT, **settings):
  return aligned.divergence(
    student, teacher, alignment, shared_ids=SHARED, **settings
  )


@functools.partial(jax.jit, static_argnames="chunk_size")
def uld(student, teacher, **settings):
  return aligned.uld(student, teacher, ALIGNMENT, **settings)


def test_a_divergence_by_hand_of_every_group():
  pair = sides()
  np.testing.assert_allclose(
    divergence(*pair),
    expected(*pair, by_classes, by_outcomes),
    atol=2e-6,
  )


WRONG = {
  "ids by number": (
    lambda q, p: forward_kl(
      merged(q, [0, 2, 5]), merged(p, [0, 2, 5])
    ),
    by_outcomes,
  ),
  "nothing for others": (
    lambda q, p: forward_kl(
      *(x / x.sum() for x in (np.exp(q)[SHARED[0]], np.exp(p)[SHARED[1]]))
    ),
    by_outcomes,
  ),
  "the other direction": (
    lambda q, p: forward_kl(*map(merged, (p, q), SHARED[::-1])),
    by_outcomes,
  ),
  "the first token alone": (by_classes, lambda a, b: by_outcomes(a, b / 2)),
  "the happened outcome alone": (
    by_classes, lambda a, b: np.exp(b) * (b - a)
  ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_told_apart(name):
  pair = sides()
  wrong = expected(*pair, *WRONG[name])
  assert np.abs(wrong - divergence(*pair)).max() > 1e-3


def test_positions_shifted_by_one_are_told_apart():
  student, teacher = sides()
  late = ALIGNMENT._replace(
    student=np.where(
      ALIGNMENT.student > 0, ALIGNMENT.student - 1, ALIGNMENT.student
    )
  )
  other = divergence(student, teacher, late)
  assert np.abs(other - divergence(student, teacher)).max() > 1e-2


def all_but(names, *fast):
  """All names as parameters, all but the fast ones marked as slow."""
  return [
    pytest.param(x, marks=() if x in fast else pytest.mark.slow) for x in names
  ]


MEASURES = {
  "forward": losses.forward_kl,
  "reverse": losses.reverse_kl,
  "jsd": losses.jensen_shannon,
  "warm": lambda q, p: losses.kd(q, p, temperature=3.0),
}


@pytest.mark.parametrize("name", all_but(MEASURES, "reverse", "warm"))
def test_one_tokenizer_on_both_sides_is_the_plain_loss(name):
  measure = MEASURES[name]
  student, teacher = sides(others=CLASSES)
  places = np.array([[0, 1, 2, 3], [0, 2, 3, -1]])
  slots = np.where(places < 0, -1, np.arange(4))
  same = np.arange(CLASSES)

  @jax.jit
  def both(student, teacher):
    alignment = aligned.Alignment(places, places, slots)
    shared = aligned.SharedIds(same, same)
    return aligned.divergence(
      student, teacher, alignment, shared_ids=shared, measure=measure
    ), measure(student.rows[:, :4], teacher.rows)

  loss, plain = map(np.asarray, both(student, teacher))
  np.testing.assert_allclose(loss[0], plain[0], atol=1e-6)
  np.testing.assert_allclose(loss[1, :3], plain[1, [0, 2, 3]], atol=1e-6)
  assert loss[1, 3] == 0


def test_merged_log_probabilities_are_those_of_the_texts():
  student, teacher = sides()
  found = jax.jit(aligned.log_probabilities)(student, teacher, ALIGNMENT)
  for got, side, places in zip(
    found, (student, teacher), ([0, 1, 2, 3, 4], [0, 1, 2, 3]), strict=True
  ):
    log_probs = log_softmax(side.rows)[0]
    whole = sum(log_probs[t, side.tokens[0, t]] for t in places)
    np.testing.assert_allclose(got[0].sum(), whole, atol=1e-5)


def sorted_distance(log_q, log_p):
  q, p = (np.sort(np.exp(x))[::-1] for x in (log_q, log_p))
  return np.abs(q - np.append(p, 0)).sum()


def test_uld_of_the_first_positions_of_groups():
  student, teacher = sides()
  found = uld(student, teacher)
  log_q, log_p = log_softmax(student.rows), log_softmax(teacher.rows)
  wanted = np.zeros((2, 6))
  for i, slot, own, others in GROUPS:
    wanted[i, slot] = sorted_distance(log_q[i, own[0]], log_p[i, others[0]])
  np.testing.assert_allclose(found, wanted, atol=2e-6)
  # Wrong: without sorting, and position by position whatever the text.
  unsorted = np.abs(
    np.exp(log_q)[0, 0] - np.append(np.exp(log_p)[0, 0], 0)
  ).sum()
  assert abs(unsorted - found[0, 0]) > 1e-2
  by_place = sorted_distance(log_q[0, 3], log_p[0, 3])
  assert abs(by_place - found[0, 3]) > 1e-3


LOSSES = {
  "divergence": divergence,
  "reverse": functools.partial(divergence, measure=losses.reverse_kl),
  "uld": uld,
}


# The measure is handed on, as the plain values above show.
@pytest.mark.parametrize("name", all_but(LOSSES, "divergence", "uld"))
def test_finite_differences(name):
  with jax.enable_x64(True):
    student, teacher = (
      side._replace(rows=np.asarray(side.rows, np.float64)) for side in sides(3)
    )
    direction = np.random.default_rng(1).normal(size=(2, 5, CLASSES))

    @jax.jit
    @jax.value_and_grad
    def loss(rows):
      return LOSSES[name](student._replace(rows=rows), teacher).sum()

    slope = np.vdot(loss(student.rows)[1], direction)
    ahead, behind = (
      loss(student.rows + e * direction)[0] for e in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("name", all_but(LOSSES, "divergence", "uld"))
def test_what_is_in_no_slot_has_no_gradient_whatever_it_is(name):
  student, teacher = sides()
  # Nothing of the second document's first two positions is compared.
  rows = np.array(student.rows)
  rows[1, :2] = [[np.nan], [np.inf]]

  def of_rows(student_rows, teacher_rows):
    return LOSSES[name](
      student._replace(rows=student_rows), teacher._replace(rows=teacher_rows)
    ).sum()

  found = jax.jit(jax.value_and_grad(of_rows, (0, 1)))(rows, teacher.rows)
  value, (grad, of_teacher) = jax.tree.map(np.asarray, found)
  assert np.isfinite(value) and np.isfinite(grad).all()
  assert (grad[1, :2] == 0).all() and (grad[1, 4] == 0).all()
  assert grad[0].any()
  assert (of_teacher == 0).all()


@pytest.mark.parametrize("name", ["divergence", "uld"])
@pytest.mark.parametrize("size", all_but([1, 5], 5))
def test_chunks_and_states_with_a_head_change_nothing(name, size):
  draw = np.random.default_rng(2)
  heads = [draw.normal(size=(3, n)).astype(np.float32) for n in (7, 6)]
  hidden = [
    side._replace(
      rows=np.asarray(side.rows)[..., :3],
      head=head,
      bias=np.full(head.shape[1], 0.5, np.float32),
    )
    for side, head in zip(sides(), heads, strict=True)
  ]
  plain = [
    side._replace(rows=side.rows @ side.head + 0.5, head=None, bias=None)
    for side in hidden
  ]
  loss = LOSSES[name]
  np.testing.assert_allclose(
    loss(*hidden, chunk_size=size), loss(*plain), atol=2e-6
  )


def test_no_array_holds_the_logits_of_all_slots():
  wide = 4096
  head = jnp.zeros((3, wide))
  pair = [side._replace(rows=side.rows[..., :3], head=head) for side in sides()]

  def loss(rows):
    student = pair[0]._replace(rows=rows)
    return divergence(student, pair[1], chunk_size=2).sum()

  text = jax.jit(jax.grad(loss)).lower(pair[0].rows).as_text()
  assert f"tensor<2x{wide}x" in text
  assert not any(f"tensor<{n}x{wide}x" in text for n in (12, 10, 8, "2x6"))


def test_a_teacher_without_other_tokens_tells_the_student_to_have_none():
  """Else all mass on tokens that the teacher has not would cost nothing."""
  ids = aligned.SharedIds(np.array([0, 1]), np.array([0, 1]))
  slot = aligned.Alignment(*3 * [np.array([0])])
  teacher = aligned.Side(jnp.zeros((1, 2)), jnp.array([0]))

  @jax.jit
  def of_rows(rows):
    side = aligned.Side(rows, jnp.array([0]))
    return aligned.divergence(side, teacher, slot, shared_ids=ids)[0]

  def loss(logits):
    return of_rows(jnp.array([logits]))

  even = loss([0.0, 0.0, 0.0])
  assert even == pytest.approx(np.log(1.5), rel=1e-4)
  assert loss([0.0, 0.0, 9.0]) > even > loss([0.0, 0.0, -9.0]) >= 0


BAD = {
  "rows": (lambda s, t: (s._replace(tokens=s.tokens[:, :3]), t), "student's rows"),
  "head": (lambda s, t: (s, t._replace(head=jnp.ones((3, 6)))), "teacher's rows"),
  "documents": (
    lambda s, t: (s, jax.tree.map(lambda x: x[:1], t)), "leading shape"
  ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_shapes(name):
  change, words = BAD[name]
  with pytest.raises(ValueError, match=f"aligned.divergence: .*{words}"):
    divergence(*change(*sides()))


def test_ids_of_both_sides_are_as_many():
  ids = aligned.SharedIds(np.arange(2), np.arange(3))
  with pytest.raises(ValueError, match="as many tokens .* 2 and 3"):
    aligned.divergence(*sides(), ALIGNMENT, shared_ids=ids)


def test_arrays_of_an_alignment_have_one_shape():
  short = ALIGNMENT._replace(teacher=ALIGNMENT.teacher[:, :2])
  with pytest.raises(ValueError, match="aligned.uld: the alignment's arrays"):
    aligned.uld(*sides(), short)
