"""The package's rules, read from the source itself."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MODULES = sorted((ROOT / "kdjax").rglob("*.py"))
SOURCES = [
  *MODULES,
  ROOT / "launch.py",
  *sorted((ROOT / "experiments").glob("*.py")),
]

# The packages, and which of the others each may import.
PACKAGES = {
  "losses": set(),
  "core": {"losses"},
  "evaluate": {"core", "data", "losses"},
  "taps": {"core"},
  "models": {"core", "taps"},
  "data": {"core"},
  "tasks": {"core", "losses", "evaluate"},
  "methods": {"core", "losses", "taps"},
  "train": {"core", "data", "evaluate", "methods", "taps"},
  "runner": {
    "core", "data", "evaluate", "methods", "models", "taps", "tasks", "train",
  },
}  # fmt: skip
# The runner's own folders, each of which imports those before it; a job none
# of the other jobs.
LAYERS = [
  "config",
  "system",
  "report",
  "job",
  "pipeline",
  "jobs",
  "cli",
  "main",
]


# What turns the text of a setting into a value, and where in the runner it is
# called: in `build`, and in what `build` calls before anything runs.
READERS = {
  "make_scheme": {"pipeline/values"},
  "objective_of": {"pipeline/values"},
  "read_objective": {"pipeline/values", "jobs/compare/build"},
  "terms_of": {"pipeline/values", "pipeline/validate", "jobs/compare/build"},
  "read_window": {"pipeline/values"},
  "read_optimizer": {
    "pipeline/build", "jobs/knowledge/build", "jobs/synthesis/build",
    "jobs/lm/build", "jobs/lm/trainee",
  },
  "make_optimizer": set(),
  "make_model": set(),
  "read_model": {
    "pipeline/values", "pipeline/build", "pipeline/defaults",
    "pipeline/pretrained", "jobs/synthesis/build", "jobs/list/listing",
  },
  "split_mixing": {"pipeline/values", "pipeline/loaders"},
  "make_view": {"pipeline/loaders"},
  "make_loader": {"pipeline/build", "jobs/knowledge/build"},
  "make_loaders": {"pipeline/arms"},
  "parse_tap": {"jobs/knowledge/build"},
  "parse_list": {"pipeline/values"},
}  # fmt: skip


@functools.cache
def nodes(file: pathlib.Path) -> list[ast.AST]:
  """Every node of a file's code, at any depth, read once for all tests."""
  return list(ast.walk(ast.parse(file.read_text())))


@functools.cache
def callers() -> dict[str, set[str]]:
  """Of every function that the runner calls, the modules that do."""
  found = {}
  for file in MODULES:
    folder, *path = place(file)
    for node in nodes(file) if folder == "runner" else ():
      if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        found.setdefault(name, set()).add("/".join(path))
  return found


def imports(file: pathlib.Path) -> set[str]:
  """Every module that a file imports, at any depth of its code."""
  found = set()
  for node in nodes(file):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{file}: relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def ours(file: pathlib.Path) -> list[list[str]]:
  """Every import of ours, without `kdjax`: package, folder or module, name."""
  names = [name.split(".") for name in imports(file)]
  return [parts[1:] for parts in names if parts[0] == "kdjax"]


def place(file: pathlib.Path) -> list[str]:
  return [*file.relative_to(ROOT / "kdjax").with_suffix("").parts]


def name_of(file: pathlib.Path) -> str:
  return str(file.relative_to(ROOT))


def test_nothing_is_loose():
  names = {file.name for file in (ROOT / "kdjax").glob("*.py")}
  assert names <= {"__init__.py", "__main__.py"}
  folders = {file.relative_to(ROOT / "kdjax").parts[0] for file in MODULES}
  assert folders - names <= set(PACKAGES)


@pytest.mark.parametrize("folder", PACKAGES)
def test_imports_go_downwards(folder):
  files = [file for file in MODULES if place(file)[0] == folder]
  packages = {
    name_of(file): {other for other, *_ in ours(file)} - {"__version__"}
    for file in files
  }
  wrong = {
    name: found - PACKAGES[folder] - {folder}
    for name, found in packages.items()
  }
  assert files and not any(wrong.values()), wrong


@pytest.mark.parametrize("layer", LAYERS)
def test_the_runner_imports_downwards_within_itself(layer):
  within = [file for file in MODULES if place(file)[:2] == ["runner", layer]]
  assert within
  for file in within:
    for folder, *path in ours(file):
      if folder == "runner":
        assert LAYERS.index(path[0]) <= LAYERS.index(layer), (file, path)
        if path[0] == layer == "jobs":
          assert path[1] == place(file)[2], f"{file}: of another job: {path}"


def test_only_what_starts_a_run_imports_the_runner():
  tops = {"examples", "docs"}
  for top in tops:
    for file in (ROOT / top).rglob("*.py"):
      assert all(folder != "runner" for folder, *_ in ours(file)), file


@pytest.mark.parametrize(
  ("pattern", "home"),
  [
    ("jax.pmap", "kdjax/train/devices/placement.py"),
    ("absl.flags", "kdjax/runner/cli.py"),
  ],
)
def test_has_one_home(pattern, home):
  package, name = pattern.split(".")
  users = set()
  for file in SOURCES:
    for node in nodes(file):
      attribute = (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == package
      )
      imported = isinstance(node, ast.ImportFrom) and (
        node.module == package and name in {alias.name for alias in node.names}
      )
      if attribute or imported:
        users.add(str(file.relative_to(ROOT)))
  assert users == {home}


@pytest.mark.parametrize("function", READERS)
def test_texts_of_settings_become_values_once(function):
  assert callers().get(function, set()) == READERS[function]


@pytest.mark.parametrize(
  ("function", "users"),
  [
    # What a loss is: of `kdjax.objective`, and of every step.
    ("kdjax.train.objective.losses_of", {"train/step"}),
    ("kdjax.train.objective.first_params", {"train/state"}),
    # How an optimiser moves.
    ("kdjax.train.state.descend", {"train/step"}),
    # A step: of `kdjax.make_step`, and of the runner's schemes.
    (
      "kdjax.train.step.take_step",
      {"train/make_step"}
      | {
        f"train/schemes/{name}"
        for name in (
          "scheme",
          "mutual",
          "mean_teacher",
          "codistillation",
          "own_texts",
        )
      },
    ),
  ],
)
def test_the_runner_and_the_library_share_one_step(function, users):
  module, name = function.rsplit(".", 1)
  importers = {
    "/".join(place(file))
    for file in MODULES
    for node in nodes(file)
    if isinstance(node, ast.ImportFrom)
    and node.module == module
    and name in {alias.name for alias in node.names}
  }
  assert importers == users


def test_modules_are_short():
  lines = {name_of(x): len(x.read_text().splitlines()) for x in MODULES}
  assert not {name: count for name, count in lines.items() if count > 400}


def test_nothing_evaluates_or_unpickles():
  banned = {"eval", "exec", "pickle", "marshal", "dill", "cloudpickle"}
  for file in SOURCES:
    for node in nodes(file):
      if isinstance(node, ast.Name):
        assert node.id not in banned, f"{file}:{node.lineno}"
      if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        assert ast.literal_eval(node.value) is False, f"{file}:{node.lineno}"


def test_launcher_is_short():
  assert len((ROOT / "launch.py").read_text().splitlines()) <= 10
