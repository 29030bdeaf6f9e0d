"""What rounding and leaving classes out can do to a loss: docs/teacher_cache.md."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax.data.teacher_cache.records import (
  from_records,
  record_type,
  to_records,
)

CLASSES = 10


def cases(scale, count=400):
  rng = np.random.default_rng(int(scale * 10))
  sharp = rng.exponential(size=(count, 1))
  teacher = scale * sharp * rng.normal(size=(count, CLASSES))
  student = scale * rng.normal(size=(count, CLASSES))
  return student.astype(np.float32), teacher.astype(np.float32)


def kept(teacher, **options):
  kind = record_type(CLASSES, **options)
  zeros = np.zeros(len(teacher), int)
  records = to_records(kind, zeros, zeros, teacher)
  return records, from_records(records, CLASSES)[0]


def gap(student, teacher, cached, temperature):
  """How much losses differ, and the L1 norm of how much their gradients do."""

  def loss(logits, targets):
    return losses.kd(logits, targets, temperature=temperature)

  def slope(targets):
    return jax.grad(lambda logits: loss(logits, targets).sum())(student)

  values = np.abs(loss(student, teacher) - loss(student, cached))
  return values, np.abs(slope(teacher) - slope(cached)).sum(axis=-1)


def width(logits):
  return logits.max(axis=-1) - logits.min(axis=-1)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("scale", [0.5, 3.0, 30.0])
def test_half_precision(scale, temperature):
  """|loss' - loss| <= d (R_teacher + R_student + 2 d) / 2, |gradient| <= d."""
  student, teacher = cases(scale)
  _, cached = kept(teacher)
  most = np.abs(teacher).max(axis=-1) * 2**-11 + 2**-25
  assert (np.abs(cached - teacher).max(axis=-1) <= most).all()
  values, slopes = gap(student, teacher, cached, temperature)
  bound = most * (width(teacher) + width(student) + 2 * most) / 2
  # What float32 itself is uncertain about.
  noise = 1e-5 * temperature**2 + 1e-5 * scale
  assert (values <= bound + noise).all()
  assert (slopes <= most + 1e-5 * temperature).all()
  # The bounds are of use: within a factor of 100 of what happens.
  assert values.max() > bound.max() / 100
  assert slopes.max() > most.max() / 100


def test_single_precision_is_exact():
  _, teacher = cases(3.0)
  np.testing.assert_array_equal(kept(teacher, dtype="float32")[1], teacher)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("k", [2, 5, CLASSES - 1])
def test_top_k(k, temperature):
  """With t the rest's mass as it is read, softened, t <= 1/2 for the loss:

  |gradient' - gradient| <= 2 T t
  |loss' - loss| <= T^2 (t R_student / T + t log(C - 1) + h(t)), h a coin's entropy
  """
  student, teacher = cases(4.0)
  records, cached = kept(teacher, top_k=k, dtype="float32")
  soft = jax.nn.softmax(jnp.asarray(cached) / temperature)
  rest = 1 - np.take_along_axis(
    np.asarray(soft, np.float64), records["indices"], axis=-1
  ).sum(axis=-1)
  values, slopes = gap(student, teacher, cached, temperature)
  assert (slopes <= 2 * temperature * rest + 1e-4).all()
  small = (rest > 0) & (rest <= 0.5)
  assert small.sum() > 20
  rest = rest[small]
  coin = -rest * np.log(rest) - (1 - rest) * np.log1p(-rest)
  bound = rest * width(student)[small] / temperature
  bound += rest * np.log(CLASSES - 1) + coin
  assert (values[small] <= temperature**2 * bound + 1e-4).all()
  if k == CLASSES - 1:
    assert (values < 1e-4).all()
