"""Schedules of values: what their arguments may be."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.core.schedule import (
  SCHEDULES,
  check_static,
  check_value,
  make_schedule,
)
from kdjax.core.spec import parse


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("linear(8, 1, 0)", "steps must be a whole number >= 1, got 0"),
    ("linear(8, 1, nan)", "steps must be a whole number >= 1, got nan"),
    ("linear(8, inf, 9)", "stop=inf is not possible"),
    ("linear('8', 1, 9)", "start='8' is not possible"),
    ("linear(8, 1, stpes=9)", "no argument 'stpes'; did you mean 'steps'?"),
    ("cosine(nan, 1, 9)", "start=nan is not possible"),
    ("cosine(1, 0, 2.5)", "steps must be a whole number >= 1, got 2.5"),
    ("exponential(1, 0, 9)", "rate=0 is not possible"),
    ("exponential(1, nan, 9)", "rate=nan is not possible"),
    ("step(1, (9, 'a'), 0.1)", "a boundary must be a whole number >= 1"),
    ("step(1, (9, 9), 0.1)", "boundaries must rise, got (9, 9)"),
    ("step(1, (9, 10), nan)", "factor=nan is not possible"),
    ("warmup(nan)", "a share of the training must be in (0, 1], got nan"),
    ("warmup('a')", "a share of the training must be in (0, 1], got 'a'"),
    ("before(0.5, inf)", "value=inf is not possible"),
    ("after(0.5, nan)", "value=nan is not possible"),
    ("complement(inf)", "value=inf is not possible"),
    ("after(0.5, linaer(0, 1, 9))", "did you mean 'linear'?"),
    ("complement('a')", "value='a' is not possible"),
    ("product(1, 1e999)", "factor=inf is not possible"),
    ("product(1, linear(1, 2))", "missing a required argument: 'steps'"),
  ],
)
def test_arguments_of_schedules_have_ranges(text, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_schedule(parse(text), steps=None if "linear(1" in text else 10)


def test_every_schedule_says_what_it_is():
  assert all(maker.__doc__ for maker in SCHEDULES.values())


@pytest.mark.parametrize(
  "make",
  [
    lambda: np.float32(-2),
    lambda: np.int64(0),
    lambda: np.array(-2.0),
    lambda: jnp.array(0),
    lambda: jnp.array([1.0, -1.0]),
    lambda: jnp.array(jnp.nan, jnp.bfloat16),
    lambda: np.array(np.inf),
    lambda: 10**400,
    lambda: True,
    lambda: None,
    lambda: "4",
    lambda: (4.0,),
    lambda: [4.0, 5.0],
  ],
)
def test_a_number_of_any_type_is_checked(make):
  with pytest.raises(ValueError, match="^temperature=.* is not possible"):
    check_value("temperature", make(), lambda value: value > 0)


@pytest.mark.parametrize("make", [np.float32, np.int64, np.array, jnp.array])
def test_a_number_of_any_type_is_taken(make):
  check_value("temperature", make(2), lambda value: value > 0)


def test_what_is_traced_or_scheduled_is_let_through():
  check = jax.jit(lambda x: check_value("temperature", x, lambda value: False))
  check(1.0)
  check_value("temperature", lambda step: step, lambda value: False)


@pytest.mark.parametrize("make", [np.array, jnp.array])
def test_what_is_compiled_in_is_no_array(make):
  with pytest.raises(ValueError, match="rate must be a plain number"):
    check_static("rate", make(2), lambda value: value > 0)
  check_static("rate", np.float32(2), lambda value: value > 0)
