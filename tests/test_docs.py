"""The pages: all of them found from the index, no link to nowhere."""

import pathlib
import pkgutil
import re
import shlex

import pytest
from test_architecture import LAYERS, PACKAGES

import launch
from kdjax.runner import cli, main
from kdjax.runner.cli import COMMANDS, flags_of
from kdjax.runner.config import Experiment

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
  monkeypatch.setattr(cli, "start", lambda job, call: calls.append(call))
  for name in ("prepare_environment", "order_for_memory", "keep_programs"):
    monkeypatch.setattr(main, name, lambda *_: None)
  assert launch.main(["launch.py", *shlex.split(command)]) == 0
  assert len(calls) == 1


def test_the_index_begins_with_what_people_have():
  text = INDEX.read_text()
  for row in (
    "| photos ", "PyTorch", "your own network", "your own training loop",
    "a cluster", "few labels", "What is not supported", "Windows",
  ):  # fmt: skip
    assert row in text


# What people search for, and the page that is about it.
TERMS = {
  "mutual learning": "schemes.md",
  "born-again networks": "schemes.md",
  "teacher assistant": "schemes.md",
  "online distillation": "schemes.md",
  "label smoothing": "schemes.md",
  "FitNets": "methods.md",
  "feature distillation": "methods.md",
  "self-distillation": "methods.md",
  "dataset distillation": "dataset_distillation.md",
  "quantization-aware": "compression.md",
}


def words_of(page):
  return " ".join(page.read_text().casefold().split())


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_the_field_is_found(term):
  for page in (ROOT / "README.md", INDEX, ROOT / "docs" / TERMS[term]):
    assert term.casefold() in words_of(page), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_opens_with_what_it_is_for_and_a_command(page):
  opening = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[0]
  title, _, rest = opening.partition("\n")
  assert title.startswith("# ") and title == title.rstrip(".")
  command = re.search(r"^ {4}(python|make|srun|pip|kdjax) ", rest, re.MULTILINE)
  assert command, f"no command within the opening of {page.name}"
  assert command.start() < 1500


# Words of a private language: say what it is, in the field's terms.
METAPHORS = r"\b(house|hallways?|doors?|faculty|lesson|pupils?|folklore|crew)\b"


@pytest.mark.parametrize(
  "page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name
)
def test_plain_words(page):
  assert not re.findall(METAPHORS, text_of(page), re.IGNORECASE)


def test_plain_words_in_the_source():
  for file in sorted((ROOT / "kdjax").rglob("*.py")):
    assert not re.findall(METAPHORS, file.read_text(), re.IGNORECASE), file


@pytest.mark.parametrize(
  "page", LINKED, ids=lambda page: str(page.relative_to(ROOT))
)
def test_files_named_in_a_page_exist(page):
  """The two pages that show how to add a file name the new one in a line."""
  text = re.sub(r"(?m)^`[^`\n]+`:$", "", page.read_text())
  folders = "kdjax|tests|experiments|benchmarks|examples"
  for path in re.findall(
    rf"(?<![\w/])(?:{folders})/[\w/]*\w\b(?:\.\w+)?", text
  ):
    assert (ROOT / path).exists(), path


# Flags of other programs, and of the benchmarks.
FOREIGN = {
  "tabular_teachers.md": {"in_sample"},
  "text_classification.md": {"no-deps"},
  "clusters.md": {"wait"},
  "compress.md": {"pruning_"},  # a family of ours
  "data.md": {"show"},
  "export.md": {"no-deps", "check"},
  "general_distillation.md": {"copies", "masked"},
  "language_models.md": {"no-deps"},
  "performance.md": {
    "clock",
    "layers",
    "only",
    "pairs",
    "peak",
    "plot",
    "quick",
    "sizes",
    "small",
    "xla_cpu_scheduler_type",
  },
  "recipes.md": {"zone", "accelerator-type", "version"},
}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_every_flag_of_a_page_exists(page):
  known = set(flags_of(None, Experiment())) | FOREIGN.get(page.name, set())
  known |= {f"no{flag}" for flag in known}
  used = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", page.read_text()))
  assert used <= known, used - known


def names_of(page):
  """All dotted names of kdjax in a page, in its code and its text."""
  text = page.read_text()
  yield from re.findall(r"(?<![\w/.])kdjax(?:\.[a-z_]\w*)+\b(?!\.)", text)
  lines = re.findall(
    r"^ *from (kdjax[\w.]*) import (\w.*)$", text, re.MULTILINE
  )
  for module, names in lines:
    yield from (f"{module}.{name.split()[0]}" for name in names.split(","))


@pytest.mark.parametrize(
  "page", LINKED, ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_names_of_the_package_exists(page):
  for name in set(names_of(page)):
    pkgutil.resolve_name(name)


def test_the_table_of_packages_is_the_tested_one():
  text = (ROOT / "docs" / "architecture.md").read_text()
  table = text.partition("| package |")[2].partition("\n\n")[0]
  rows = [line.strip("| ").split("|") for line in table.splitlines()[2:]]
  imported = {
    row[0].strip(" `"): set(re.findall(r"\w+", row[-1])) & set(PACKAGES)
    for row in rows
  }
  assert imported == PACKAGES
  assert ", ".join(f"`{name}`" for name in LAYERS) in " ".join(text.split())


def test_the_values_are_where_the_page_says():
  text = (ROOT / "docs" / "architecture.md").read_text()
  rows = re.findall(r"^\| `([A-Z]\w+)` \| `([\w/.]+)`", text, re.MULTILINE)
  assert len(rows) > 5
  for name, file in rows:
    assert re.search(rf"^class {name}\b", (ROOT / file).read_text(), re.M), name


@pytest.mark.slow
@pytest.mark.parametrize(
  ("page", "numbers"), [("large_vocabularies.md", [1]), ("soft_td.md", [0, 1])]
)
def test_code_that_needs_nothing_else_runs(
  page, numbers, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  text = (ROOT / "docs" / page).read_text()
  blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  for number in numbers:
    exec(compile(blocks[number], page, "exec"), {})


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"distill"}))
def test_every_command_is_explained(command):
  page = (ROOT / "docs" / "running.md").read_text()
  assert f"| `python launch.py {command}" in page
