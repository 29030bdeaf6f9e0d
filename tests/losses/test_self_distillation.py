import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

COLD = {"student_temperature": 1.0, "teacher_temperature": 1.0}
CROSS = 1.75 * LN2  # - sum P log Q
OWN = 1.5 * LN2  # - sum P log P


def views(*rows):
  return jnp.stack([logits(row) for row in rows])


@pytest.mark.parametrize(
  ("student", "teacher", "expected"),
  [
    # Two views: each global one meets the other alone.
    ((P, Q), (P, P), (CROSS + OWN) / 2),
    # One global view: not its own, but both local ones.
    ((P, Q, P), (P,), (CROSS + OWN) / 2),
    ((Q, Q, P), (P, P), (CROSS + OWN + CROSS + OWN) / 4),
  ],
)
def test_dino_averages_over_unlike_views(student, teacher, expected):
  inputs = (views(*student), views(*teacher), jnp.zeros(3))
  check_value(losses.dino, inputs, COLD, [expected])


def test_dino_centre_is_taken_off_the_teacher():
  shift = jnp.array([1.0, -2.0, 0.5])
  inputs = (views(P, Q), views(P, P) + shift[None, None], shift)
  check_value(losses.dino, inputs, COLD, [(CROSS + OWN) / 2])


def test_dino_default_temperatures():
  student = jnp.stack([logits(Q, 0.1), logits(Q, 0.1)])
  teacher = jnp.stack([logits(P, 0.04), logits(P, 0.04)])
  check_value(losses.dino, (student, teacher, jnp.zeros(3)), {}, [CROSS])


@pytest.mark.parametrize(
  ("momentum", "expected"),
  [(0.9, [0.1, 0.9]), (0.0, [1.0, 0.0]), (1.0, [0, 1])],
)
def test_center_update(momentum, expected):
  teacher = jnp.array([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, -1.0]]])
  inputs = (jnp.array([0.0, 1.0]), teacher)
  check_value(
    losses.dino_center_update, inputs, {"momentum": momentum}, expected
  )


@pytest.mark.parametrize(
  ("student", "teacher", "message"),
  [
    ((2, 4, 5), (2, 4, 6), "must agree in n and D"),
    ((2, 4, 5), (3, 4, 5), "no more global views than views"),
    ((1, 4, 5), (1, 4, 5), "needs a pair of different views"),
  ],
)
def test_views_that_do_not_fit(student, teacher, message):
  with pytest.raises(ValueError, match=f"dino: .*{message}"):
    losses.dino(jnp.zeros(student), jnp.zeros(teacher), jnp.zeros(5))


def test_center_of_another_size():
  with pytest.raises(ValueError, match=r"dino_center_update: .*\(3,\) and"):
    losses.dino_center_update(jnp.zeros(3), np.zeros((2, 1, 4)))
