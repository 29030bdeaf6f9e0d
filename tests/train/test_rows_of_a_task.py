"""A class for each token: rows that are no examples, some of which do not count.

Every term of a loss is divided by its own count, on one device, on several, in
pieces and term by term.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.method import stateless, weighted_sum
from kdjax.core.task import Rows, Task, Weights, batch_of, hard_label_method
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import create_state
from kdjax.train.step import take_step


def weight(batch):
  return (batch.inputs["mask"] * batch.weight[:, None]).reshape(-1)


TOKENS = Task(
  name="tags",
  batch=None,
  kind="categories",
  weights=lambda batch: Weights(weight(batch), batch.weight),
  rows=lambda outputs, batch: Rows(
    outputs.reshape(-1, outputs.shape[-1]),
    batch.targets.reshape(-1),
    weight(batch),
  ),
  sample=lambda inputs: batch_of(
    inputs, jnp.zeros(inputs["mask"].shape, jnp.int32)
  ),
  hard_loss=lambda rows: (
    -jnp.take_along_axis(
      jax.nn.log_softmax(rows.answers), rows.targets[:, None], axis=-1
    )[:, 0]
  ),
  metrics={"rows": lambda rows: (rows.weight.sum(), rows.weight.sum())},
  score="rows",
)
B, T, C = 4, 3, 2


class Tagger(nn.Module):
  """A class for each token, and a feature for each example."""

  @nn.compact
  def __call__(self, tokens, mask, *, train=False):
    hidden = nn.Dense(2, name="stem")(tokens)
    nn.Dense(1, name="mean")(hidden.mean(1))
    return nn.Dense(C, name="head")(hidden)


def tagged():
  """A batch, the last example of which is padding."""
  rng = np.random.default_rng(0)
  return batch_of(
    {
      "tokens": rng.normal(size=(B, T, 2)).astype(np.float32),
      "mask": np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]),
    },
    rng.integers(0, C, (B, T)),
    weight=np.array([1, 1, 1, 0]),
  )


def method(term="ce"):
  """A term over rows and a term over examples."""
  hint = stateless(
    lambda inputs: jnp.square(inputs.student.feats["mean"][:, 0] - 1),
    student_taps=("mean",),
    needs_teacher=False,
  )
  return weighted_sum(
    {term: (hard_label_method(TOKENS), 1.0), "hint": (hint, 0.5)}
  )


def step(batch, *, term="ce", axis_name=None, pieces=1, measured=False):
  objective = method(term)
  state = create_state(
    Tagger(),
    objective,
    make_optimizer("sgd", "constant", 9),
    rng=jax.random.key(1),
    task=TOKENS,
    inputs=jax.tree.map(lambda x: x[:1], tagged().inputs),
    teacher=None,
    learning_rate=jnp.float32(0.1),
  )
  return state, *take_step(
    state,
    objective,
    batch,
    None,
    rng=jax.random.key(2),
    axis_name=axis_name,
    pieces=pieces,
    gradient_metrics=measured,
  )


@jax.jit
@partial(jax.value_and_grad, has_aux=True)
def by_hand(network):
  """Six rows count, and three examples."""
  batch = tagged()
  outputs, features = Tagger().apply(
    {"params": network},
    **batch.inputs,
    capture_intermediates=True,
  )
  log_q = jax.nn.log_softmax(outputs)
  own = jnp.take_along_axis(log_q, batch.targets[..., None], axis=-1)[..., 0]
  ce = -(own * batch.inputs["mask"])[:3].sum() / 6
  mean = features["intermediates"]["mean"]["__call__"][0][:3, 0]
  hint = jnp.square(mean - 1).sum() / 3
  return ce + 0.5 * hint, (ce, hint)


@pytest.mark.parametrize("how", ["whole", "pieces", "devices", "term by term"])
def test_each_term_is_divided_by_its_own_count(how):
  if how == "devices":
    halves = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), tagged())
    both = jax.jit(jax.vmap(partial(step, axis_name="d"), axis_name="d"))(
      halves
    )
    before, after, metrics = jax.tree.map(lambda x: x[0], both)
  else:
    before, after, metrics = jax.jit(
      partial(
        step, pieces=1 + (how == "pieces"), measured=how == "term by term"
      )
    )(tagged())
  network = before.params["network"]
  (loss, (ce, hint)), slope = by_hand(network)
  want = jax.tree.map(
    lambda p, g: p - 0.1 * g, *jax.device_get((network, slope))
  )
  jax.tree.map(
    partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    after.params["network"],
    want,
  )
  for name, value, count in (
    ("loss", loss, 6),
    ("ce", ce, 6),
    ("hint", hint, 3),
  ):
    total, own = metrics[name]
    assert float(own) == count
    assert float(total / own) == pytest.approx(float(value), rel=1e-5)
  assert float(metrics["rows"][1]) == 6


def test_a_term_named_as_the_score_does_not_hide_it():
  _, _, metrics = jax.jit(partial(step, term="rows"))(tagged())
  assert metrics["rows"] == (6, 6)
