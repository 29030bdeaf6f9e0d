"""Several teachers of whom each token has one: as if each had its rows to itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_text_ensemble import PAIR, START, STUDENT, TEACHERS, V

import kdjax
from kdjax.core.errors import UserError
from kdjax.tasks import language_model
from kdjax.train.routed import routed, with_choices

# Two documents in the first sequence, padding behind the second's.
ITEM = {
  "tokens": np.array([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]]),
  "mask": np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]),
  "segments": np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 0, 0, 0]]),
  "counts": np.array([[0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 0, 0]]),
  "index": np.array([3, 1]),
}
# By example: of the fourth the first document is the second teacher's.
CHOICES = np.zeros((4, 6), int)
CHOICES[3] = [1, 1, 1, 0, 0, 0]
CHOICES[1] = 1


def gradient(teacher, least, item):
  """The gradient of the sum over the tokens, and how many those are."""
  task = language_model(V, factored_from=least)
  method = kdjax.make_method("forward_kl:0.9 + ce:0.1", task=task)
  goal = kdjax.objective(method, STUDENT, task)
  params, state = goal.init(jax.random.key(0), START, teacher, item)

  def loss(params):
    key = jax.random.key(0)
    return goal.loss(params, state, teacher, item, step=0, key=key)[0]

  found = jax.jit(jax.grad(loss))(params)["network"]
  count = int(np.asarray(item["counts"])[:, 1:].sum())
  return jax.tree.map(lambda x: count * np.asarray(x), found)


def teacher_of(choices, least):
  return routed(TEACHERS, choices, task=language_model(V, factored_from=least))


@functools.cache
def alone(least):
  """The sum of the gradients of each teacher's own tokens."""
  task, parts = language_model(V, factored_from=least), []
  for number, one in enumerate(TEACHERS):
    own = ITEM["counts"] * (CHOICES[ITEM["index"]] == number)
    # Cut to the classes of the task, as an ensemble of one is not.
    both = kdjax.ensemble([one, one], pool="logits", task=task)
    parts.append(gradient(both, least, ITEM | {"counts": own}))
  return jax.tree.map(np.add, *parts)


@pytest.mark.parametrize(
  "least", [pytest.param(None, marks=pytest.mark.slow), 1]
)
@pytest.mark.parametrize(
  ("choices", "same"),
  [
    (CHOICES, True),
    (1 - CHOICES, False),
    # One teacher a sequence, where there are two in the first.
    (CHOICES[:, 0], False),
    (CHOICES[::-1], False),
  ],
)
def test_the_gradient_is_the_sum_of_each_teachers_own(least, choices, same):
  got = gradient(teacher_of(choices, least), least, ITEM)
  want = alone(least)
  gap = max(
    jax.tree.leaves(jax.tree.map(lambda x, y: np.abs(x - y).max(), got, want))
  )
  assert (gap < 1e-5) == same, gap


def test_who_is_not_asked_may_answer_nan():
  broken = kdjax.live_teacher(
    PAIR[1][0], jax.tree.map(lambda x: x * jnp.nan, PAIR[1][1])
  )
  task = language_model(V, factored_from=1)
  teacher = routed([TEACHERS[0], broken], np.zeros(4, int), task=task)
  got = gradient(teacher, 1, ITEM)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))
  asked = gradient(with_choices(teacher, np.ones(4, int)), 1, ITEM)
  assert not all(np.isfinite(x).all() for x in jax.tree.leaves(asked))


@pytest.mark.parametrize(
  ("teachers", "said"), [(TEACHERS[:1], "two of them"), ([], "one Teacher")]
)
def test_refuses(teachers, said):
  with pytest.raises(UserError, match=said):
    routed(teachers, np.zeros(4, int))
