"""What every family refuses, and how it says so."""

import re

import jax.numpy as jnp
import pytest

from kdjax.models import checks


@pytest.mark.parametrize(
  ("check", "arguments", "message"),
  [
    ("whole_number", ("a width", 0), "a width must be a whole number >= 1"),
    ("whole_number", ("a width", 2.5), "got 2.5"),
    ("whole_number", ("a width", True), "got True"),
    ("whole_number", ("a width", "4"), "got '4'"),
    ("share", ("dropout", 1), "dropout must be in [0, 1), got 1"),
    ("share", ("dropout", -0.1), "got -0.1"),
    ("share", ("dropout", float("nan")), "got nan"),
    ("share", ("dropout", "half"), "got 'half'"),
    (
      "image_side",
      ("vgg", jnp.zeros((1, 9, 7, 3)), 8),
      "vgg needs images of at least 8 x 8 pixels, got 9 x 7",
    ),
  ],
)
def test_refused(check, arguments, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    getattr(checks, check)(*arguments)


def test_allowed():
  checks.whole_number("a width", 1)
  checks.whole_number("depth", 8, least=8)
  checks.share("dropout", 0)
  checks.image_side("vgg", jnp.zeros((1, 8, 8, 1)), 8)
