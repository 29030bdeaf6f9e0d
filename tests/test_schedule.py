"""Schedules of values: what their arguments may be."""

import re

import pytest

from kdjax.errors import UserError
from kdjax.schedule import SCHEDULES, make_schedule
from kdjax.spec import parse


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
    ("warmup(nan)", "a share of the training is in (0, 1], got nan"),
    ("warmup('a')", "a share of the training is in (0, 1], got 'a'"),
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
