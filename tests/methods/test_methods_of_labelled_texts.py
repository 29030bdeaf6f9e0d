"""Methods on texts with labels: padding and batch mates are no part of a text."""

import jax
import numpy as np
import pytest

import kdjax
from kdjax.models import make_model
from kdjax.tasks import text_classification

VOCABULARY = 11
TASK = text_classification(3)
RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(1, VOCABULARY, n) for n in (3, 6, 5)]
ENCODERS = {
  "bert": "bert(width={}, depth={}, heads=2, mlp=16, vocabulary=11, dropout=0.0)",
  "modernbert": "modernbert(width={}, depth={}, heads=2, mlp=16, vocabulary=11)",
}
METHODS = {
  "kd": "kd:1",
  "minilm": "minilm:1",
  "minilmv2": "minilmv2(relation_heads=2):1",
  "tinybert": "tinybert:1",
  "patient_kd": "patient_kd:1",
  "fitnets": "fitnets(student_tap='stage_0', teacher_tap='stage_0'):1",
  "hidden cosine": "kd:0.5 + ce:0.2 + rkd:0.3",
}
# One of those that read features of tokens.
FAST = ("minilm",)


def network(family, width, depth):
  text = ENCODERS[family].format(width, depth)
  return kdjax.from_linen(make_model(text, classes=3))


def item(length, fill, texts=TEXTS):
  """The texts, filled up."""
  tokens = np.full((len(texts), length), fill, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, text in enumerate(texts):
    tokens[row, : len(text)], mask[row, : len(text)] = text, True
  return {"tokens": tokens, "mask": mask}


@pytest.mark.parametrize(
  "family", ["bert", pytest.param("modernbert", marks=pytest.mark.slow)]
)
def test_padding_and_batch_mates_change_no_logit(family):
  encoder = network(family, 8, 2)
  variables = jax.jit(encoder.init)(jax.random.key(0), item(6, 0))
  answer = jax.jit(lambda inputs: encoder.apply(variables, inputs)[0])
  expected = answer(item(6, 0))
  for inputs, rows in (
    (item(6, 7), [0, 1, 2]),
    (item(16, 3), [0, 1, 2]),
    (item(6, 0, [TEXTS[0], TEXTS[0], TEXTS[2]]), [0, 0, 2]),
  ):
    np.testing.assert_allclose(answer(inputs), expected[rows, :], atol=1e-6)
  alone = answer(item(3, 0, TEXTS[:1]))
  np.testing.assert_allclose(alone, expected[:1], atol=1e-6)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST))
    for name in METHODS
  ],
)
def test_padding_is_no_part_of_what_is_matched(name):
  student, teacher_network = network("bert", 8, 2), network("bert", 12, 3)
  method = kdjax.make_method(METHODS[name], task=TASK, steps=10)
  goal = kdjax.objective(method, student, TASK)
  first = item(6, 0) | {"label": np.array([0, 2, 1])}
  teacher = kdjax.live_teacher(
    teacher_network,
    jax.jit(teacher_network.init)(jax.random.key(1), item(6, 0)),
  )
  params, state = jax.jit(
    lambda item: goal.init(jax.random.key(0), None, teacher, item)
  )(first)

  def loss(params, item):
    key = jax.random.key(2)
    return goal.loss(params, state, teacher, item, step=0, key=key)[0]

  look = jax.jit(jax.value_and_grad(loss))
  value, slope = look(params, first)
  assert float(value) > 0
  other, other_slope = look(params, {**first, **item(6, 7)})
  assert float(other) == float(value)
  jax.tree.map(np.testing.assert_array_equal, slope, other_slope)
  longer = jax.jit(loss)(params, {**first, **item(9, 3)})
  assert float(longer) == pytest.approx(float(value), rel=1e-5)
