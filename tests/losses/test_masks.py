"""Classes that one side alone masks, worked by hand: as if removed from both."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import check_value

from kdjax.losses import _rows, chunked

GONE = -np.inf
P = np.log([[0.5, 0.3, 0.2]])
# Without the third class p = (5/8, 3/8), q = (1/2, 1/2).
FORWARD = 5 / 8 * np.log(5 / 4) + 3 / 8 * np.log(3 / 4)
REVERSE = 1 / 2 * np.log(4 / 5) + 1 / 2 * np.log(4 / 3)
LN2 = np.log(2)
STUDENT, TEACHER = [[0.0, 0.0, GONE]], P
VALUES = [
  ("kd", {"temperature": 1.0}, FORWARD),
  ("forward_kl", {}, FORWARD),
  ("reverse_kl", {}, REVERSE),
  ("symmetric_kl", {}, (FORWARD + REVERSE) / 2),
  ("soft_cross_entropy", {}, LN2),
  ("tvd", {}, 1 / 8),
  ("ttm", {"gamma": 1.0}, FORWARD),
  ("topk_kd", {"k": 3}, FORWARD),
  ("topk_kd", {"k": 1, "tail": "bucket"}, FORWARD),
  ("hard_distillation", {}, LN2),
]


@pytest.fixture(params=["plain", "large"], scope="module")
def size(request):
  """The ways that small and large inputs take."""
  # Or a function that was traced before would be used as it was.
  jax.clear_caches()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(_rows, "LARGE", 1 << 40 if request.param == "plain" else 1)
    patch.setattr(_rows, "_CLASSES", 1)
    yield
  jax.clear_caches()


@pytest.mark.parametrize(("name", "keywords", "expected"), VALUES)
def test_class_masked_by_one_side_alone_by_hand(name, keywords, expected, size):
  """Which side masks does not matter, only what is left of both."""
  student, teacher = (
    np.repeat(np.array(x, np.float32), 2, axis=0) for x in (STUDENT, TEACHER)
  )
  student[1, 2], teacher[1, 2] = 0.0, GONE
  sides = student, teacher
  check_value(getattr(losses, name), sides, keywords, [expected, expected])


@pytest.mark.parametrize(
  "name", ["reverse_kl", "adaptive_kl", "jensen_shannon"]
)
def test_descent_leaves_the_class_that_the_teacher_forbids_alone(name, size):
  teacher = jnp.array([[0.0, 1.0, GONE]])
  gradient = jax.jit(
    jax.grad(lambda x: getattr(losses, name)(x, teacher).sum())
  )
  slopes = gradient(jnp.array([[0.5, 0.0, 3.0]]))
  assert slopes[0, 2] == 0
  assert float(slopes[0, 0]) == pytest.approx(-float(slopes[0, 1]), rel=1e-5)
  assert slopes[0, 0] > 0  # the student has more of it than the teacher


STORED = [
  # The masked class is stored; the rest of the vocabulary keeps its share.
  ("renormalize", [[0.5, 0.2]], [[0, 2]], 0.0),
  ("bucket", [[0.5, 0.2]], [[0, 2]], FORWARD),
  # All that is stored is masked: nothing is left, or the rest alone.
  ("renormalize", [[0.2]], [[2]], 0.0),
  ("bucket", [[0.2]], [[2]], 0.0),
]


@pytest.mark.parametrize(("tail", "stored", "ids", "expected"), STORED)
def test_stored_class_that_the_student_masks_by_hand(
  tail, stored, ids, expected
):
  stored = jnp.log(jnp.asarray(stored, jnp.float32))
  check_value(
    losses.sparse_kd,
    (jnp.array(STUDENT), stored, jnp.array(ids)),
    {"tail": tail},
    [expected],
  )


@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_student_that_masks_everything_learns_nothing_from_what_is_stored(tail):
  stored, ids = jnp.log(jnp.array([[0.5, 0.3]])), jnp.array([[0, 1]])
  value, slopes = jax.jit(
    jax.value_and_grad(
      lambda x: losses.sparse_kd(x, stored, ids, tail=tail).sum()
    )
  )(np.full((1, 3), GONE, np.float32))
  assert value == 0 and not slopes.any()


@pytest.mark.parametrize(
  ("combine", "teachers", "expected"),
  [
    # One of two teachers masks: the mean of (5/8, 3/8) and (3/8, 5/8) is even.
    ("probs", [[[5.0, 3.0, 0.0]], [[3.0, 5.0, 0.0]]], 0.0),
    ("logits", [[[5.0, 3.0, 0.0]], [[5.0, 3.0, 4.0]]], FORWARD),
  ],
)
def test_ensemble_without_what_the_student_masks(combine, teachers, expected):
  with np.errstate(divide="ignore"):
    teachers = jnp.asarray(np.log(teachers), jnp.float32)
  keywords = {"temperature": 1.0, "combine": combine}
  sides = jnp.array(STUDENT), teachers
  check_value(losses.ensemble_kd, sides, keywords, [expected])


# Without the label's class: softmaxes of (2, 0) and (0, 0.5).
@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("dkd", 0.0),
    ("nkd", 0.0),
    ("wsld", 0.0),
    # The teacher's powers stay: - sum p log q of both that are left.
    ("ofa", -(0.8807971 * -0.9740770 + 0.1192029 * -0.4740770)),
  ],
)
def test_label_whose_class_either_side_masks_is_none(name, expected, size):
  """The student masks it in the first row, the teacher in the second, or both."""
  both = np.array([[[0.0, 1.0, 0.5]] * 3, [[2.0, 1.0, 0.0]] * 3], np.float32)
  both[0, [0, 2], 1] = both[1, [1, 2], 1] = GONE
  loss = getattr(losses, name)

  def total(*sides):
    values = loss(*sides, np.array([1, 1, 1]))
    return values.sum(), values

  slopes, values = jax.jit(jax.grad(total, has_aux=True))(*both)
  np.testing.assert_allclose(values, 3 * [expected], rtol=1e-6, atol=1e-6)
  assert not np.any(slopes[:, 1])
  np.testing.assert_array_equal(np.any(slopes, axis=1), bool(expected))


def test_standardised_logits_leave_out_what_one_side_masks():
  """Of (0, 2, -) and (3, 1, 9): both have deviations of 1 about their means."""
  student, teacher = np.float32([[0, 2, GONE]]), np.float32([[3, 1, 9]])
  loss = functools.partial(losses.kd, standardize=True, temperature=1.0)
  want = loss(student[:, :2], teacher[:, :2])
  np.testing.assert_allclose(loss(student, teacher), want, rtol=1e-6)


@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
def test_dist_leaves_out_what_one_side_masks(side, size):
  sides = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
  want = losses.dist(*sides[..., [0, 2]])
  sides[side, :, 1] = GONE
  np.testing.assert_allclose(losses.dist(*sides), want, rtol=1e-4)


@pytest.mark.parametrize("labels", [None, [0, 1]])
def test_labels_of_chunked_losses_keep_the_students_own_softmax(labels):
  """The teacher masks class 2, which the label's softmax still has."""
  hidden, head = np.ones((2, 1), np.float32), np.zeros((1, 3), np.float32)
  bias = np.float32([0, 0, GONE])
  labels = None if labels is None else np.array(labels)
  loss = functools.partial(chunked.forward_kl, teacher_bias=bias, labels=labels)
  found = jax.jit(loss)(hidden, head, hidden, head)
  assert float(found.divergence) == pytest.approx(0.0, abs=1e-6)
  if labels is not None:
    assert float(found.cross_entropy) == pytest.approx(2 * np.log(3), rel=1e-6)
