import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

ROOT = np.sqrt(2.0)
# softmax(log(P) / 2) = (1, sqrt 2, 1) / (2 + sqrt 2)
HALF = np.array([1, ROOT, 1]) / (2 + ROOT)
TO_HALF = np.sum(HALF * np.log(HALF / Q[0]))


def normal(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


TABLE = [
  ("kd", {"temperature": 1.0}, 0.25 * LN2),
  ("soft_cross_entropy", {}, 1.75 * LN2),
  ("hard_distillation", {}, 2 * LN2),
  ("ttm", {"gamma": 1.0}, 0.25 * LN2),
  ("ttm", {"gamma": 0.5}, TO_HALF),
  ("ttm", {"gamma": 0.5, "weighted": True}, (1 + ROOT / 2) * TO_HALF),
  ("logit_mse", {}, 2 * LN2**2 / 3),
  ("logit_mse", {"reduce": "sum"}, 2 * LN2**2),
]


@pytest.mark.parametrize(("name", "keywords", "expected"), TABLE)
def test_values(name, keywords, expected):
  inputs = (logits(Q), logits(P))
  check_value(getattr(losses, name), inputs, keywords, [expected])


@pytest.mark.parametrize(
  ("keywords", "factor"),
  [({}, 16), ({"t_squared": False}, 1), ({"temperature": 4}, 16)],
)
def test_kd_default_temperature_is_4(keywords, factor):
  inputs = (logits(Q, 4.0), logits(P, 4.0))
  check_value(losses.kd, inputs, keywords, [factor * 0.25 * LN2])


def test_kd_takes_a_temperature_for_each_row():
  student = jnp.concatenate([logits(Q, 1.0), logits(Q, 2.0)])
  teacher = jnp.concatenate([logits(P, 1.0), logits(P, 2.0)])
  for temperature in (jnp.array([1.0, 2.0]), np.array([1.0, 2.0])):
    keywords = {"temperature": temperature}
    check_value(losses.kd, (student, teacher), keywords, [0.25 * LN2, LN2])


def test_kd_temperature_learns():
  def objective(temperature):
    return losses.kd(logits(Q), logits(P), temperature=temperature)[0]

  step, slope = 1e-2, jax.jit(jax.value_and_grad(objective))
  want = (slope(2.0 + step)[0] - slope(2.0 - step)[0]) / (2 * step)
  np.testing.assert_allclose(slope(2.0)[1], want, rtol=2e-3)


def test_kd_temperature_learns_beside_dead_classes():
  dead = jnp.array([[1.0, 2.0, -jnp.inf]])
  grad = jax.jit(
    jax.grad(lambda t: losses.kd(dead, 2 * dead, temperature=t)[0])
  )(2.0)
  assert np.isfinite(grad)
  assert grad != 0


@pytest.mark.parametrize("temperature", [1e2, 1e3, 1e4])
def test_kd_tends_to_half_the_centred_distance(temperature):
  student, teacher = normal(2, 4, 10)
  gap = student - teacher
  gap = gap - gap.mean(axis=-1, keepdims=True)
  want = 0.5 * np.mean(np.square(gap), axis=-1)
  got = losses.kd(student, teacher, temperature=temperature)
  # The limit is approached as 1 / T; float32 adds 1e-7 T to that.
  np.testing.assert_allclose(
    got, want, rtol=2 / temperature + 5e-7 * temperature
  )


def test_kd_is_never_below_zero_close_to_the_teacher():
  teacher, noise = normal(2, 64, 100)
  both = teacher + np.float32(1e-4) * noise, teacher
  got = losses.kd(*both, temperature=1.0)
  with jax.enable_x64(True):
    want = losses.kd(*map(np.float64, both), temperature=1.0)
  assert (got >= 0).all()
  np.testing.assert_allclose(got, want, rtol=2e-3)


def test_kd_gradient_is_the_soft_cross_entropys():
  student, teacher = normal(2, 3, 5)
  functions = losses.kd, losses.soft_cross_entropy
  grads = jax.jit(
    lambda s: [
      jax.grad(
        lambda s, f=f: f(s, teacher, temperature=3.0, t_squared=True).sum()
      )(s)
      for f in functions
    ]
  )(student)
  np.testing.assert_allclose(*grads, atol=1e-6)


def test_the_label_of_a_sure_row_gets_an_exact_gradient():
  """q - p of the largest class, where float32 has 1 - q = 0 or noise."""
  both = np.float32([[[20, 0, 0]], [[0, 20, 0]]])
  slope = jax.jit(jax.grad(lambda s, t: losses.reverse_kl(s, t).sum()))
  grad = np.asarray(slope(*both))
  np.testing.assert_allclose(grad.sum(), 0.0, atol=1e-12)
  with jax.enable_x64(True):
    want = slope(*both.astype(np.float64))
  np.testing.assert_allclose(grad, want, rtol=1e-5)


def test_kd_standardised_ignores_scale_and_offset():
  student, teacher = normal(2, 3, 5)
  want = losses.kd(student, teacher, standardize=True)
  got = losses.kd(7 * student + 3, 0.1 * teacher - 1, standardize=True)
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_maps_of_logits_keep_their_places():
  student = np.broadcast_to(logits(Q), (2, 3, 4, 3))
  teacher = np.broadcast_to(logits(P), (2, 3, 4, 3))
  want = np.full((2, 3, 4), 0.25 * LN2)
  check_value(losses.kd, (student, teacher), {"temperature": 1.0}, want)


@pytest.mark.parametrize(
  ("student", "teacher", "expected"),
  [
    ([3.0, 4.0], [0.0, 1.0], 0.2),
    ([1.0, 0.0], [-2.0, 0.0], 2.0),
    ([2.0, 2.0], [5.0, 5.0], 0.0),
    ([0.0, 0.0], [5.0, 5.0], 1.0),
    ([0.0, 0.0], [0.0, 0.0], 1.0),
  ],
)
def test_cosine_distance(student, teacher, expected):
  inputs = (jnp.array([student]), jnp.array([teacher]))
  check_value(losses.cosine_distance, inputs, {}, [expected])


SECOND = [[0.75, 0.125, 0.125]]
MIXED = 0.3125 * np.log(1.25) + 0.1875 * np.log(0.75)
# The geometric mean of P and SECOND, before it is normalised.
GEOMETRIC = np.sqrt(P * np.array(SECOND))[0]
GEOMETRIC = GEOMETRIC / GEOMETRIC.sum()


@pytest.mark.parametrize(
  ("keywords", "expected"),
  [
    ({}, MIXED),
    ({"weights": (0.5, 0.5)}, MIXED),
    ({"weights": (1.0, 0.0)}, 0.25 * LN2),
    ({"combine": "logits"}, np.sum(GEOMETRIC * np.log(GEOMETRIC / Q[0]))),
    ({"combine": "logits", "weights": (1.0, 0.0)}, 0.25 * LN2),
  ],
)
def test_ensemble_kd(keywords, expected):
  inputs = (logits(Q), jnp.stack([logits(P), logits(SECOND)]))
  keywords = keywords | {"temperature": 1.0}
  check_value(losses.ensemble_kd, inputs, keywords, [expected])


def test_ensemble_weights_learn():
  teachers = jnp.stack([logits(P), logits(SECOND)])

  def objective(weights):
    keywords = {"weights": weights, "temperature": 1.0}
    return losses.ensemble_kd(logits(Q), teachers, **keywords)[0]

  # d sum p log(p / q) / dw_k = sum_c p_kc (log(p_c / q_c) + 1), at w = (1, 0)
  ratio = np.log(P[0] / Q[0]) + 1
  want = [np.sum(P[0] * ratio), np.sum(SECOND[0] * ratio)]
  got = jax.jit(jax.grad(objective))(np.float32([1, 0]))
  np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
  assert np.isfinite(got).all()


@pytest.mark.parametrize(
  ("keywords", "message"),
  [
    ({"combine": "votes"}, "combine must be one of probs, logits, got 'votes'"),
    ({"weights": (1.0,)}, r"weights must have shape \(2,\)"),
    ({"temperature": -1.0}, "temperature must be > 0"),
  ],
)
def test_ensemble_refuses(keywords, message):
  teachers = jnp.stack([logits(P), logits(P)])
  with pytest.raises(ValueError, match=f"ensemble_kd: {message}"):
    losses.ensemble_kd(logits(Q), teachers, **keywords)


def test_hidden_mse_is_logit_mse():
  assert losses.hidden_mse is losses.logit_mse


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    # Of (1, 2, -) and (3, 2, -): two classes are there, apart by 2 and 0.
    ("logit_mse", 2.0),
    ("cosine_distance", 1 - 7 / np.sqrt(65)),
  ],
)
@pytest.mark.parametrize("padded", [0, 1, 5])
def test_the_mean_is_over_the_classes_that_are_there(name, expected, padded):
  student, teacher = (
    jnp.array([row + [-jnp.inf] * padded]) for row in ([1.0, 2.0], [3.0, 2.0])
  )
  check_value(getattr(losses, name), (student, teacher), {}, [expected])


def test_srrl_averages_over_the_classes_that_are_there():
  maps = jnp.zeros((1, 1, 1, 1))
  student, teacher = (
    jnp.array([row + [-jnp.inf] * 6]) for row in ([1.0, 2.0], [3.0, 2.0])
  )
  check_value(losses.srrl, (maps, maps, student, teacher), {}, [2.0])


@pytest.mark.parametrize("name", ["kd", "logit_mse", "jensen_shannon", "ttm"])
def test_a_nan_is_seen_and_not_taken_for_a_masked_class(name):
  student, teacher = np.array(logits(Q)), logits(P)
  student[0, 1] = np.nan
  assert np.isnan(getattr(losses, name)(student, teacher)).all()


@pytest.mark.parametrize("name", ["kd", "reverse_kl"])
def test_a_nan_is_seen_in_large_inputs(name):
  student, teacher = np.zeros((2, 2048, 64), np.float32)
  student[3, 5] = np.nan
  got = getattr(losses, name)(student, teacher + 1)
  np.testing.assert_array_equal(np.flatnonzero(np.isnan(got)), [3])
