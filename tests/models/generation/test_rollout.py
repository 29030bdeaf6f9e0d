"""Texts that a network writes, as the rows that language_model trains on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.models.generation.rollout import rollout

# Token t is followed by t + 1, and 4 ends a text.
COUNTS_UP = {"params": {"logits": 50.0 * jnp.eye(6)[(jnp.arange(6) + 1) % 6]}}
EVEN = {"params": {"logits": jnp.zeros((6, 6))}}
PROMPTS = {
  "tokens": jnp.array([[0, 1, 2], [5, 9, 9], [9, 9, 9]]) % 6,
  "mask": jnp.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
}
KEY = jax.random.key(0)


def logits(variables, inputs, *, train, rngs):
  return variables["params"]["logits"][inputs]


NETWORK = kdjax.from_apply(logits)


# As in a training's step; what is compiled once serves several tests.
COMPILED = jax.jit(
  functools.partial(rollout, NETWORK),
  static_argnames=("max_new_tokens", "eos", "sampling"),
)


def write(variables=EVEN, prompts=PROMPTS, **settings):
  settings = {"key": KEY, "step": 3, "ids": jnp.arange(3)} | settings
  settings = {"max_new_tokens": 4, "eos": (4,)} | settings
  return jax.tree.map(np.asarray, COMPILED(variables, prompts, **settings))


def test_texts_stand_right_behind_their_prompts():
  rows = write(COUNTS_UP, sampling="greedy")
  # By hand.
  assert rows["tokens"].tolist() == [
    [0, 1, 2, 3, 4, 0, 0],
    [5, 0, 1, 2, 3, 0, 0],
    [0, 0, 0, 0, 0, 0, 0],
  ]
  assert rows["mask"].sum(1).tolist() == [5, 5, 0]
  assert rows["counts"].astype(int).tolist() == [
    [0, 0, 0, 1, 1, 0, 0],
    [0, 1, 1, 1, 1, 0, 0],
    [0] * 7,
  ]


def test_the_task_learns_what_was_written_and_no_more():
  task = kdjax.tasks.language_model(6)
  batch = task.batch(write(COUNTS_UP, sampling="greedy"))
  assert batch.targets.tolist() == [
    [-1, -1, 3, 4, -1, -1],
    [0, 1, 2, 3, -1, -1],
    [-1] * 6,
  ]


@pytest.mark.parametrize("change", [{"step": 4}, {"ids": jnp.array([3, 1, 2])}])
def test_other_steps_and_prompts_have_other_texts(change):
  settings = {"max_new_tokens": 24, "eos": ()}
  one, other = write(**settings), write(**settings | change)
  assert not np.array_equal(one["tokens"][0], other["tokens"][0])
  again = write(**settings)
  assert np.array_equal(one["tokens"], again["tokens"])


def test_parts_of_a_batch_are_as_in_the_whole_under_jit_and_pmap():
  whole = write()
  settings = {"key": KEY, "step": 3, "max_new_tokens": 4, "eos": (4,)}

  def run(prompts, ids):
    return rollout(NETWORK, EVEN, prompts, ids=ids, **settings)

  cut = jax.tree.map(lambda x: np.asarray(x)[:, None], PROMPTS)
  for place in (jax.pmap, lambda one: jax.jit(jax.vmap(one))):
    parts = place(run)(cut, np.arange(3)[:, None])
    for name, rows in whole.items():
      assert np.array_equal(np.asarray(parts[name])[:, 0], rows), (place, name)


def test_no_gradient_goes_through_a_text():
  def total(variables):
    return rollout(
      NETWORK, variables, PROMPTS, key=KEY, step=0, ids=jnp.arange(3),
      max_new_tokens=2,
    )["tokens"].sum().astype(float)  # fmt: skip

  gradient = jax.jit(jax.grad(total))(EVEN)["params"]["logits"]
  assert not np.any(gradient)
