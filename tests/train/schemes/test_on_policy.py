"""On-policy distillation: what is written, by whom, and what of it counts."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import losses
from kdjax.core.teacher import observe
from kdjax.methods import make_objective
from kdjax.models.generation.rollout import rollout
from kdjax.tasks import language_model
from kdjax.train.optimizer import make_optimizer
from kdjax.train.routed import routed
from kdjax.train.schemes import own_texts
from kdjax.train.schemes.on_policy import on_policy
from kdjax.train.step import take_step

V, P, N, RATE = 6, 3, 4, 0.5
TASK = language_model(V)
# Token t is followed by t + 1, and 4 ends a text.
COUNTS_UP = 50 * np.eye(V, dtype=np.float32)[(np.arange(V) + 1) % V]
EVEN = np.zeros((V, V), np.float32)
TAUGHT = np.random.default_rng(1).normal(size=(V, V)).astype(np.float32)
# Prompts 0 1 2 and 5, with the answers 4 and 2 2 4 of the file.
ITEM = {
  "tokens": np.array([[0, 1, 2, 4, 0, 0, 0], [5, 2, 2, 4, 0, 0, 0]]),
  "mask": np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0]]),
  "counts": np.array([[0, 0, 0, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0]]),
  "index": np.array([7, 3]),
}
RNG = jax.random.key(5)


def logits(variables, inputs, *, train=False, rngs=None):
  tokens = inputs["tokens"] if isinstance(inputs, dict) else inputs
  return jnp.asarray(variables["params"]["logits"])[tokens]


NETWORK = kdjax.from_apply(logits)
TEACHER = kdjax.live_teacher(NETWORK, {"params": {"logits": TAUGHT}})


WRITE = jax.jit(functools.partial(rollout, NETWORK, max_new_tokens=N, eos=(4,)))


def begin(scheme, method, table):
  return jax.jit(
    lambda table: scheme.create(
      NETWORK,
      method,
      make_optimizer("sgd", "constant", 9),
      rng=RNG,
      task=TASK,
      inputs={"tokens": ITEM["tokens"], "mask": ITEM["mask"]},
      teacher=None,
      learning_rate=RATE,
      variables={"params": {"logits": table}},
    )  # fmt: skip
  )(table)


@functools.cache
def step_of(objective, sampling="temperature(1.0)", **settings):
  method = make_objective(objective)

  def write(*arguments, teacher, **options):
    settings = {"max_new_tokens": N, "sampling": sampling, "eos": (4,)}
    return rollout(*arguments, **options, **settings)

  scheme = on_policy(write, new_tokens=N, batch_size=2, **settings)

  def step(state, item, rng, axis_name=None):
    return scheme.step(
      state, method, TASK.batch(item), TEACHER, rng=rng, axis_name=axis_name
    )  # fmt: skip

  return scheme, method, step, jax.jit(step)


def walk(objective, table, steps=1, **settings):
  """The states after each step, and their metrics."""
  scheme, method, _, step = step_of(objective, **settings)
  state, after = begin(scheme, method, table), []
  for i in range(steps):
    state, metrics = step(state, ITEM, jax.random.fold_in(RNG, i))
    after.append((state, metrics))
  return after


def table_of(state):
  return state.student.params["network"]["logits"]


def descended(table, loss):
  """The loss, and the table after a step down its slope."""
  value, slope = jax.jit(jax.value_and_grad(loss))(table)
  return value, table - RATE * np.asarray(slope)


# From 0 1 2 it writes 3 4, from 5 it writes 0 1 2 3: the states that it was in.
VISITED = np.array([2, 3, 5, 0, 1, 2])


@pytest.mark.parametrize(
  "name",
  [pytest.param("generalized_jsd", marks=pytest.mark.slow), "forward_kl"],
)
def test_the_divergence_is_that_of_the_tokens_that_were_written(name):
  ((state, metrics),) = walk(f"{name}:1", COUNTS_UP, sampling="greedy")

  def loss(table):
    return jnp.mean(getattr(losses, name)(table[VISITED], TAUGHT[VISITED]))

  value, want = descended(COUNTS_UP, loss)
  total, count = jax.device_get(metrics["loss"])
  np.testing.assert_allclose(total / count, value, rtol=1e-6)
  new = np.asarray(table_of(state))
  np.testing.assert_allclose(new, want, atol=1e-6)
  # Nowhere else, bit for bit: behind the end, 4, nothing is learned.
  np.testing.assert_array_equal(new[4], COUNTS_UP[4])
  assert float(metrics["tokens_written"][0]) == 6
  assert float(metrics["tokens_written"][1]) == 2


def test_own_texts_are_no_labels():
  both = walk("ce:1 + reverse_kl:1", EVEN)[0][0]
  alone = walk("reverse_kl:1", EVEN, updates=2)[0][0]
  chex.assert_trees_all_close(table_of(both), table_of(alone), atol=1e-7)


def test_a_mixed_batch_is_the_students_or_the_files():
  scheme, method, step, _ = step_of("ce:0.5 + forward_kl:1", share=0.3)
  start, batch = begin(scheme, method, EVEN), TASK.batch(ITEM)
  filed, _ = jax.jit(
    lambda state: take_step(
      state, method, batch, observe(TEACHER, batch, task=TASK), rng=RNG
    )
  )(start.student)

  def moved(key):
    state, metrics = step(start, ITEM, key)
    return table_of(state), metrics["own_texts"][0]

  tables, own = jax.jit(
    lambda key: jax.vmap(moved)(jax.random.split(key, 400))
  )(RNG)
  filed = np.asarray(filed.params["network"]["logits"])
  gaps = np.abs(np.asarray(tables) - filed).max((1, 2))
  np.testing.assert_array_equal(gaps > 1e-7, np.asarray(own) > 0)
  # Three standard deviations.
  assert abs(np.mean(own) - 0.3) < 3 * (0.3 * 0.7 / 400) ** 0.5


def test_texts_are_used_for_so_many_updates():
  after = walk("reverse_kl:1", EVEN, steps=5, updates=2)
  texts = [np.asarray(state.texts["tokens"]) for state, _ in after]
  equal = [bool((a == b).all()) for a, b in zip(texts, texts[1:], strict=False)]
  assert equal == [True, False, True, False]
  ages = [float(metrics["staleness"][0]) for _, metrics in after]
  assert ages == [0, 1, 0, 1, 0]
  # Each was written with the weights of its first step.
  for i in (0, 2, 4):
    table = EVEN if i == 0 else table_of(after[i - 1][0])
    key = jax.random.split(jax.random.fold_in(RNG, i))[0]
    prompts = {"tokens": ITEM["tokens"][:, :P]}
    prompts["mask"] = jnp.array([[1, 1, 1], [1, 0, 0]])
    own = WRITE(
      {"params": {"logits": table}}, prompts, key=key, step=i, ids=ITEM["index"]
    )
    np.testing.assert_array_equal(texts[i], own["tokens"])


@pytest.mark.parametrize(
  "name", ["minillm", pytest.param("policy_gradient", marks=pytest.mark.slow)]
)
def test_methods_are_told_what_was_drawn(name):
  """From 0 1 2 it writes 3 4, from 5 it writes 0 1 2 3."""
  own = {"sampling": "greedy", "teacher_share": 0.0}
  ((state, _),) = walk(f"{name}:1", COUNTS_UP, **own)
  rows = np.array([[2, 3, 0, 0], [5, 0, 1, 2]])
  drawn = np.array([[3, 4, 0, 0], [0, 1, 2, 3]])
  mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]]) > 0

  def loss(table):
    found = getattr(losses.policies, name)(
      table[rows], TAUGHT[rows], drawn, mask=mask
    )
    return found.sum() / 6

  np.testing.assert_allclose(
    table_of(state), descended(COUNTS_UP, loss)[1], atol=1e-5
  )


@pytest.mark.parametrize(
  "updates", [pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_devices_do_not_matter(updates):
  whole, _ = walk("reverse_kl:1", EVEN, steps=3, updates=updates)[-1]
  scheme, method, step, _ = step_of("reverse_kl:1", updates=updates)
  state = begin(scheme, method, EVEN)
  devices = jax.local_devices()[:2]
  parts = jax.tree.map(lambda x: x[:, None], ITEM)
  parts["position"] = jnp.arange(2)[:, None]
  run = jax.pmap(
    lambda state, item, rng: step(state, item, rng, "devices")[0],
    axis_name="devices", in_axes=(None, 0, None), out_axes=None,
    devices=devices,
  )  # fmt: skip
  for i in range(3):
    state = run(state, parts, jax.random.fold_in(RNG, i))
  np.testing.assert_allclose(table_of(state), table_of(whole), atol=1e-6)
  chex.assert_trees_all_equal(state.texts, whole.texts)


@pytest.mark.slow
def test_a_text_that_comes_again_has_the_teacher_of_its_prompt():
  """It stands in the place of another prompt's, whose teacher is another one."""
  other = kdjax.live_teacher(NETWORK, {"params": {"logits": TAUGHT[::-1]}})
  choices = np.arange(8) % 2
  scheme, method, *_ = step_of("forward_kl:1")
  start = begin(scheme, method, EVEN).student
  batch = TASK.batch(ITEM | {"index": np.array([0, 2])})
  texts = own_texts.of_file(TASK.batch(ITEM))

  def learned(teacher, texts):
    student, _ = own_texts.learn(start, method, texts, batch, teacher, rng=RNG)
    return np.asarray(student.params["network"]["logits"])

  both = routed([TEACHER, other], choices)
  np.testing.assert_allclose(learned(both, texts), learned(other, texts))
  in_place = texts | {"index": batch.index}
  np.testing.assert_allclose(learned(both, in_place), learned(TEACHER, texts))
  assert np.abs(learned(both, texts) - learned(TEACHER, texts)).max() > 1e-3


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    ({"share": 0.0}, r"share must be in \(0, 1\]"),
    ({"share": 1.5}, r"share must be in \(0, 1\]"),
    ({"new_tokens": 0}, "at least 1"),
    ({"updates": 0}, "at least 1"),
    ({"updates": 2}, "batch_size is needed"),
  ],
)
def test_refuses(settings, said):
  with pytest.raises(ValueError, match=said):
    on_policy(None, **{"new_tokens": 1} | settings)
