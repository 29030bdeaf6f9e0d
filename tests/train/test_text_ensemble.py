"""Several language models as one teacher, whose logits are never made whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.pooling import POOLS, pool_logits
from kdjax.core.teacher import observe
from kdjax.tasks import language_model

V = 13
ITEM = {
  "tokens": jnp.arange(10).reshape(2, 5),
  "mask": jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def logits_of(variables, inputs, *, train=False, rngs=None):
  states = jnp.tanh(jnp.cumsum(variables["table"][inputs["tokens"]], axis=1))
  if "bias" in variables:
    return states @ variables["head"] + variables["bias"][None, None]
  return states @ variables["table"].T


def network(seed, classes, width, *more):
  rng = np.random.default_rng(seed)
  shapes = {
    "table": (classes, width),
    "head": (width, classes),
    "bias": classes,
  }
  variables = {name: rng.normal(size=shapes[name]) for name in ("table", *more)}
  return kdjax.from_apply(logits_of), jax.tree.map(jnp.float32, variables)


# The first has four classes of padding, the second's output layer is its own.
PAIR = [network(0, V + 4, 8), network(1, V, 4, "head", "bias")]
TEACHERS = [kdjax.live_teacher(*one) for one in PAIR]
STUDENT, START = network(2, V, 4)


@pytest.mark.parametrize(
  "pool",
  [
    "probabilities",
    *(
      pytest.param(pool, marks=pytest.mark.slow)
      for pool in POOLS
      if pool != "probabilities"
    ),
  ],
)
def test_chunks_answer_as_whole_logits_do(pool):
  weights = (0.7, 0.3)
  answers, gradients, batch = [], [], None
  for least in (None, 1):
    task = language_model(V, factored_from=least)
    teacher = kdjax.ensemble(TEACHERS, pool=pool, weights=weights, task=task)
    method = kdjax.make_method("forward_kl:0.9 + ce:0.1", task=task)
    goal = kdjax.objective(method, STUDENT, task)
    key = jax.random.key(0)
    params, state = goal.init(key, START, teacher, ITEM)

    def loss(params, goal=goal, state=state, teacher=teacher, key=key):
      return goal.loss(params, state, teacher, ITEM, step=0, key=key)[0]

    program = jax.jit(jax.value_and_grad(loss)).lower(params)
    # Of 2 x 5 tokens and 13 classes, or 17.
    whole = [size for size in (V, V + 4) if f"2x5x{size}x" in program.as_text()]
    assert bool(whole) == (least is None)
    gradients.append(program.compile()(params))
    batch = task.batch(ITEM)
    answers.append(observe(teacher, batch, task=task).answers)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *gradients
  )
  logits = [logits_of(v, ITEM)[..., :V] for _, v in PAIR]
  want = pool_logits(jnp.stack(logits), pool=pool, weights=weights)
  want = jax.nn.softmax(want[:, :-1]).reshape(-1, V)
  counts = np.asarray(batch.targets).reshape(-1) >= 0
  for one in (answers[0], answers[1].logits()):
    got = jax.nn.softmax(one)
    np.testing.assert_allclose(got[counts], want[counts], atol=1e-6)
