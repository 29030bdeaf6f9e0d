"""Plugins: what is imported, what is kept of it, and what every mistake says."""

import hashlib
import sys

import pytest

from kdjax.core import plugins, registry
from kdjax.core.errors import UserError

TABLE = {"taken": lambda: None}
register = registry.entering("model", TABLE)
REGISTER = f"from {__name__} import register\n"


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
  """Files in a folder of their own; what they leave in the process is removed."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(plugins, "_DIGESTS", {})
  monkeypatch.setattr(sys, "path", [*sys.path])
  monkeypatch.setattr(sys, "dont_write_bytecode", True)
  monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
  before = set(sys.modules)
  yield
  for name in set(sys.modules) - before:
    del sys.modules[name]
  for name in TABLE.keys() - {"taken"}:
    del TABLE[name]


def write(folder, files):
  for name, text in files.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def sha256(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


FILES = {
  "own_net.py": REGISTER + "register('net')(len)\n",
  "own_main.py": "import own_help\n",
  "own_help.py": "import json\n",
  "own_package/__init__.py": "",
  "own_package/nets.py": "from own_package import parts\n",
  "own_package/parts.py": "",
}


@pytest.mark.parametrize(
  ("text", "files"),
  [
    ("own_net.py", ["own_net.py"]),
    ("./own_net.py", ["own_net.py"]),
    ("own_main.py, own_net.py", ["own_help.py", "own_main.py", "own_net.py"]),
    (
      "own_package.nets",
      [
        "own_package/__init__.py",
        "own_package/nets.py",
        "own_package/parts.py",
      ],
    ),
    ("own_net.py,own_net", ["own_net.py"]),
  ],
)
def test_digests_are_those_of_the_users_own_files(tmp_path, text, files):
  write(tmp_path, FILES)
  sys.path.append(str(tmp_path))
  modules = plugins.load(text)
  digests = {name: sha256(tmp_path / name) for name in files}
  assert plugins.load(text) == modules and plugins.digests() == digests
  assert ("net" in TABLE) == ("own_net.py" in text)


@pytest.mark.parametrize(
  ("name", "text", "said"),
  [
    ("", None, "--plugins=: give FILE.py or a module"),
    ("own_a.py,", "", "--plugins=own_a.py,: give FILE.py or a module"),
    ("own_nets.py", None, "there is no such file; did you mean 'own_net.py'?"),
    ("nowhere/own.py", None, "nowhere/own.py: there is no such file"),
    ("nope.py", None, "--plugins=nope.py: there is no such file."),
    ("own_net", None, "No module named 'own_net'; did you mean --plugins=own_net.py"),
    ("own_a.py", "\ndef f(:\n", "own_a.py: line 2: invalid syntax"),
    ("own_a.py", "import nothing_here\n", "line 1: No module named 'nothing_here'"),
    ("own_a.py", "from os import nothing\n", "line 1: cannot import name 'nothing'"),
    ("own_a.py", "def f():\n  1 / 0\nf()\n", "line 3: ZeroDivisionError: division"),
    ("own_a.py", REGISTER + "\n\nregister('taken')(len)\n",
     "own_a.py: line 4: model 'taken' is registered already"),
    ("own_a.py", "raise SystemExit(0)\n", "line 1: it ends the program"),
    ("own_a.py", "x = '\0'\n", "null bytes"),
    ("own_broken.py", "import own_syntax\n", "own_syntax.py, line 1: invalid"),
    ("json.py", "", "'json' is a module already"),
    ("own.a.py", "", "'own.a' is a module already, or no name of one"),
    ("own_folder", None, "no Python file has this name"),
  ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, name, text, said):
  write(tmp_path, {"own_net.py": "", "own_syntax.py": "1 +\n", "e.py": ""})
  (tmp_path / "own_folder").mkdir()
  if text is not None:
    write(tmp_path, {name.strip(","): text})
  if name == "own_folder":
    sys.path.append(str(tmp_path))
  with pytest.raises(UserError) as error:
    plugins.load(name)
  assert said in f"{error.value}." and "\n" not in str(error.value)
  assert str(error.value).startswith(f"--plugins={name}")


def test_a_digest_is_of_what_was_imported(tmp_path):
  write(tmp_path, {"own_old.py": "x = 1\n"})
  plugins.load("own_old.py")
  before = plugins.digests()
  write(tmp_path, {"own_old.py": "x = 2\n"})
  plugins.load("own_old.py")
  assert plugins.digests() == before
