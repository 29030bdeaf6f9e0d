"""`launch.py list`: what there is, in an order that imports do not decide."""

import pytest

from kdjax import models
from kdjax.core.errors import UserError
from kdjax.core.registry import by_file
from kdjax.runner.jobs.list.listing import listing


def test_schemes_are_listed_under_either_name():
  text = listing(["schemes"], experiments={})
  assert text == listing(["regimes"], experiments={})
  assert text.startswith("schemes (--scheme)\n") and "mean_teacher(" in text
  assert "regimes" not in listing([], experiments={})


def test_a_name_that_is_none_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'schemes'"):
    listing(["scheme"], experiments={})


def test_the_order_of_imports_decides_nothing():
  files = {}
  for name, maker in models.MAKERS.items():
    files.setdefault(maker.__module__, {})[name] = maker
  assert len(files) > 5
  other_order = {
    name: maker
    for one in reversed(files.values())
    for name, maker in one.items()
  }
  assert list(by_file(other_order)) == list(by_file(models.MAKERS))
  assert list(by_file(other_order)) != list(other_order)
