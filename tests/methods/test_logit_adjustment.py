"""Labels and teachers of classes of which some are rare."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import make_objective, terms_of
from kdjax.methods.logit_adjusted_kd import logit_adjusted_kd
from kdjax.methods.logit_adjustment import logit_adjustment

RNG = np.random.default_rng(0)
STUDENT, TEACHER = (
  jnp.asarray(x, jnp.float32) for x in RNG.normal(size=(2, 4, 3))
)
LABELS = np.array([0, 2, 1, -1], np.int32)
PRIOR = (6.0, 3.0, 1.0)
INPUTS = Inputs(
  Outputs(STUDENT, {}), Outputs(TEACHER, {}), LABELS, jnp.array(0)
)


def loss(method, inputs=INPUTS):
  return float(method.apply((), (), inputs)[0])


def test_no_strength_is_plain_cross_entropy_and_kd():
  ce = make_objective("ce:1")
  plain = float(ce.apply({"ce": ()}, {"ce": ()}, INPUTS)[0])
  assert loss(logit_adjustment(tau=0, prior=PRIOR)) == pytest.approx(plain)
  kd = losses.kd(STUDENT, TEACHER, temperature=2.0).mean()
  for side in ("student", "teacher"):
    method = logit_adjusted_kd(tau=0, side=side, temperature=2.0, prior=PRIOR)
    assert loss(method) == pytest.approx(float(kd), rel=1e-6)


def test_sides():
  log_prior = np.log(np.array([PRIOR]) / 10)
  for side, want in (
    ("student", losses.kd(STUDENT + log_prior, TEACHER, temperature=4.0)),
    ("teacher", losses.kd(STUDENT, TEACHER - log_prior, temperature=4.0)),
  ):
    method = logit_adjusted_kd(side=side, prior=PRIOR)
    assert loss(method) == pytest.approx(float(want.mean()), rel=1e-5)
  # At temperature 1 both are 0 at one student.
  balanced = Outputs(TEACHER - log_prior.astype(np.float32), {})
  for side in ("student", "teacher"):
    method = logit_adjusted_kd(side=side, temperature=1.0, prior=PRIOR)
    inputs = INPUTS._replace(student=balanced)
    assert loss(method, inputs) == pytest.approx(0.0, abs=1e-6)


def test_mixed_labels_count_by_their_share():
  share, partners = jnp.array([0.25, 1.0, 0.5, 0.0]), np.roll(LABELS, 1)
  mixed = INPUTS._replace(share=share, partner_labels=partners)
  each = [
    losses.logit_adjusted_cross_entropy(STUDENT, x, np.array(PRIOR))
    for x in (LABELS, partners)
  ]
  want = float((share * each[0] + (1 - share) * each[1]).mean())
  assert loss(logit_adjustment(prior=PRIOR), mixed) == pytest.approx(want)


def test_objectives():
  assert [str(x) for x in terms_of("logit_adjustment")] == [
    "logit_adjustment:1.0"
  ]
  assert [str(x) for x in terms_of("logit_adjusted_kd")] == [
    "logit_adjustment:0.1", "logit_adjusted_kd:0.9",
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: logit_adjustment(tau=-1), "tau"),
    (lambda: logit_adjustment(prior=(1, 0, 1)), "prior= takes"),
    (lambda: logit_adjustment(prior="even"), "prior= takes"),
    (lambda: logit_adjusted_kd(side="both"), "side"),
    (lambda: logit_adjusted_kd(temperature=0), "temperature"),
    (lambda: loss(logit_adjustment()), "give prior="),
    (lambda: loss(logit_adjusted_kd()), "give prior="),
    (lambda: loss(logit_adjustment(prior=(1, 2))), "prior= takes 3 numbers"),
  ],
)
def test_refused(call, says):
  with pytest.raises((UserError, ValueError), match=says):
    call()
