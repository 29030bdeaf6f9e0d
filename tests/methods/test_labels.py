"""Labels that are none, and classes that are masked, in the methods over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import make_objective
from kdjax.methods.ce import ce
from kdjax.methods.labels import label_loss, soft_loss

GONE = -jnp.inf
LN2 = np.log(2)


def inputs_of(logits, labels, **more):
  student = Outputs(jnp.asarray(logits, jnp.float32), {})
  return Inputs(student, None, jnp.asarray(labels), jnp.array(0), **more)


def run(method, inputs):
  """Returns the loss and its gradient in the student's logits."""

  def loss(logits, inputs):
    params, state = method.init(jax.random.key(0), inputs)
    student = inputs.student._replace(answers=logits)
    return method.apply(params, state, inputs._replace(student=student))[0]

  return jax.jit(jax.value_and_grad(loss))(inputs.student.answers, inputs)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("label", [-100, -1, 2, 3, 2**31 - 1])
def test_ce_of_a_label_out_of_range_is_zero(label, smoothing):
  method = ce(label_smoothing=smoothing)
  value, grad = run(method, inputs_of([[1.0, 3.0]], [label]))
  assert value == 0 and not grad.any()


@pytest.mark.parametrize(
  ("dtype", "label"), [(jnp.uint8, 255), (jnp.int8, -1), (jnp.uint32, 2**31)]
)
def test_ce_reads_labels_of_any_integer_type(dtype, label):
  labels = jnp.array([1, label], dtype)
  value, _ = run(ce(), inputs_of([[0.0, 0.0], [0.0, 0.0]], labels))
  assert float(value) == pytest.approx(LN2 / 2)


@pytest.mark.parametrize("partner", [-1, 2, 100])
def test_ce_of_mixed_images_leaves_out_the_partners_that_have_no_label(partner):
  more = {"share": jnp.array([0.25]), "partner_labels": jnp.array([partner])}
  value, _ = run(ce(), inputs_of([[0.0, 0.0]], [1], **more))
  assert float(value) == pytest.approx(0.25 * LN2)


@pytest.mark.parametrize("name", ["ce", "ce(label_smoothing=0.3)", "tf_kd"])
def test_masked_classes_are_as_if_removed(name):
  """The mean over the classes, too: smoothing has fewer to spread over."""
  logits = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 0.0]])
  method = make_objective(f"{name}:1")
  want, slope = run(method, inputs_of(logits, [2, 0]))
  padded = np.concatenate([logits, np.full((2, 4), -np.inf)], axis=1)
  value, grad = run(method, inputs_of(padded, [2, 0]))
  np.testing.assert_allclose(value, want, rtol=1e-6)
  np.testing.assert_allclose(grad[:, :3], slope, rtol=1e-5, atol=1e-7)
  assert not grad[:, 3:].any()


@pytest.mark.parametrize("name", ["ce", "ce(label_smoothing=0.3)", "tf_kd"])
def test_label_that_the_student_masks_is_no_label(name):
  value, grad = run(
    make_objective(f"{name}:1"), inputs_of([[0.0, GONE, 1.0]], [1])
  )
  assert value == 0 and not grad.any()


def test_label_loss_by_hand():
  logits = np.float32([[0, 0, GONE], [0, 0, GONE], [GONE] * 3])
  inputs = inputs_of(logits, [1, 2, 0])
  look = jax.value_and_grad(lambda x: label_loss(x, inputs).sum())
  value, grad = jax.jit(look)(logits)
  np.testing.assert_allclose(value, LN2, rtol=1e-6)
  np.testing.assert_allclose(
    grad, [[0.5, -0.5, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6
  )


def test_soft_loss_by_hand():
  logits = jnp.array([[0.0, 0.0, GONE]])
  for targets in ([[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.7]]):
    np.testing.assert_allclose(
      soft_loss(logits, jnp.array(targets)), [LN2], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["ce", "tf_kd", "confidence_penalty", "cs_kd"])
def test_one_logit_is_refused(name):
  method = make_objective(f"{name}:1")
  with pytest.raises(ValueError, match=r"two logits \(0, z\)"):
    run(method, inputs_of([[0.0], [1.0]], [0, 0]))


@pytest.mark.parametrize(
  "weight", [np.float32(-1), np.array(np.nan), jnp.array(-1.0)]
)
def test_weights_of_any_type_are_checked(weight):
  for name in ("hard_weight", "method_weight"):
    # The labels of fitnets wait for their stage: their weight is a schedule.
    for method in ("kd", "fitnets"):
      with pytest.raises(UserError, match="must be finite and not negative"):
        make_objective(method, steps=9, **{name: weight})
