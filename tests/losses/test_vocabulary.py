import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

TOP_1 = 0.5 * LN2 + 0.5 * np.log(2 / 3)  # (1/2, rest) against (1/4, rest)
TOPS = [
  # Classes 1 and 0 (the lower of two tied): (2/3, 1/3) against (1/3, 2/3).
  ({"k": 2}, LN2 / 3),
  ({"k": 3}, 0.25 * LN2),
  ({"k": 1}, 0.0),
  ({"k": 1, "tail": "bucket"}, TOP_1),
  ({"k": 2, "tail": "bucket"}, 0.25 * LN2),
]


@pytest.mark.parametrize(("keywords", "expected"), TOPS)
def test_topk_kd(keywords, expected):
  def both(*pair):
    warm = (3 * x for x in pair)
    return jnp.stack(
      [
        losses.topk_kd(*pair, **keywords),
        losses.topk_kd(*warm, **keywords, temperature=3.0),
      ]
    )

  pair = logits(Q), logits(P)
  check_value(both, pair, {}, [[expected], [9 * expected]])


STORED = np.log([[0.5, 0.25, np.nan]])
STORED[0, 2] = -np.inf


@pytest.mark.parametrize("missing", [0, 1, -1, 99])
@pytest.mark.parametrize(
  ("tail", "expected"), [("renormalize", LN2 / 3), ("bucket", 0.25 * LN2)]
)
def test_sparse_kd_does_not_read_missing_entries(missing, tail, expected):
  stored = jnp.asarray(STORED, jnp.float32)
  ids = jnp.array([[1, 0, missing]])
  check_value(
    losses.sparse_kd, (logits(Q), stored, ids), {"tail": tail}, [expected]
  )


@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_sparse_kd_is_topk_kd_of_what_was_stored(tail):
  @jax.jit
  def both(student, teacher):
    stored, ids = jax.lax.top_k(jax.nn.log_softmax(teacher), 4)
    want = losses.topk_kd(student, teacher, k=4, tail=tail)
    return losses.sparse_kd(student, stored, ids, tail=tail), want

  random = np.random.default_rng(0).normal(size=(2, 2, 3, 9))
  got, want = both(*random.astype(np.float32))
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_the_bucket_of_all_classes_is_clamped():
  student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
  want = losses.forward_kl(student, teacher)
  got = losses.topk_kd(student, teacher, k=2, tail="bucket")
  np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
  ("student", "teacher", "expected"),
  [
    (Q, P, 0.0),  # the same, in another order
    ([[0.5, 0.5]], P, 0.5),  # |1/2 - 1/2| + |1/2 - 1/4| + |0 - 1/4|
    (P, [[0.5, 0.5]], 0.5),
    ([[0.9, 0.1]], [[0.6, 0.4]], 0.6),
  ],
)
def test_uld(student, teacher, expected):
  check_value(losses.uld, (logits(student), logits(teacher)), {}, [expected])


@pytest.mark.parametrize(
  ("student", "teacher", "expected"),
  [
    # Ranks: 1/2 above 0.4, 0.3 above 1/4, and 0.2 below 1/4.
    ([[0.3, 0.2, 0.5]], [[0.25, 0.4, 0.25, 0.1]], [1, -1, 1]),
    ([[0.2, 0.3, 0.5]], [[0.6, 0.4]], [1, -1, -1]),
    # Tied classes share the mean of their ranks' slopes: -1 and 1; 1, -1, -1.
    ([[0.3, 0.4, 0.3]], [[0.35, 0.35, 0.2, 0.1]], [0, 1, 0]),
    ([[0.2, 0.2, 0.2, 0.4]], [[0.3, 0.3, 0.3, 0.1]], [-1 / 3] * 3 + [1]),
  ],
)
def test_slope_of_uld_goes_to_the_class_of_the_rank(student, teacher, expected):
  got = jax.grad(lambda s: losses.uld(s, logits(teacher)).sum())
  q, slopes = np.array(student), np.array(expected)
  want = q * (slopes - (q * slopes).sum())
  np.testing.assert_allclose(got(logits(student)), want, atol=1e-6)


@pytest.mark.parametrize("sizes", [(300, 1000), (1000, 300), (500, 500)])
def test_uld_sorts_as_numpy_does(sizes):
  random = np.random.default_rng(0)
  student, teacher = (4 * random.normal(size=(2, 3, n)) for n in sizes)
  teacher[0, 1, 5:9] = student[0, 2, 3] = -np.inf
  got = losses.uld(*(x.astype(np.float32) for x in (student, teacher)))
  sides = np.zeros((2, 2, 3, max(sizes)))
  for side, x in zip(sides, (student, teacher), strict=True):
    probs = np.exp(x - x.max(-1, keepdims=True))
    side[..., : x.shape[-1]] = probs / probs.sum(-1, keepdims=True)
  gaps = np.diff(np.sort(sides), axis=0)[0]
  np.testing.assert_allclose(got, np.abs(gaps).sum(-1), rtol=1e-5)


