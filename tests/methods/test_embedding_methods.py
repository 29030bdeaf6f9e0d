"""What is particular to methods of embeddings: directions, a queue, where they look."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective

from kdjax import tasks
from kdjax.core.method import Inputs, Outputs

RNG = np.random.default_rng(0)
S, T = RNG.normal(size=(2, 4, 3)).astype(np.float32)
WIDE = RNG.normal(size=(4, 5)).astype(np.float32)
TASK = tasks.embedding(3)


def make_inputs(student=S, teacher=T, index=None, mask=None, tap="head:in"):
  sides = (Outputs(x, {tap: x}) for x in (student, teacher))
  labels = jnp.zeros((len(student), 3))
  return Inputs(*sides, labels, jnp.int32(0), mask=mask, index=index)


@pytest.mark.parametrize("name", ["cosine", "seed"])
def test_a_map_is_learned_where_widths_differ(name):
  method, inputs = MAKERS[name](), make_inputs(teacher=WIDE)
  params, state = method.init(jax.random.key(0), inputs)
  assert params["regressor_0"]["dense"]["kernel"].shape == (3, 5)
  assert np.isfinite(method.apply(params, state, inputs)[0])
  same, _ = method.init(jax.random.key(0), make_inputs())
  assert not jax.tree.leaves(same)


def test_cosine_by_hand():
  loss, *_ = MAKERS["cosine"]().apply({}, (), make_inputs())
  expected = np.mean(losses.cosine_distance(S, T))
  assert float(loss) == pytest.approx(float(expected))


def test_a_queue_keeps_the_teachers_last_embeddings_and_leaves_its_own_out():
  settings = {"temperature": 0.5, "teacher_temperature": 0.3}
  method = MAKERS["seed"](queue=5, **settings)
  index, mask = np.array([7, 3, 9, 1]), np.array([1, 1, 0, 1], bool)
  first = make_inputs(index=index, mask=mask)
  params, state = method.init(jax.random.key(0), first)
  loss, state, _ = method.apply(params, state, first)
  # By hand: each of the three that count against the other two.
  count = [0, 1, 3]
  wanted = [
    losses.seed(
      S[i : i + 1], T[i : i + 1], T[[j for j in count if j != i]], **settings
    )
    for i in count
  ]
  assert float(loss) == pytest.approx(float(np.mean(wanted)), rel=1e-5)
  np.testing.assert_array_equal(state["queue"][:3], T[count])
  assert state["filled"].tolist() == [True] * 3 + [False] * 2
  assert int(state["next"]) == 3
  # A second batch comes behind it, round the end; example 7 is there twice.
  later = make_inputs(teacher=T + 1, index=np.array([7, 20, 21, 22]))
  loss, state, _ = method.apply(params, state, later)
  np.testing.assert_array_equal(
    state["queue"], np.stack([*(T + 1)[2:], T[3], *(T + 1)[:2]])
  )
  assert state["index"].tolist() == [21, 22, 1, 7, 20]
  queue = np.asarray(state["queue"])
  wanted = [
    losses.seed(S[i : i + 1], T[i : i + 1] + 1, queue[others], **settings)
    for i, others in enumerate(
      [[0, 1, 2, 4], [0, 1, 2, 3], [1, 2, 3, 4], [0, 2, 3, 4]]
    )
  ]
  assert float(loss) == pytest.approx(float(np.mean(wanted)), rel=1e-5)


def test_of_a_batch_larger_than_the_queue_the_last_enter():
  method = MAKERS["seed"](queue=2)
  params, state = method.init(jax.random.key(0), make_inputs())
  loss, state, _ = method.apply(params, state, make_inputs())
  assert np.isfinite(loss) and int(state["next"]) == 0
  np.testing.assert_array_equal(state["queue"], T[2:])


@pytest.mark.parametrize("name", ["rkd", "pkt", "cc", "cosine", "seed", "srd"])
def test_embeddings_are_the_answers(name):
  """As if the same vectors had been tapped; whatever else is there."""
  plain, inputs = MAKERS[name](), make_inputs()
  params, state = plain.init(jax.random.key(0), inputs)
  method = make_objective(f"{name}:1", task=TASK, steps=1, examples=9)
  assert method.student_taps == method.teacher_taps == ()
  answers = make_inputs(tap="elsewhere")
  loss, *_ = method.apply({name: params}, {name: state}, answers)
  assert float(loss) == pytest.approx(
    float(plain.apply(params, state, inputs)[0]), rel=1e-5
  )


def test_taps_that_are_named_stay():
  named = make_objective(
    "rkd(student_tap='a', teacher_tap=':out'):1", task=TASK
  )
  assert (named.student_taps, named.teacher_taps) == (("a",), ())
  other = make_objective("rkd:1", task=tasks.regression(3))
  assert other.student_taps == ("head:in",)
  layers = make_objective("fitnets:1", task=TASK)
  assert layers.student_taps == ("stage_*",)


def test_contrast_without_classes_has_all_others_as_negatives():
  """Vectors as labels, and none: every example is a class of its own."""
  method = MAKERS["crd"](examples=6, width=2, negatives=3)
  index = np.array([0, 1, 2, 3])
  inputs = make_inputs(index=index)
  params, state = method.init(jax.random.key(0), inputs)
  values = [
    method.apply(params, state, inputs._replace(labels=labels))
    for labels in (inputs.labels, None, np.full(4, -1, np.int32))
  ]
  assert len({float(loss) for loss, *_ in values}) == 1
  assert values[0][1]["classes"].tolist() == [-1, -2, -3, -4, -5, -6]
