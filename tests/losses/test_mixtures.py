import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

# Against the mean of P and Q, (3/8, 3/8, 1/4), either side has this divergence.
TO_MEAN = 0.25 * np.log(2 / 3) + 0.5 * np.log(4 / 3)
# m = P/4 + 3Q/4 = (7/16, 5/16, 1/4)
FROM_P = 0.25 * np.log(4 / 7) + 0.5 * np.log(8 / 5)
FROM_Q = 0.5 * np.log(8 / 7) + 0.25 * np.log(4 / 5)
APART = [[1.0, 1e-30, 1e-30]], [[1e-30, 1.0, 1e-30]]

TABLE = [
  ("generalized_jsd", Q, P, {}, TO_MEAN),
  ("generalized_jsd", Q, P, {"beta": 0.25}, 0.25 * FROM_P + 0.75 * FROM_Q),
  ("generalized_jsd", Q, P, {"beta": 0}, 0.25 * LN2),
  ("generalized_jsd", Q, P, {"beta": 1.0}, 0.25 * LN2),
  ("jensen_shannon", Q, P, {}, TO_MEAN),
  ("jensen_shannon", *APART, {}, LN2),
  ("skew_kl", Q, P, {"lam": 0.5}, TO_MEAN),
  ("skew_kl", Q, P, {"lam": 0.25}, FROM_P),
  ("skew_kl", *APART, {}, -np.log(0.1)),
  ("skew_reverse_kl", Q, P, {"lam": 0.75}, FROM_Q),
  ("skew_reverse_kl", *APART, {}, -np.log(0.1)),
]


@pytest.mark.parametrize(
  ("name", "student", "teacher", "keywords", "expected"), TABLE
)
def test_values(name, student, teacher, keywords, expected):
  inputs = (logits(student), logits(teacher))
  check_value(getattr(losses, name), inputs, keywords, [expected])


def test_class_masked_by_one_side_is_as_if_removed_from_a_mixture():
  student = jnp.array([[0.0, 0.0, -jnp.inf]])
  teacher = jnp.array([[0.0, -jnp.inf, 0.0]])
  # One class is left, of which both are sure: two softmaxes that agree.
  check_value(losses.jensen_shannon, (student, teacher), {}, [0.0])


@pytest.mark.parametrize("beta", [-0.1, 1.1, "half", jnp.array(0.5)])
def test_beta_is_a_number_between_0_and_1(beta):
  with pytest.raises(
    ValueError, match=r"generalized_jsd: beta must be a Python"
  ):
    losses.generalized_jsd(logits(Q), logits(P), beta=beta)


@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize("name", ["skew_kl", "skew_reverse_kl"])
def test_lam_is_between_0_and_1(name, lam):
  with pytest.raises(ValueError, match=f"{name}: lam must be a Python number"):
    getattr(losses, name)(logits(Q), logits(P), lam=lam)


def test_aliases():
  assert losses.gkd is losses.generalized_jsd
  assert losses.jsd is losses.jensen_shannon
