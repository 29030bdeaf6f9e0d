import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

# With label 0: (1/4, 3/4) against (1/2, 1/2), and (2/3, 1/3) against (1/2, 1/2).
TARGET = 0.25 * np.log(1 / 2) + 0.75 * np.log(3 / 2)
OTHERS = 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3)
# CE(student, 0) / CE(teacher, 0) = log 2 / log 4
WEIGHT = 1 - np.exp(-0.5)

TABLE = [
  ("dkd", {"temperature": 1.0}, TARGET + 8 * OTHERS),
  ("dkd", {"temperature": 1.0, "alpha": 0.0, "beta": 1.0}, OTHERS),
  ("dkd", {"temperature": 1.0, "alpha": 2.0, "beta": 0.0}, 2 * TARGET),
  ("nkd", {}, 0.25 * LN2 + 1.5 * LN2),
  ("nkd", {"gamma": 0.0}, 0.25 * LN2),
  ("wsld", {"temperature": 1.0}, WEIGHT * 1.75 * LN2),
  ("ofa", {}, 1.75 * LN2),
  ("ofa", {"eps": 2.0}, (0.5625 + 0.5 + 0.125) * LN2),
]


@pytest.mark.parametrize(("name", "keywords", "expected"), TABLE)
def test_values(name, keywords, expected):
  inputs = (logits(Q), logits(P), jnp.array([0]))
  check_value(getattr(losses, name), inputs, keywords, [expected])


@pytest.mark.parametrize(
  ("keywords", "expected"),
  [
    ({}, 16 * (TARGET + 8 * OTHERS)),
    ({"t_squared": False}, TARGET + 8 * OTHERS),
  ],
)
def test_dkd_default_temperature_is_4(keywords, expected):
  inputs = (logits(Q, 4.0), logits(P, 4.0), jnp.array([0]))
  check_value(losses.dkd, inputs, keywords, [expected])


def test_dkd_of_two_classes_has_no_others():
  student, teacher = jnp.array([[1.0, -2.0]]), jnp.array([[0.0, 3.0]])
  keywords = {"alpha": 0.0, "beta": 8.0}
  check_value(losses.dkd, (student, teacher, jnp.array([1])), keywords, [0.0])


def test_dkd_is_kd_with_the_teachers_weight_on_the_others():
  both = np.random.default_rng(0).normal(size=(2, 1, 7))
  student, teacher = both.astype(np.float32)
  odds = np.exp(teacher / 4)
  rest = 1 - odds[:, 2] / odds.sum()
  got = losses.dkd(student, teacher, np.array([2]), beta=rest)
  np.testing.assert_allclose(got, losses.kd(student, teacher), rtol=1e-5)


def test_dkd_keeps_its_digits_far_from_zero():
  # A difference of two logsumexps is off by 1e-2 here.
  sides = np.float32([[[30000, 29999, 29998]], [[30000, 30001, 29998]]])
  want = losses.dkd(*(x - 30000 for x in sides), np.array([0]))
  check_value(losses.dkd, (*sides, np.array([0])), {}, want)


@pytest.mark.parametrize("gap", [110.0, 1e4])
def test_dkd_survives_a_gap_at_temperature_1(gap):
  student, teacher = jnp.array([[gap, 0.0, 0.0]]), jnp.array([[0.0, gap, 0.0]])
  inputs = (student, teacher, jnp.array([0]))
  keywords = {"temperature": 1.0, "alpha": 1.0, "beta": 1.0}
  # The label: all of the student's mass, none of the teacher's: KL = gap (less
  # the share of the two others); the others: log 2, as the teacher is sure.
  expected = (gap - LN2) + LN2
  check_value(losses.dkd, inputs, keywords, [expected])


@pytest.mark.parametrize("name", ["dkd", "nkd", "wsld", "ofa"])
@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (jnp.array([0, 1]), r"labels must .* got \(2,\) for logits \(1, 3\)"),
    (jnp.array([0.0]), "labels must be integer class ids, got float32"),
  ],
)
def test_labels_are_checked(name, labels, message):
  with pytest.raises(ValueError, match=f"{name}: {message}"):
    getattr(losses, name)(logits(Q), logits(P), labels)


NO_LABELS = {
  jnp.int32: [-100, -1, 64, 2**31 - 1],
  jnp.int8: [-100, -1, 64, 127],
  jnp.uint8: [64, 65, 128, 255],
  jnp.uint32: [64, 100, 2**31, 2**32 - 1],
}


@pytest.mark.parametrize(
  ("name", "dtype", "rows"),
  [
    pytest.param(
      name, dtype, rows,
      # All four look for labels in one way.
      marks=[pytest.mark.slow] * (
        (dtype, rows) != (jnp.int32, 8)
        and (name != "dkd" or dtype not in (jnp.int32, jnp.uint32))
      ),
    )
    for name in ("dkd", "nkd", "wsld", "ofa")
    for dtype, rows in [*((x, 8) for x in NO_LABELS), (jnp.int32, 2048)]
  ],
)  # fmt: skip
def test_a_label_out_of_range_is_no_label(name, dtype, rows):
  """At every size: others keep their values, rows without one their gradient."""
  random = np.random.default_rng(0)
  student, teacher = random.normal(size=(2, rows, 64)).astype(np.float32)
  good = random.integers(0, 64, size=rows)
  labels = good.copy()
  labels[:4] = NO_LABELS[dtype]

  @functools.partial(jax.jit, static_argnums=0)
  def both(name, *arguments):
    """Values, and the gradient of their sum."""
    loss = functools.partial(getattr(losses, name), temperature=2.0)
    value, pull = jax.vjp(lambda x: loss(x, *arguments[1:]), arguments[0])
    return value, pull(jnp.ones_like(value))[0]

  got, grad = both(name, student, teacher, labels.astype(dtype))
  want, slope = both(name, student, teacher, good.astype(dtype))
  got, grad, want, slope = map(np.asarray, (got, grad, want, slope))
  np.testing.assert_allclose(got[4:], want[4:], rtol=1e-5)
  np.testing.assert_allclose(grad[4:], slope[4:], rtol=1e-4, atol=1e-6)
  if name == "ofa":  # at eps = 1 the soft cross-entropy is left
    other, slope = both("soft_cross_entropy", student, teacher)
    np.testing.assert_allclose(got[:4], other[:4], rtol=1e-5)
    got, grad = got - other, grad - slope
  np.testing.assert_allclose(got[:4], 0, atol=1e-5)
  np.testing.assert_allclose(grad[:4], 0, atol=1e-6)


def test_ofas_powers_stay_in_rows_without_a_label():
  inputs = (logits(Q), logits(P), jnp.array([-1]))
  # sum p^2 log 2, with q's uniform part
  want = -sum(np.square(P[0]) * np.log(Q[0]))
  check_value(losses.ofa, inputs, {"eps": 2.0}, [want])


@pytest.mark.slow
def test_ids_of_64_bits_are_not_cut_off():
  with jax.enable_x64(True):
    for ids in (np.array([2**32, 1]), jnp.array([2**32, 1])):
      got = losses.dkd(jnp.zeros((2, 3)), jnp.eye(3)[:2], ids)
      assert got[0] == 0 < got[1]
