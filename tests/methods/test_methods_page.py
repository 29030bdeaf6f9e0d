"""The page about methods is up to date."""

import importlib.util
import pathlib

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_methods_page_is_up_to_date():
  path = DOCS / "make_methods_page.py"
  spec = importlib.util.spec_from_file_location("make_methods_page", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  assert (DOCS / "methods.md").read_text() == module.page(), (
    "run python docs/make_methods_page.py"
  )
