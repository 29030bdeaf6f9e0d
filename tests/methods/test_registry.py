"""What the user may write for an objective; values by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.errors import UserError
from kdjax.method import Inputs, View
from kdjax.methods import FAMILIES, MAKERS, PRESETS, make_objective, terms_of
from kdjax.methods.registry import register


def make_inputs(dtype=jnp.float32, batch=5, classes=4, mask=None):
  rng = np.random.default_rng(0)
  student = jnp.asarray(rng.normal(size=(batch, classes)), dtype)
  teacher = jnp.asarray(rng.normal(size=(batch, classes)), dtype)
  labels = jnp.asarray(rng.integers(0, classes, batch), jnp.int32)
  return Inputs(
    View(student, {}), View(teacher, {}), labels, jnp.int32(0), mask
  )


def value(name, inputs):
  method = MAKERS[name]()
  params, state = method.init(jax.random.key(0), inputs)
  return method.apply(params, state, inputs)[0]


@pytest.mark.parametrize(
  ("text", "hard_weight", "expected"),
  [
    ("kd", None, ["ce:0.1", "kd:0.9"]),
    ("response", 0.25, ["ce:0.25", "kd:0.75"]),
    ("kd + logit_mse", 0.5, ["ce:0.5", "kd:0.5", "logit_mse:0.5"]),
    (
      "kd(temperature=8):0.9 + ce:0.1",
      None,
      ["kd(temperature=8):0.9", "ce:0.1"],
    ),
    ("soft", None, ["kd:1.0"]),
    ("hard", None, ["ce:1.0"]),
    ("sp", None, ["ce:1.0", "sp:3000.0"]),
    ("sp", 0.5, ["ce:0.5", "sp:3000.0"]),
    ("sp + kd", None, ["ce:0.1", "sp:3000.0", "kd:0.9"]),
    ("sp:2 + kd", None, ["sp:2.0", "kd:1.0"]),
    ("soft_and_hard", None, ["kd:0.9", "ce:0.1"]),
  ],
)
def test_terms(text, hard_weight, expected):
  terms = terms_of(text, hard_weight=hard_weight)
  assert list(map(str, terms)) == expected


def test_objective_is_the_weighted_sum():
  """hard_weight * cross_entropy + (1 - hard_weight) * kd, by hand."""
  inputs = make_inputs()
  method = make_objective("response", hard_weight=0.3, temperature=2.0)
  params, state = method.init(jax.random.key(0), inputs)
  loss, _, _ = method.apply(params, state, inputs)
  student, teacher = inputs.student.logits, inputs.teacher.logits
  hard = optax.softmax_cross_entropy_with_integer_labels(
    student, inputs.labels
  ).mean()
  p, q = jax.nn.softmax(teacher / 2), jax.nn.softmax(student / 2)
  soft = 4 * (p * (jnp.log(p) - jnp.log(q))).sum(-1).mean()
  assert float(loss) == pytest.approx(float(0.3 * hard + 0.7 * soft), rel=1e-5)


def test_label_smoothing_by_hand():
  """Two classes, logits (0, 2), label 1, smoothing 0.2: targets (0.1, 0.9)."""
  inputs = Inputs(
    View(jnp.array([[0.0, 2.0]]), {}), None, jnp.array([1]), jnp.int32(0)
  )
  loss = MAKERS["ce"](label_smoothing=0.2).apply((), (), inputs)[0]
  log_q = np.log([1 / (1 + np.e**2), np.e**2 / (1 + np.e**2)])
  assert float(loss) == pytest.approx(
    -(0.1 * log_q[0] + 0.9 * log_q[1]), rel=1e-6
  )


def test_unlabelled_examples_add_nothing():
  inputs = make_inputs()
  hidden = inputs._replace(labels=jnp.array([0, -1, -1, -1, -1]))
  alone = jax.tree.map(lambda x: x[:1] if x.ndim else x, hidden)
  assert float(value("ce", hidden)) == pytest.approx(
    float(value("ce", alone)) / 5
  )


def test_schedules_in_weights_and_temperatures():
  inputs = make_inputs()
  method = make_objective("kd(temperature=linear(4, 2, 10)):linear(0, 1, 10)")
  params, state = method.init(jax.random.key(0), inputs)
  at_end = method.apply(params, state, inputs._replace(step=jnp.int32(10)))[0]
  want = MAKERS["kd"](temperature=2.0).apply((), (), inputs)[0]
  assert float(at_end) == pytest.approx(float(want), rel=1e-6)
  assert float(method.apply(params, state, inputs)[0]) == 0.0


@pytest.mark.parametrize(
  "text",
  ["kdd", "kd + kd", "kd:-1", "kd:1e40", "ce + kd", "kd(4)", "", "kd:x(1)"],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


def test_names_are_taken_once():
  with pytest.raises(ValueError, match="registered already"):
    register("kd")(lambda: None)
  assert set(FAMILIES.values()) <= set(MAKERS)
  assert not set(MAKERS) & (set(FAMILIES) | set(PRESETS))
  assert not set(FAMILIES) & set(PRESETS)
