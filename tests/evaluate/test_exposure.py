"""The exposure curve by NumPy: every text's steps counted from its first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.evaluate.exposure import kl_by_step
from kdjax.models.generation.rollout import rollout
from kdjax.tasks import language_model

V = 12
RNG = np.random.default_rng(0)
TABLES = [jnp.asarray(2 * RNG.normal(size=(V, V)), jnp.float32) for _ in "ab"]
# Prompts of one to three tokens, and answers of four, none and two.
TEXTS = {
  "tokens": RNG.integers(0, V, (3, 8)).astype(np.int32),
  "mask": np.array([[1] * 5 + [0] * 3, [1] * 3 + [0] * 5, [1] * 5 + [0] * 3]),
  "counts": np.array(
    [[0, 1, 1, 1, 1, 0, 0, 0], [0] * 8, [0, 0, 0, 1, 1, 0, 0, 0]]
  ),
}


def bigram(variables, inputs, *, train, rngs):
  if isinstance(inputs, dict):
    states = jax.nn.one_hot(inputs["tokens"], V)
    # What stands in padding is of no consequence.
    states = jnp.where(inputs["mask"][..., None] > 0, states, jnp.nan)
  else:
    states = jax.nn.one_hot(inputs, V)
  return states @ variables["table"]


NETWORK = kdjax.from_apply(bigram)
STUDENT = {"table": TABLES[0]}
TEACHER = kdjax.live_teacher(NETWORK, {"table": TABLES[1]})


def kl_at(token):
  p, q = (np.asarray(x[token], np.float64) for x in TABLES[::-1])
  p, q = (x - np.log(np.exp(x).sum()) for x in (p, q))
  return (np.exp(p) * (p - q)).sum()


@pytest.mark.parametrize(
  ("least", "batch_size"),
  [
    (None, 3),
    (4, 2),
    pytest.param(None, 2, marks=pytest.mark.slow),
    pytest.param(4, 3, marks=pytest.mark.slow),
  ],
)
def test_steps_by_hand(least, batch_size):
  curve = kl_by_step(
    NETWORK, STUDENT, TEACHER, TEXTS, task=language_model(V, factored_from=least),
    steps=6, batch_size=batch_size,
  )  # fmt: skip
  first, third = TEXTS["tokens"][0], TEXTS["tokens"][2]
  # Step t is told by the token before it.
  expected = [
    (kl_at(first[0]) + kl_at(third[2])) / 2,
    (kl_at(first[1]) + kl_at(third[3])) / 2,
    kl_at(first[2]),
    kl_at(first[3]),
    np.nan,
    np.nan,
  ]
  np.testing.assert_allclose(curve["kl"], expected, rtol=1e-5)
  assert curve["texts"].tolist() == [2, 2, 1, 1, 0, 0]


def test_later_steps_are_left_out():
  task = language_model(V, factored_from=None)
  whole, two = (
    kl_by_step(NETWORK, STUDENT, TEACHER, TEXTS, task=task, steps=steps)
    for steps in (6, 2)
  )
  np.testing.assert_array_equal(two["kl"], whole["kl"][:2])


@pytest.mark.slow
def test_what_a_network_writes_itself():
  prompts = {
    "tokens": np.array([[1, 2, 3], [4, 0, 0]]),
    "mask": np.array([[1, 1, 1], [1, 0, 0]]),
  }
  texts = rollout(
    NETWORK, STUDENT, prompts, key=jax.random.key(0), step=0,
    ids=jnp.arange(2), max_new_tokens=5,
  )  # fmt: skip
  texts = {name: np.asarray(x) for name, x in texts.items()}
  curve = kl_by_step(
    NETWORK, STUDENT, TEACHER, texts, task=language_model(V), steps=5
  )
  tokens = [texts["tokens"][0, 2:7], texts["tokens"][1, 0:5]]
  expected = np.mean(
    [[kl_at(token) for token in row] for row in tokens], axis=0
  )
  np.testing.assert_allclose(curve["kl"], expected, rtol=1e-5)


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"steps": 0}, "steps= takes a whole number >= 1"),
    ({"teacher": NETWORK}, "teacher= takes a Teacher"),
    ({"network": TEACHER}, "network= takes a Network"),
    ({"task": "lm"}, "task= takes a Task"),
  ],
)
def test_what_is_refused(change, says):
  options = {
    "network": NETWORK, "variables": STUDENT, "teacher": TEACHER,
    "texts": TEXTS, "task": language_model(V), "steps": 3, **change,
  }  # fmt: skip
  with pytest.raises(UserError, match=says):
    kl_by_step(**options)
