"""The pages about losses are up to date, and their data complete."""

import importlib.util
import pathlib

from kdjax import losses

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def maker(name):
  spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_losses_page_is_up_to_date():
  want = maker("make_losses_page").page(losses)
  assert (DOCS / "losses.md").read_text() == want, (
    "run python docs/make_losses_page.py"
  )


def test_numbers_page_names_every_loss():
  text = (DOCS / "numerics.md").read_text()
  exported = {getattr(losses, name).__name__ for name in losses.__all__}
  missing = {name for name in exported if f"| `{name}` |" not in text}
  assert not missing, "run python docs/make_numerics_page.py"
