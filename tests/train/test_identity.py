"""Programs are told apart by what they compute."""

import jax
import jax.numpy as jnp
import optax
import pytest

from kdjax.train.identity import key_numbers, program_digest

PARAMS = {"w": jnp.ones(3)}


def of(optimizer):
  state = optimizer.init(PARAMS)
  return program_digest(optimizer.update, PARAMS, state, PARAMS)


@pytest.mark.parametrize(
  ("one", "other", "same"),
  [
    (lambda: optax.sgd(0.1), lambda: optax.sgd(0.1), True),
    (lambda: optax.sgd(0.1), lambda: optax.sgd(0.11), False),
    (lambda: optax.adam(1e-3), lambda: optax.adam(1e-3, b1=0.8), False),
    (
      lambda: optax.adam(optax.cosine_decay_schedule(1e-3, 100)),
      lambda: optax.adam(optax.cosine_decay_schedule(1e-3, 200)),
      False,
    ),
    (
      lambda: optax.MultiSteps(optax.sgd(0.1), 2),
      lambda: optax.MultiSteps(optax.sgd(0.1), 2),
      True,
    ),
    # What is closed over is a part of it.
    (
      lambda: optax.scale_by_schedule(lambda n: jnp.array([0.1, 0.2])[n]),
      lambda: optax.scale_by_schedule(lambda n: jnp.array([0.1, 0.3])[n]),
      False,
    ),
  ],
)
def test_optimisers_are_told_apart(one, other, same):
  assert (of(one()) == of(other())) == same


def test_where_functions_lie_is_no_part_of_it():
  def make():
    @jax.custom_jvp
    def double(x):
      return 2 * x

    double.defjvp(lambda primals, tangents: (2 * primals[0], 2 * tangents[0]))
    return double

  assert program_digest(make(), jnp.ones(2)) == program_digest(
    make(), jnp.ones(2)
  )


def test_keys_of_both_styles_are_the_same_numbers():
  typed, raw = jax.random.key(3), jax.random.PRNGKey(3)
  assert key_numbers(typed) == key_numbers(raw) == [0, 3]
