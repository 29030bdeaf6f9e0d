"""The objective: zero where the student says what the soft labels say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import losses

from kdjax.core.method import Inputs, Outputs
from kdjax.methods.soft_td import soft_target_loss, soft_td
from kdjax.train.optimizer import with_l2

LABEL = jnp.log(jnp.array([[0.7, 0.3]]))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_worked_example(temperature, shift):
  """A student who says (0.7, 0.3) to a soft label (0.7, 0.3): nothing to learn."""

  def loss(logits):
    return soft_target_loss(logits, LABEL, temperature=temperature).sum()

  value, gradient = jax.jit(jax.value_and_grad(loss))(LABEL + shift)
  assert abs(float(value)) < 1e-12
  np.testing.assert_allclose(gradient, 0.0, atol=1e-7)


def test_cross_entropy_would_not_be_zero_there():
  entropy = -float(jnp.sum(jnp.exp(LABEL) * LABEL))
  crossed = optax.losses.softmax_cross_entropy(LABEL, jnp.exp(LABEL))
  np.testing.assert_allclose(crossed, [entropy], rtol=1e-6)
  assert round(entropy, 4) == 0.6109


@pytest.mark.parametrize(
  ("target", "logits", "expected"),
  [
    ([0.7, 0.3], [0.0, 0.0], 0.7 * np.log(1.4) + 0.3 * np.log(0.6)),
    ([1.0, 0.0], [0.0, 0.0], np.log(2)),
    ([0.0, 1.0], [0.0, 0.0], np.log(2)),
    ([0.5, 0.5], [np.log(3), 0.0], np.log(4 / 3) / 2),
  ],
  ids=str,
)
def test_value_and_gradient_by_hand(target, logits, expected):
  """The gradient of KL(p || softmax(z)) is softmax(z) - p, zeros included."""
  with np.errstate(divide="ignore"):
    log_target = jnp.array(np.log([target]), jnp.float32)
  logits = jnp.array([logits], jnp.float32)
  value, gradient = jax.jit(
    jax.value_and_grad(lambda z: soft_target_loss(z, log_target).sum())
  )(logits)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  answer = jax.nn.softmax(logits) - jnp.array([target])
  np.testing.assert_allclose(gradient, answer, atol=1e-6)


def inputs(logits, tables, labels):
  return Inputs(Outputs(logits, {}), Outputs(tables, {}), labels, jnp.array(0))


def value_of(method, given):
  @jax.jit
  def run(given):
    params, state = method.init(jax.random.key(0), given)
    return method.apply(params, state, given)[0]

  return float(run(given))


LOGITS = np.array([[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]], np.float32)
FIRST, SECOND = 2 * LOGITS[::-1], LOGITS + np.float32([[0.0, 1.0, 0.0]])
TABLES = np.concatenate([FIRST, SECOND], axis=-1)


def kl(target):
  return losses.kd(LOGITS, target, temperature=2.0).mean()


def log_softmax():
  return LOGITS - np.log(np.exp(LOGITS).sum(axis=-1, keepdims=True))


def uniform_kl():
  return np.mean(-np.log(3.0) - log_softmax().mean(axis=-1))


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    ({}, lambda: kl(FIRST)),
    ({"place": 1.0}, lambda: kl(SECOND)),
    (
      {"hard_weight": 0.25},
      # The second example has no label: it adds 0 and counts.
      lambda: 0.75 * kl(FIRST) - 0.25 * log_softmax()[0, 2] / 2,
    ),
    (
      {"regulariser": "label_smoothing", "regulariser_weight": 0.5},
      lambda: kl(FIRST) + 0.5 * uniform_kl(),
    ),
    (
      {"regulariser": "kd", "regulariser_weight": 0.5, "anchor": 1.0},
      lambda: kl(FIRST) + 0.5 * kl(SECOND),
    ),
    (
      {"regulariser": "l2", "regulariser_weight": 0.5},
      lambda: kl(FIRST),
    ),
  ],
  ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_terms(settings, expected):
  method = soft_td(classes=3, temperature=2.0, **settings)
  given = inputs(LOGITS, TABLES, jnp.array([2, -1]))
  np.testing.assert_allclose(value_of(method, given), expected(), rtol=1e-5)


def test_unknown_regulariser():
  with pytest.raises(ValueError, match="label_smoothing, kd, l2"):
    soft_td(classes=3, regulariser="dropout")


@pytest.mark.parametrize("rule", [optax.sgd(0.1), optax.adam(0.1)])
def test_l2_is_a_term_of_the_loss(rule):
  """The step is that on loss + lambda / 2 ||w||^2, for adaptive rules too."""
  weight, params = 0.3, {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}

  def loss(w):
    return jnp.sum(w["a"] ** 3) + jnp.sum(w["b"])

  def penalised(w):
    return loss(w) + weight / 2 * optax.tree.norm(w, squared=True)

  wrapped = with_l2(rule, weight)
  updates, _ = wrapped.update(
    jax.grad(loss)(params), wrapped.init(params), params
  )
  expected, _ = rule.update(
    jax.grad(penalised)(params), rule.init(params), params
  )
  for name in params:
    np.testing.assert_allclose(updates[name], expected[name], rtol=1e-6)
