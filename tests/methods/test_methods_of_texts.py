"""Methods that match features of a decoder: padding is no part of a text."""

import jax
import numpy as np
import pytest

import kdjax
from kdjax.models.gpt import gpt
from kdjax.tasks import language_model

V = 11
TASK = language_model(V)
RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(1, V, n) for n in (3, 6, 5)]
FEATURES = {
  "minilm": "minilm:1",
  "minilmv2": "minilmv2(relation_heads=2):1",
  "tinybert": "tinybert:1",
  "patient_kd": "patient_kd:1",
  "fitnets": "fitnets(student_tap='stage_0', teacher_tap='stage_0'):1",
  "attention_maps": "attention_maps:1",
}
# Two that differ in how they leave padding out.
FAST = ("minilm", "fitnets")


def tokens_alone(apply, variables, inputs, *, train, **kwargs):
  return apply(variables, inputs["tokens"], train=train, **kwargs)


def network(width, depth):
  module = gpt(
    classes=V,
    width=width,
    depth=depth,
    heads=2,
    mlp=16,
    positions=16,
    dropout=0.0,
  )
  return kdjax.from_linen(module, call=tokens_alone)


STUDENT, TEACHER = network(8, 2), network(12, 3)


def item(length, fill):
  """The texts, filled up."""
  tokens = np.full((len(TEXTS), length), fill)
  mask = np.zeros(tokens.shape, int)
  for row, text in enumerate(TEXTS):
    tokens[row, : len(text)], mask[row, : len(text)] = text, 1
  return {"tokens": tokens, "mask": mask}


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST))
    for name in FEATURES
  ],
)
def test_padding_is_no_part_of_a_text(name):
  method = kdjax.make_method(FEATURES[name], task=TASK, steps=10)
  goal = kdjax.objective(method, STUDENT, TASK)
  first = item(6, 0)
  teacher = kdjax.live_teacher(
    TEACHER, jax.jit(TEACHER.init)(jax.random.key(1), first)
  )
  params, state = jax.jit(
    lambda item: goal.init(jax.random.key(0), None, teacher, item)
  )(first)

  def loss(params, item):
    return goal.loss(
      params, state, teacher, item, step=0, key=jax.random.key(2)
    )[0]

  look = jax.jit(jax.value_and_grad(loss))
  first["weight"] = np.ones(3)
  value, slope = look(params, first)
  assert float(value) > 0
  got, other_slope = look(params, {**first, **item(6, 7)})
  assert float(got) == float(value)
  jax.tree.map(np.testing.assert_array_equal, slope, other_slope)
  longer = jax.jit(loss)(params, item(9, 3))
  assert float(longer) == pytest.approx(float(value), rel=1e-5)
  # An example is a mean of its own, however long it is.
  alone = [look(params, {**first, "weight": row})[0] for row in np.eye(3)]
  assert float(value) == pytest.approx(np.mean(alone), rel=1e-5)
