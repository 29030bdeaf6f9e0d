"""A method for each teacher: the mean of what it says of every one alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import make_objective

from kdjax.core.method import Inputs, Outputs
from kdjax.methods._each_teacher import for_each_teacher

RNG = np.random.default_rng(2)
CLASSES, EXAMPLES = 3, 4


def outputs(width, members=()):
  logits = jnp.asarray(RNG.normal(size=(EXAMPLES, CLASSES)), jnp.float32)
  hidden = jnp.asarray(RNG.normal(size=(EXAMPLES, width)), jnp.float32)
  return Outputs(logits, {"stage_0": hidden}, members)


STUDENT, FIRST, SECOND = outputs(5), outputs(6), outputs(7)
BOTH = Outputs(FIRST.answers, {}, (FIRST, SECOND))


def shown(teacher):
  return Inputs(STUDENT, teacher, jnp.zeros(EXAMPLES, jnp.int32), jnp.array(0))


def method(name):
  made = make_objective(f"{name}:1")
  assert made.teacher_taps
  return made


def loss(objective, params, state, teacher):
  return objective.apply(params, state, shown(teacher))[0]


@pytest.mark.parametrize(
  "name", [pytest.param("fitnets", marks=pytest.mark.slow), "vid"]
)
def test_loss_is_the_mean_over_the_teachers(name):
  objective = make_objective(f"{name}:1 + kd:0.5 + ce:0.5")
  params, state = objective.init(jax.random.key(0), shown(BOTH))
  total = objective.apply(params, state, shown(BOTH))[2][name]
  each = [
    objective.apply(
      params | {name: params[name][i]} if params[name] else params,
      state | {name: state[name][i]} if state[name] else state,
      shown(one),
    )[2][name]
    for i, one in enumerate((FIRST, SECOND))
  ]
  np.testing.assert_allclose(
    total[0], np.mean([one[0] for one in each]), rtol=1e-5
  )


def test_answers_are_the_pooled_ones():
  objective = make_objective("kd:1")
  got = objective.apply(
    *objective.init(jax.random.key(0), shown(BOTH)), shown(BOTH)
  )[0]
  want = objective.apply(
    *objective.init(jax.random.key(0), shown(FIRST)), shown(FIRST)
  )[0]
  assert got == want


def test_one_teacher_changes_nothing():
  from kdjax.methods.fitnets import fitnets

  plain, wrapped = fitnets(), for_each_teacher(fitnets())
  made = [one.init(jax.random.key(3), shown(FIRST)) for one in (plain, wrapped)]
  assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
  values = [
    loss(one, *own, FIRST)
    for one, own in zip((plain, wrapped), made, strict=True)
  ]
  assert values[0] == values[1]


def test_the_first_teachers_classifier_is_taken_over():
  from kdjax.core.method import stateless

  taking = stateless(lambda inputs: inputs.student.answers[:, 0])._replace(
    adopt=lambda params, inputs: inputs.head
  )
  heads = ({"kernel": 1}, {"kernel": 2})
  inputs = shown(BOTH)._replace(head=heads)
  assert for_each_teacher(taking).adopt({}, inputs) == heads[0]
