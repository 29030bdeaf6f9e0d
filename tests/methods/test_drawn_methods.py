"""Methods of drawn tokens: the losses of texts, from logits and from hidden states."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.core.factored import Factored
from kdjax.core.method import Inputs, Outputs, weighted_sum
from kdjax.losses import policies
from kdjax.methods import MAKERS, make_objective

# Two texts of four rows; the first has a prompt, the second is padded.
B, T, D, V = 2, 4, 5, 7
RNG = np.random.default_rng(0)
DRAWN = np.array([[-1, 3, 0, 6], [2, 2, -1, -1]])
SHARES = np.array([0.2, 0.0], np.float32)
HIDDEN, HEAD, TEACHER, TEACHER_HEAD = (
  RNG.normal(size=shape).astype(np.float32)
  for shape in ((B * T, D), (D, V), (B * T, 3), (3, V))
)
NOWHERE = np.where(DRAWN.reshape(-1, 1) < 0, np.float32("nan"), 0)


def inputs_of(hidden, head, large, drawn=DRAWN):
  answers = (Factored(hidden, head), Factored(TEACHER, TEACHER_HEAD))
  if not large:
    answers = (x.logits() for x in answers)
  student, teacher = (Outputs(x, {}) for x in answers)
  asked = {} if drawn is None else {
    "drawn": jnp.asarray(drawn.ravel()), "teacher_share": jnp.asarray(SHARES)
  }  # fmt: skip
  mask = jnp.asarray(DRAWN.ravel() >= 0)
  labels = jnp.full(B * T, -1)
  return Inputs(student, teacher, labels, jnp.int32(0), mask, **asked)


METHODS = {
  "minillm": (policies.minillm, {"teacher_share": SHARES[:, None]}),
  "minillm(normalize=False)": (
    policies.minillm, {"teacher_share": SHARES[:, None], "normalize": False}
  ),
  "policy_gradient": (policies.policy_gradient, {}),
  "policy_gradient(estimator='k3', discount=0.5)": (
    policies.policy_gradient, {"estimator": "k3", "discount": 0.5}
  ),
}  # fmt: skip


def by_hand(loss, settings, hidden, head):
  sides = (hidden @ head, TEACHER @ TEACHER_HEAD)
  mask = jnp.asarray(DRAWN >= 0)
  found = loss(
    *(x.reshape(B, T, V) for x in sides), jnp.asarray(DRAWN), mask=mask,
    **settings,
  )  # fmt: skip
  return found.sum() / mask.sum()


# Each loss, each with settings of its own, and each kind of answers.
FAST = {
  ("minillm", False),
  ("policy_gradient(estimator='k3', discount=0.5)", True),
}


@pytest.mark.parametrize(
  ("name", "large"),
  [
    pytest.param(*row, marks=[pytest.mark.slow] * (row not in FAST))
    for row in itertools.product(METHODS, [False, True])
  ],
)
def test_a_method_is_the_mean_of_its_loss(name, large):
  method = make_objective(f"{name}:1")

  def loss(hidden, head):
    return method.apply(*EMPTY, inputs_of(hidden, head, large))[0]

  EMPTY = ({name.partition("(")[0]: ()},) * 2
  hand = functools.partial(by_hand, *METHODS[name])
  look = jax.jit(jax.value_and_grad(loss, (0, 1)))
  want, want_grads = jax.jit(jax.value_and_grad(hand, (0, 1)))(HIDDEN, HEAD)
  found, grads = look(HIDDEN, HEAD)
  np.testing.assert_allclose(found, want, rtol=1e-5)
  for one, other in zip(grads, want_grads, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)
  # Prompts and padding, whatever stands there.
  _, (odd, _) = look(HIDDEN + NOWHERE[:, :1], HEAD)
  assert large or not np.asarray(odd)[DRAWN.ravel() < 0].any()


@pytest.mark.parametrize("large", [False, True], ids=["logits", "chunks"])
@pytest.mark.parametrize("name", ["minillm", "policy_gradient"])
def test_where_nothing_was_drawn_it_is_the_reverse_kl(name, large):
  method = weighted_sum({"it": (MAKERS[name](), 1.0)})
  inputs = inputs_of(HIDDEN, HEAD, large, drawn=None)
  found = jax.jit(method.apply)({"it": ()}, {"it": ()}, inputs)[0]
  rows = jax.jit(losses.reverse_kl)(HIDDEN @ HEAD, TEACHER @ TEACHER_HEAD)
  np.testing.assert_allclose(found, rows[DRAWN.ravel() >= 0].mean(), rtol=1e-5)
