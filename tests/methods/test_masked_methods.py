"""Classes that one side alone masks, or the student where nobody else does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.method import Inputs, Outputs
from kdjax.methods import make_objective

METHODS = [
  "kd",
  "kd(standardize=True)",
  "divergence(kind='reverse_kl')",
  "divergence(kind='adaptive_kl')",
  "divergence(kind='jensen_shannon')",
  "dkd",
  "nkd",
  "wsld",
  "ttm",
  "dist",
  "mlkd",
  "logit_standardization",
  "logit_mse",
  "noisy_teacher(kind='softened', sigma=10.0)",
  "noisy_teacher(sigma=10.0)",
  "ctkd",
  "ctkd(instance=True)",
  "deit(alpha=1.0)",
  "deit(alpha=1.0, kind='soft')",
]
# The second softmax is of another example, of an earlier step, of a head.
OFFLINE = ["cs_kd", "pskd"]
DEAD = 1  # the class, and the example, that are masked
LABELS = np.array([0, 2, 3, 2])
PAIRED = np.array([2, 2, 0, 0])
LINE = np.arange(28, dtype=np.float32) / 28
STAGES = {
  "stage_0": LINE[:24].reshape(4, 6),
  "stage_1": LINE[::-1].reshape(4, 7),
  "head:in": LINE.reshape(4, 7),
}


@functools.cache
def problem():
  random = np.random.default_rng(0)
  return [*random.normal(size=(2, 4, 5)).astype(np.float32)]


def masked(logits, place):
  """The logits, -inf at a place of theirs."""
  logits = logits.copy()
  logits[place] = -np.inf
  return logits


def run(name, student, teacher, labels=LABELS):
  found = compiled(name, student.shape[-1])(student, teacher, labels)
  return jax.device_get(found)


@functools.cache
def compiled(name, classes):
  method = make_objective(f"{name}:1", steps=9, examples=4, classes=classes)
  return jax.jit(functools.partial(slope, method))


def slope(method, student, teacher, labels):
  teacher = Outputs(teacher, {})
  index = np.arange(4)

  def inputs(logits):
    outputs = Outputs(logits, STAGES | {"head": logits, "head_dist": logits})
    return Inputs(outputs, teacher, labels, jnp.array(3), index=index)

  params, state = method.init(jax.random.key(0), inputs(student))
  return jax.value_and_grad(
    lambda logits: method.apply(params, state, inputs(logits))[0]
  )(student)


@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
@pytest.mark.parametrize("name", METHODS)
def test_class_masked_by_one_side_is_as_if_masked_by_both(name, side):
  both = [masked(x, np.s_[:, DEAD]) for x in problem()]
  one = list(problem())
  one[side] = both[side]
  want, slopes = run(name, *both)
  value, gradient = run(name, *one)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)
  assert np.isfinite(value) and not gradient[:, DEAD].any()


@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
@pytest.mark.parametrize("name", METHODS)
def test_example_that_one_side_masks_gives_no_gradient(name, side):
  sides = problem().copy()
  sides[side] = masked(sides[side], DEAD)
  value, gradient = run(name, *sides)
  assert np.isfinite(value) and np.isfinite(gradient).all()
  assert gradient.any() and not gradient[DEAD].any()


@pytest.mark.parametrize("name", OFFLINE)
def test_class_that_the_student_masks_is_as_if_removed(name):
  student, teacher = problem()
  want, slopes = run(
    name, np.delete(student, DEAD, axis=1), teacher, np.where(PAIRED > 0, 1, 0)
  )
  value, gradient = run(name, masked(student, np.s_[:, DEAD]), teacher, PAIRED)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  np.testing.assert_allclose(
    np.delete(gradient, DEAD, axis=1), slopes, rtol=1e-4, atol=1e-6
  )
  assert value > 0 and not gradient[:, DEAD].any()


@pytest.mark.parametrize("name", OFFLINE)
def test_example_that_the_student_masks_gives_no_gradient(name):
  student, teacher = problem()
  value, gradient = run(name, masked(student, DEAD), teacher, PAIRED)
  assert np.isfinite(value) and np.isfinite(gradient).all()
  assert gradient.any() and not gradient[DEAD].any()


def test_class_that_the_teacher_masks_is_masked_in_ofas_heads_too():
  student, teacher = problem()
  teacher = masked(teacher, np.s_[:, DEAD])
  want, slopes = run("ofa", masked(student, np.s_[:, DEAD]), teacher)
  value, gradient = run("ofa", student, teacher)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)
  assert not gradient[:, DEAD].any()


@pytest.mark.parametrize("name", ["ofa", "byot"])
@pytest.mark.parametrize("place", [(slice(None), DEAD), DEAD])
def test_masks_leave_the_heads_of_stages_finite(name, place):
  """A class, or an example, that the student's own classifier masks."""
  student, teacher = problem()
  value, gradient = run(name, masked(student, place), teacher)
  assert np.isfinite(value) and value > 0
  assert np.isfinite(gradient).all() and not gradient[place].any()
