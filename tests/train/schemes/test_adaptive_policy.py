"""DistiLLM's texts: when the student writes, what is kept, what it learns from."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.methods import make_objective
from kdjax.tasks import language_model
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.adaptive_policy import adaptive_policy

# Rows of a prompt of two tokens, and two tokens behind it.
V, B, N = 8, 2, 2
TASK = language_model(V)
ITEM = {
  "tokens": jnp.array([[0, 1, 2, 3], [1, 0, 2, 3]]),
  "mask": jnp.ones((B, 2 + N), int),
  "counts": jnp.array([[0, 0, 1, 1]] * B),
  "index": jnp.arange(B),
}
STEPS, EVERY, CAPACITY = 8, 2, 4
RNG = jax.random.key(0)


def logits(variables, inputs, *, train=False, rngs=None):
  tokens = inputs["tokens"] if isinstance(inputs, dict) else inputs
  return variables["params"]["logits"][tokens]


NETWORK = kdjax.from_apply(logits)
TEACHER = kdjax.live_teacher(NETWORK, {"params": {"logits": jnp.eye(V)}})


def write(network, variables, prompts, *, key, step, ids, teacher):
  """Texts by which one can tell in which step they were written."""
  del network, variables, key, ids, teacher
  alive = jnp.any(prompts["mask"], axis=1)[:, None]
  new = jnp.where(alive, jnp.full((B, N), step), 0)
  beside = jnp.zeros((B, 2), bool)
  counts = jnp.concatenate([beside, jnp.broadcast_to(alive, (B, N))], axis=1)
  return {
    "tokens": jnp.concatenate([prompts["tokens"], new], axis=1),
    "mask": counts | (jnp.arange(2 + N) < 2)[None],
    "counts": counts,
  }


@functools.cache
def walk(rise, tolerance=0.1, rising=True):
  """(share, new texts' steps that are kept, replayed, own) after each step."""

  def validate(network, variables, due):
    # It rises by 1 a step; or falls.
    step = variables["params"]["logits"][V - 1, V - 1]
    return jnp.where(due, step if rising else -step, jnp.nan)

  method = make_objective("forward_kl:1")
  scheme = adaptive_policy(
    write, validate, new_tokens=N, batch_size=B, steps=STEPS, every=EVERY,
    capacity=CAPACITY, tolerance=tolerance, rise=rise,
  )  # fmt: skip
  table = jnp.zeros((V, V))
  state = scheme.create(
    NETWORK, method, make_optimizer("sgd", "constant", STEPS), rng=RNG,
    task=TASK, inputs={"tokens": ITEM["tokens"]}, teacher=None,
    learning_rate=jnp.float32(0.0), variables={"params": {"logits": table}},
  )  # fmt: skip
  run = jax.jit(
    lambda state, rng: scheme.step(
      state, method, TASK.batch(ITEM), TEACHER, rng=rng
    )
  )
  steps = []
  for i in range(STEPS):
    params = {"logits": table.at[V - 1, V - 1].set(float(i))}
    own = state.student.params | {"network": params}
    state = state._replace(student=state.student.replace(params=own))
    state, metrics = run(state, jax.random.fold_in(RNG, i))
    values = {name: float(total) for name, (total, _) in metrics.items()}
    steps.append((state, values))
  return steps


def test_the_share_rises_with_the_validation_loss():
  """Measured at steps 0, 2, 4, 6: at the first there is nothing to compare with."""
  shares = [round(float(state.share), 4) for state, _ in walk(rise=0.3)]
  assert shares == [0, 0, 0.3, 0.3, 0.6, 0.6, 0.9, 0.9]


@pytest.mark.parametrize(
  ("settings", "last"),
  [
    ({"rise": 1.0}, 1.0),
    ({"rise": 0.3, "rising": False}, 0.0),
    # It rises by 2 from one measurement to the next, by 4 from a raise on.
    ({"rise": 0.3, "tolerance": 3.0}, 0.3),
  ],
)
def test_it_rises_so_far(settings, last):
  assert float(walk(**settings)[-1][0].share) == pytest.approx(last)


def test_without_a_share_the_file_is_learned():
  for state, values in walk(rise=0.3, rising=False):
    assert values["own_texts"] == values["replayed"] == 0
    assert int(state.written) == 0


def test_texts_are_kept_and_come_again():
  """With a share of 1 from step 2 on: two batches fill what is kept, then fewer and
  fewer are new, and the others are of those kept."""
  before, replayed = 0, 0
  for i, (state, values) in enumerate(walk(rise=1.0)):
    assert values["own_texts"] == (i >= 2)
    new = int(state.written) - before
    assert new == (B if values["own_texts"] and not values["replayed"] else 0)
    if i in (2, 3):
      assert new == B
    kept = np.asarray(state.texts["tokens"])[:, -1]
    if new:
      place = before % CAPACITY
      assert (kept[place : place + B] == i).all()
    before, replayed = int(state.written), replayed + values["replayed"]
  assert replayed > 0


@pytest.mark.parametrize("wrong", ["capacity", "steps", "every"])
def test_refuses(wrong):
  settings = {"capacity": 1, "steps": 1, "every": 1} | {wrong: 0}
  with pytest.raises(ValueError, match="at least 1"):
    adaptive_policy(None, None, new_tokens=1, batch_size=1, **settings)