def test_uld_does_not_hide_a_nan():
  student, teacher = jnp.array([[0.0, jnp.nan, 1.0]]), jnp.zeros((1, 5))
  assert jnp.isnan(losses.uld(student, teacher)).all()
  assert jnp.isnan(losses.uld(teacher, student)).all()


def test_uld_has_a_temperature_a_side():
  inputs = (logits([[0.5, 0.5]], 3.0), logits(P, 2.0))
  keywords = {"student_temperature": 3.0, "teacher_temperature": 2.0}
  check_value(losses.uld, inputs, keywords, [0.5])


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda s, t: losses.topk_kd(s, t, k=4),
      r"topk_kd: k must be in 1 to 3, .*got 4",
    ),
    (
      lambda s, t: losses.topk_kd(s, t, k=1, tail="rest"),
      "topk_kd: tail must be one of renormalize, bucket, got 'rest'",
    ),
    (
      lambda s, t: losses.sparse_kd(s, t[:, :2], jnp.zeros((1, 3), int)),
      r"sparse_kd: .* got \(1, 2\) and \(1, 3\) for student \(1, 3\)",
    ),
    (
      lambda s, t: losses.sparse_kd(s, t, t),
      "sparse_kd: indices must be integer class ids, got float32",
    ),
    (
      lambda s, t: losses.uld(s[0], t),
      r"uld: .* got \(3,\) and \(1, 3\)",
    ),
  ],
)
def test_what_does_not_fit_is_refused(call, message):
  with pytest.raises(ValueError, match=message):
    call(logits(Q), logits(P))


# Stored probabilities and ids, and what they are as good as. Five classes.
AS_GOOD_AS = [
  ("past the vocabulary", [0.5, 0.2, 0.2], [4, 1, 7], [0.5, 0.2], [4, 1]),
  ("the vocabulary's size", [0.5, 0.2, 0.2], [4, 1, 5], [0.5, 0.2], [4, 1]),
  ("filled with -1", [0.5, 0.2, 0.2], [4, 1, -1], [0.5, 0.2], [4, 1]),
  ("filled with -100", [0.5, 0.2, 0.2], [-100, 4, 1], [0.2, 0.2], [4, 1]),
  ("repeated", [0.5, 0.2, 0.1], [4, 1, 4], [0.5, 0.2], [4, 1]),
  ("thrice", [0.4, 0.2, 0.1, 0.1], [2, 2, 0, 2], [0.4, 0.1], [2, 0]),
  ("repeats what is missing", [0, 0.2, 0.5], [4, 1, 4], [0.2, 0.5], [1, 4]),
]


@functools.partial(jax.jit, static_argnames="tail")
def value_and_slope(student, stored, ids, tail):
  value, pull = jax.vjp(
    lambda x: losses.sparse_kd(x, stored, ids, tail=tail), student
  )
  return value, pull(jnp.ones_like(value))[0]


@pytest.mark.parametrize(
  ("dtype", "tail"),
  [
    (np.int32, "renormalize"),
    (np.int32, "bucket"),
    (np.uint16, "bucket"),
    pytest.param(np.uint16, "renormalize", marks=pytest.mark.slow),
    pytest.param(np.int8, "renormalize", marks=pytest.mark.slow),
    pytest.param(np.int8, "bucket", marks=pytest.mark.slow),
  ],
)
@pytest.mark.parametrize(
  ("probs", "ids", "less", "fewer"),
  [pytest.param(*row, id=name) for name, *row in AS_GOOD_AS],
)
def test_an_id_out_of_range_or_repeated_is_a_missing_id(
  probs, ids, less, fewer, dtype, tail
):
  student = np.float32([[0.0, 0.5, -1.0, 0.0, 2.0]])
  if min(ids) < 0 and not np.issubdtype(dtype, np.signedinteger):
    ids = [x % 2**16 for x in ids]

  def both(probs, ids):
    with np.errstate(divide="ignore"):
      stored = np.log([probs]).astype(np.float32)
    return value_and_slope(student, stored, ids, tail)

  got = both(probs, np.array([ids], dtype))
  want = both(less, np.array([fewer], np.int32))
  for a, b in zip(got, want, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  assert got[0] >= 0


@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_a_position_without_any_id_is_zero(tail):
  stored, ids = np.log(np.float32([[0.5, 0.2]])), np.array([[9, -1]])
  value, slope = value_and_slope(np.float32([[0, 1, 2]]), stored, ids, tail)
  assert value == 0 and not slope.any()
