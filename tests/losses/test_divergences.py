import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses
from hand import LN2, P, Q, check_value, logits

# Three classes of the teacher, and a student that agrees on the first alone.
HEAD, TAIL = [[0.5, 0.25, 0.25]], [[0.5, 0.125, 0.375]]
FORWARD = 0.25 * LN2 + 0.25 * np.log(2 / 3)
REVERSE = 0.125 * np.log(1 / 2) + 0.375 * np.log(3 / 2)

TABLE = [
  ("forward_kl", Q, P, {}, 0.25 * LN2),
  ("forward_kl", TAIL, HEAD, {}, FORWARD),
  ("reverse_kl", TAIL, HEAD, {}, REVERSE),
  ("reverse_kl", P, P, {}, 0.0),
  ("symmetric_kl", TAIL, HEAD, {}, (FORWARD + REVERSE) / 2),
  ("symmetric_kl", TAIL, HEAD, {"lam": 0.9}, 0.1 * FORWARD + 0.9 * REVERSE),
  ("tvd", Q, P, {}, 0.25),
  ("tvd", TAIL, HEAD, {}, 0.125),
  # The head holds the classes up to a mass of mu: the first, the first two, all.
  ("adaptive_kl", TAIL, HEAD, {"mu": 0.5}, REVERSE),
  ("adaptive_kl", TAIL, HEAD, {"mu": 0.8}, (FORWARD + REVERSE) / 2),
  ("adaptive_kl", TAIL, HEAD, {"mu": 1.0}, FORWARD),
  ("adaptive_kl", P, P, {}, 0.0),
]


@pytest.mark.parametrize(
  ("name", "student", "teacher", "keywords", "expected"), TABLE
)
def test_values(name, student, teacher, keywords, expected):
  inputs = (logits(student), logits(teacher))
  check_value(getattr(losses, name), inputs, keywords, [expected])


@pytest.mark.parametrize(
  "name", ["forward_kl", "reverse_kl", "symmetric_kl", "tvd", "adaptive_kl"]
)
def test_temperature_divides_and_its_square_multiplies(name):
  function = getattr(losses, name)
  want = 9 * function(logits(TAIL), logits(HEAD))
  inputs = (logits(TAIL, 3.0), logits(HEAD, 3.0))
  check_value(function, inputs, {"temperature": 3.0, "t_squared": True}, want)


@pytest.mark.parametrize(
  ("keywords", "message"),
  [
    ({"lam": 1.5}, "symmetric_kl: lam must be between 0 and 1, got 1.5"),
    ({"temperature": 0.0}, "symmetric_kl: temperature must be > 0, got 0.0"),
    (
      {"temperature": jnp.ones((2,))},
      r"symmetric_kl: temperature must .* shape \(1,\), got \(2,\)",
    ),
  ],
)
def test_impossible_values_are_refused(keywords, message):
  with pytest.raises(ValueError, match=message):
    losses.symmetric_kl(logits(Q), logits(P), **keywords)
