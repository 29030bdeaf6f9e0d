"""The pages: all of them found from the index, no link to nowhere."""

import pathlib
import re
import shlex

import pytest

import launch
from kdjax.runner.cli import COMMANDS

ROOT = pathlib.Path(launch.__file__).parent
INDEX = ROOT / "docs" / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
LINKED += [ROOT / "experiments" / "README.md"]


def text_of(page):
  """A page without its code, in which brackets are no links."""
  return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def links_of(page):
  return re.findall(r"\]\(([^)\s]+)\)", text_of(page))


def anchors_of(page):
  """The headings' names, as GitHub makes them."""
  text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
  titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
  kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
  return {name.replace(" ", "-") for name in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_linked_from_the_index(page):
  targets = {(INDEX.parent / link.split("#")[0]).resolve()
             for link in links_of(INDEX)}  # fmt: skip
  assert page == INDEX or page in targets


@pytest.mark.parametrize(
  "page", LINKED, ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_resolves(page):
  for link in links_of(page):
    if link.startswith(("https://", "http://")):
      continue
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), link
    assert not anchor or anchor in anchors_of(target), link


def test_the_readme_leads_to_the_index():
  assert "docs/README.md" in links_of(ROOT / "README.md")


def commands():
  found = re.findall(r"`python launch\.py ?([^`]*)`", INDEX.read_text())
  assert len(found) > 20
  return found


@pytest.mark.parametrize("command", commands())
def test_the_index_names_commands_that_are_taken(command, monkeypatch):
  calls = []
  for name in COMMANDS:
    monkeypatch.setitem(COMMANDS, name, calls.append)
  for name in ("prepare_environment", "keep_programs"):
    monkeypatch.setattr(launch, name, lambda *_: None)
  assert launch.main(["launch.py", *shlex.split(command)]) == 0
  assert len(calls) == 1


def test_the_index_begins_with_what_people_have():
  text = INDEX.read_text()
  for row in (
    "| photos ", "PyTorch", "your own network", "your own training loop",
    "a cluster", "few labels", "What is not supported", "Windows",
  ):  # fmt: skip
    assert row in text
