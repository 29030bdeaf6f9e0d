"""What every task is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.calling import arguments
from kdjax.core.method import Inputs, Outputs
from kdjax.core.signature import Port, signature_of
from kdjax.core.task import (
  Batch,
  Task,
  Words,
  batch_of,
  final_score,
  hard_label_method,
  has_weight,
)
from kdjax.tasks import classification

# fields: name, kind, and six functions that nothing calls here
TASK = Task("a", "values", *[None] * 5, metrics={}, score="a")


def test_a_batch_of_inputs_alone_counts_and_is_in_order():
  batch = batch_of({"tokens": jnp.zeros((3, 5)), "mask": jnp.ones((3, 5))})
  assert batch.targets is None and batch.weight.tolist() == [True] * 3
  assert batch.index.tolist() == batch.position.tolist() == [0, 1, 2]
  assert batch.place is batch.index and batch.teacher_inputs is batch.inputs


def test_what_else_is_known_is_kept():
  batch = batch_of(
    jnp.zeros((2, 1)),
    jnp.ones(2),
    weight=jnp.array([1.0, 0.0]),
    index=jnp.array([7, 3]),
    place=jnp.array([107, 3]),
    teacher_inputs=jnp.ones((2, 1)),
  )
  assert batch.place.tolist() == [107, 3]
  assert batch.teacher_inputs.tolist() == [[1], [1]]
  assert has_weight(batch.weight).tolist() == [True, False]


def test_a_batch_is_cut_as_a_tree():
  batch = batch_of({"a": jnp.arange(4)}, share=jnp.ones(4))
  half = jax.tree.map(lambda x: x[::2], batch)
  assert isinstance(half, Batch) and half.inputs["a"].tolist() == [0, 2]
  assert half.extra["share"].shape == (2,)


@pytest.mark.parametrize(
  ("inputs", "args", "named"),
  [
    (1, (1,), {}),
    ({"image": 1}, (1,), {}),
    ({"tokens": 1, "mask": 2}, (), {"tokens": 1, "mask": 2}),
  ],
)
def test_one_input_is_positional_several_go_by_name(inputs, args, named):
  assert arguments(inputs) == (args, named)


def test_tasks_are_the_same_only_if_they_are_one():
  other = Task(*TASK)
  assert TASK == TASK and other != TASK and len({TASK, other}) == 2


def test_a_metric_is_finished_only_where_the_task_says_how():
  rooted = TASK._replace(finish={"rmse": np.sqrt})
  assert final_score(rooted, "rmse", 9.0) == 3.0
  assert final_score(rooted, "mse", 9.0) == 9.0


def test_the_hard_loss_of_mixed_inputs_is_shared():
  task = TASK._replace(hard_loss=lambda rows: rows.targets)
  inputs = Inputs(
    Outputs(jnp.zeros((2, 1)), {}), None, jnp.array([1.0, 3.0]), 0
  )
  mixed = inputs._replace(
    share=jnp.array([0.25, 1.0]), partner_labels=jnp.array([5.0, 9.0])
  )
  for seen, want in ((inputs, 2.0), (mixed, (0.25 + 0.75 * 5 + 3) / 2)):
    loss, _, _ = hard_label_method(task).apply((), (), seen)
    assert float(loss) == pytest.approx(want)


def test_scores_are_told_in_words():
  assert Words().told(0.97) == "error 3.00 %"
  assert Words("RMSE", "", 1.0, 0.0).told(0.125) == "RMSE 0.12"
  assert Words("RMSE", "m", 1.0, 0.0, 4).told(0.125) == "RMSE 0.1250 m"


def test_what_goes_in_and_comes_out_has_names_and_shapes():
  image = jax.ShapeDtypeStruct((4, 4, 1), "float32")
  tokens = jax.ShapeDtypeStruct((7,), "int32")
  plain = signature_of(image, 2)
  assert plain.inputs == (Port("inputs", (4, 4, 1), "float32", ""),)
  assert plain.outputs == (Port("outputs", (2,), "float32", "Numbers"),)
  named = classification(3).signature({"tokens": tokens, "mask": tokens}, 3)
  assert [one.name for one in named.inputs] == ["tokens", "mask"]
  assert named.outputs == (Port("logits", (3,), "float32", "Classes"),)
