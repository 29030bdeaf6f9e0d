"""Several language models as one teacher, whose logits are never made whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.pooling import POOLS, pool_logits
from kdjax.core.teacher import observe
from kdjax.models import make_model
from kdjax.tasks import language_model

V = 13
ITEM = {
  "tokens": jnp.arange(10).reshape(2, 5),
  "mask": jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def network(seed, classes, width, family="llama"):
  size = f"width={width}, depth=1, heads=2, positions=8"
  model = make_model(f"decoder(family='{family}', {size})", classes=classes)
  one = kdjax.from_linen(model)
  variables = jax.jit(one.init)(jax.random.key(seed), ITEM)
  # Far from even answers.
  return one, jax.tree.map(lambda x: 4 * x, variables)


# The first has four classes of padding, the second's output layer is its own.
PAIR = [network(0, V + 4, 8), network(1, V, 4, "gpt2")]
TEACHERS = [kdjax.live_teacher(*one) for one in PAIR]
STUDENT, START = network(2, V, 4)


@pytest.mark.parametrize("pool", POOLS)
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
  logits = [one.apply(v, ITEM)[0][..., :V] for one, v in PAIR]
  want = pool_logits(jnp.stack(logits), pool=pool, weights=weights)
  want = jax.nn.softmax(want[:, :-1]).reshape(-1, V)
  counts = np.asarray(batch.targets).reshape(-1) >= 0
  for one in (answers[0], answers[1].logits()):
    got = jax.nn.softmax(one)
    np.testing.assert_allclose(got[counts], want[counts], atol=1e-6)
