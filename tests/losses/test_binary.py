"""Yes/no questions: by hand, as kd of two classes, at extremes; embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import check_value
from jax.test_util import check_grads

NAN = float("nan")
# Two answers of each side, and what the label of each is.
STUDENT, TEACHER = np.array([0.2, 0.7]), np.array([0.6, 0.5])


def logit(probability):
  p = np.asarray(probability, np.float64)
  return np.log(p) - np.log1p(-p)


def kl(p, q):
  return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def normal(*shape, scale=1.0):
  values = scale * np.random.default_rng(0).normal(size=shape)
  return values.astype(np.float32)


def pairs(z):
  return jnp.stack([jnp.zeros_like(z), z], axis=-1)


APART = kl(TEACHER, STUDENT)


@pytest.mark.parametrize(
  ("labels", "keywords", "want"),
  [
    (None, {}, APART.sum()),
    ([1, 0], {}, APART.sum()),
    ([1, -1], {}, APART[0]),
    ([NAN, 0.0], {}, APART[1]),
    ([-1, -1], {}, 0.0),
    ([1, 0], {"positive_weight": 3.0}, 3 * APART[0] + APART[1]),
    ([1, 0], {"negative_weight": 0.25}, APART[0] + APART[1] / 4),
    ([0.5, 0], {"positive_weight": 3.0}, 2 * APART[0] + APART[1]),
    ([1, 1], {"positive_weight": np.float32([2, 5])}, 2 * APART[0] + 5 * APART[1]),
    (None, {"positive_weight": 3.0}, ((1 + 2 * TEACHER) * APART).sum()),
    (None, {"gamma": 2.0}, ((TEACHER - STUDENT) ** 2 * APART).sum()),
    (None, {"gamma": 0.5}, (abs(TEACHER - STUDENT) ** 0.5 * APART).sum()),
  ],
)  # fmt: skip
def test_by_hand(labels, keywords, want):
  sides = [np.float32(logit([x])) for x in (STUDENT, TEACHER)]
  given = sides if labels is None else [*sides, np.array([labels], np.float32)]
  check_value(losses.binary_kd, given, {"temperature": 1.0, **keywords}, [want])


@pytest.mark.parametrize("temperature", [1.0, 4.0, 300.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_of_one_label_it_is_kd_of_two_classes(temperature, dtype):
  with jax.enable_x64(True):
    student, teacher = jnp.asarray(normal(2, 40, scale=6.0), dtype)

    def values(z):
      one = losses.binary_kd(
        z[:, None], teacher[:, None], temperature=temperature
      )
      two = losses.kd(pairs(z), pairs(teacher), temperature=temperature)
      return one, two

    found = jax.jit(lambda z: (values(z), jax.jacrev(lambda z: tuple(
      x.sum() for x in values(z)))(z)))(student)  # fmt: skip
  (one, two), slopes = found
  assert one.dtype == two.dtype
  for got, want in ((one, two), slopes):
    got, want = (np.asarray(x, np.float64) for x in (got, want))
    np.testing.assert_allclose(
      got, want, rtol=2e-5, atol=1e-5 * abs(want).max()
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_extremes_are_finite(gamma):
  values = np.float32([1e4, -1e4, 0, 20, -20, 1e30, -1e30, -np.inf])
  student, teacher = (x.ravel()[None] for x in np.meshgrid(values, values))
  labels = np.resize(np.float32([1, 0, -1, np.nan]), student.shape)

  def total(student, labels):
    return losses.binary_kd(student, teacher, labels, gamma=gamma).sum()

  for known in (labels, np.ones_like(labels)):
    slope = jax.jit(jax.grad(total))(student, known)
    assert np.isfinite(slope).all()
    assert not slope[~(known >= 0)].any()
  loss = losses.binary_kd(student[:, :-1], teacher[:, :-1], temperature=1.0)
  assert loss >= 0


@pytest.mark.parametrize(
  "keywords",
  [{}, {"gamma": 2.0}, {"gamma": 0.5}, {"positive_weight": 4.0}],
  ids=str,
)
def test_gradients_by_finite_differences(keywords):
  student, teacher = normal(2, 3, 4).astype(np.float64)
  labels = np.array([[1, 0, -1, 1]] * 3)
  with jax.enable_x64(True):
    for given in ((), (jnp.asarray(labels),)):
      check_grads(
        lambda s, given=given: losses.binary_kd(s, teacher, *given, **keywords),
        (student,),
        order=1,
        modes=["rev"],
      )


@pytest.mark.parametrize("keywords", [
  {"positive_weight": 9.0, "negative_weight": 0.5}, {"gamma": 1.0},
])  # fmt: skip
def test_weights_leave_the_teacher_the_best_answer(keywords):
  teacher = normal(2, 5)
  slope = jax.jit(
    jax.grad(lambda s: losses.binary_kd(s, teacher, **keywords).sum())
  )(teacher)
  np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_a_temperature_for_each_row():
  student, teacher = normal(2, 3, 4)
  warmth = np.float32([1, 2, 8])
  want = [
    losses.binary_kd(student[i], teacher[i], temperature=float(warmth[i]))
    for i in range(3)
  ]
  got = losses.binary_kd(student, teacher, temperature=warmth)
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
  ("given", "keywords", "says"),
  [
    ((np.zeros((2, 3)), np.zeros((2, 4))), {}, r"same shape, got \(2, 3\)"),
    ((np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2)), {}, "labels must have"),
    ((np.zeros((2, 3)),) * 2, {"gamma": -1.0}, "gamma must be a Python number"),
    (
      (np.zeros((2, 3)),) * 2,
      {"positive_weight": np.ones(2)},
      r"positive_weight must be a number, or broadcast .* \(2, 3\), got \(2,\)",
    ),
    ((np.zeros((2, 3)),) * 2, {"temperature": 0}, "temperature must be > 0"),
  ],
)
def test_misfits(given, keywords, says):
  with pytest.raises(
    ValueError, match=f"^binary_kd: .*{says}|^binary_kd: {says}"
  ):
    losses.binary_kd(*map(np.float32, given), **keywords)


def of_distances(student, teacher):
  """The embeddings' loss of one group, straight from its formula."""

  def over_mean(rows):
    d = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    return d / (d.sum() / (len(d) * (len(d) - 1)))

  x = np.abs(over_mean(student) - over_mean(teacher))
  return np.where(x < 1, x**2 / 2, x - 0.5).sum() / len(x)


def test_embeddings_by_their_formula():
  student, teacher = normal(5, 4, 6).astype(np.float64), normal(5, 4, 3) + 1.0
  labels = np.array([[1, 1, 0, -1], [1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 1],
                     [NAN, 1, 0, 0]])  # fmt: skip
  yes = labels > 0
  by_label = [
    of_distances(student[yes[:, k], k], teacher[yes[:, k], k])
    for k in range(4)
    if yes[:, k].sum() > 1
  ]
  by_example = [
    of_distances(student[b, yes[b]], teacher[b, yes[b]])
    if yes[b].sum() > 1
    else 0
    for b in range(5)
  ]
  given = tuple(map(np.float32, (student, teacher, labels)))
  check_value(losses.class_aware_embedding, given, {}, sum(by_label))
  check_value(losses.instance_aware_embedding, given, {}, by_example)


@pytest.mark.parametrize(
  "name", ["class_aware_embedding", "instance_aware_embedding"]
)
def test_embeddings_of_other_shapes_are_refused(name):
  with pytest.raises(ValueError, match=rf"^{name}: .* \(batch, labels, size\)"):
    getattr(losses, name)(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3)))
