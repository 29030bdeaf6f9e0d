"""The folder of a run: whose it is, and when an unfinished run goes on in it."""

import json
import subprocess
import sys
from contextlib import nullcontext

import pytest

from kdjax.core import plugins
from kdjax.core.errors import StorageError, UserError
from kdjax.runner.system.workdir import LOCK, SETTINGS, claim

SETTINGS_OF = {"student": {"epochs": 3, "rates": (0.1, 0.2)}, "run": {}}


def take(folder, settings=SETTINGS_OF, resume=True):
  return claim(str(folder), "name", settings, resume=resume)


def test_unfinished_run_goes_on_with_the_same_settings(tmp_path):
  folder = take(tmp_path / "run")
  (folder / "metrics.jsonl").write_text("")
  assert take(tmp_path / "run") == folder


@pytest.mark.parametrize(
  ("now", "said"),
  [
    ({"background": "white", "omit_classes": ()}, None),
    ({"background": "black"}, "background was 'white' and is 'black'"),
    ({"omit_classes": (3,)}, r"omit_classes was \[\] and is \[3\]"),
  ],
)
def test_settings_that_older_code_did_not_have_were_at_their_defaults(
  tmp_path, now, said
):
  take(tmp_path / "run")
  refused = pytest.raises(UserError, match=said) if said else nullcontext()
  with refused:
    take(tmp_path / "run", SETTINGS_OF | {"data": now})


@pytest.mark.parametrize("left", [(), (LOCK,), (LOCK, "run.json.new")])
def test_killed_at_once_leaves_a_free_folder(tmp_path, left):
  for name in left:
    (tmp_path / name).write_text("")
  take(tmp_path)
  written = json.loads((tmp_path / SETTINGS).read_text())
  assert written["experiment"]["student"]["epochs"] == 3


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"student": {"epochs": 4, "rates": (0.1, 0.2)}}, "epochs was 3 and is 4"),
    ({"student": {"epochs": 3, "rates": (0.1,)}}, "rates was"),
    ({"student": {"epochs": 3, "rates": (0.1, 0.2), "new": 1}}, "new was None"),
  ],
)
def test_other_settings_are_named(tmp_path, change, said):
  take(tmp_path / "run")
  with pytest.raises(UserError, match=said):
    take(tmp_path / "run", SETTINGS_OF | change)


DATA = {
  "number of training images": 9,
  "class 0": "cat",
  "class 1": "dog",
  "sha256 of the training images": "a" * 64,
}


@pytest.mark.parametrize(
  ("now", "said"),
  [
    (DATA | {"number of training images": 8}, "images was 9 and is 8"),
    (DATA | {"class 0": "dog", "class 1": "cat"},
     "class 0 was 'cat' and is 'dog'; class 1 was 'dog' and is 'cat'"),
    (DATA | {"class 2": "cow"}, "class 2 was None and is 'cow'"),
    (DATA | {"sha256 of the training images": "b" * 64},
     "images was aaaaaaaaaaaa... and is bbbbbbbbbbbb..."),
    ({f"class {i}": "x" for i in range(9)}, "; and 7 more"),
  ],
)  # fmt: skip
def test_a_stopped_run_does_not_go_on_over_changed_data(tmp_path, now, said):
  folder = claim(str(tmp_path / "run"), "n", SETTINGS_OF, fingerprints=DATA)
  before = (folder / SETTINGS).read_bytes()
  with pytest.raises(UserError, match="over other data: ") as raised:
    claim(str(folder), "n", SETTINGS_OF, resume=True, fingerprints=now)
  assert said in str(raised.value)
  assert (folder / SETTINGS).read_bytes() == before
  assert (
    claim(str(folder), "n", SETTINGS_OF, resume=True, fingerprints=DATA)
    == folder
  )


def test_a_run_from_before_the_data_was_noted_goes_on(tmp_path):
  folder = take(tmp_path / "run")
  assert (
    claim(str(folder), "n", SETTINGS_OF, resume=True, fingerprints=DATA)
    == folder
  )


def test_where_it_runs_may_change(tmp_path):
  folder = take(tmp_path / "run")
  moved = SETTINGS_OF | {"run": {"host_devices": 2}}
  assert take(tmp_path / "run", moved) == folder


@pytest.mark.parametrize(
  ("file", "resume", "settings", "said"),
  [
    ("results.json", True, SETTINGS_OF, "holds files"),
    ("metrics.jsonl", False, SETTINGS_OF, "--resume"),
    ("metrics.jsonl", True, None, "holds files"),
  ],
)
def test_what_is_there_is_left_alone(tmp_path, file, resume, settings, said):
  folder = take(tmp_path / "run")
  (folder / file).write_text("mine")
  with pytest.raises(UserError, match=said):
    take(folder, settings, resume)
  assert (folder / file).read_text() == "mine"


@pytest.mark.parametrize(
  ("there", "goes_on"),
  [
    (["results.json"], False),
    (["results.json", "checkpoints"], True),
    (["results.json", "report.html", "checkpoints"], False),
    (["checkpoints"], True),
  ],
)
def test_killed_while_drawing_goes_on_and_is_over_with_its_page(
  tmp_path, there, goes_on
):
  folder = take(tmp_path / "run")
  for name in there:
    (folder / name).write_text("")
  if goes_on:
    assert take(folder) == folder
    return
  with pytest.raises(UserError, match="holds files already of a run that is"):
    take(folder)


@pytest.mark.parametrize("text", ["{", "", "null", "[]", "[" * 100_000])
def test_damaged_settings_are_named(tmp_path, text):
  folder = take(tmp_path / "run")
  (folder / SETTINGS).write_text(text)
  with pytest.raises(StorageError, match=SETTINGS):
    take(folder)


def test_another_process_has_it(tmp_path):
  folder = take(tmp_path / "run")
  code = (
    "import sys; from kdjax.runner.system.workdir import claim;"
    f"claim({str(folder)!r}, 'name', {SETTINGS_OF!r}, resume=True)"
  )
  other = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False
  )
  assert "is in use" in other.stderr


@pytest.mark.parametrize(
  ("before", "now", "said"),
  [
    ({}, {}, None),
    ({"own.py": "a" * 64}, {"own.py": "a" * 64}, None),
    ({"own.py": "a" * 64}, {"own.py": "b" * 64}, "own.py was aaaaaaaaaaaa..."),
    ({"own.py": "a" * 64}, {}, "and is None"),
    ({}, {"own.py": "a" * 64}, "own.py was None"),
  ],
)
def test_goes_on_with_the_same_plugins_only(
  tmp_path, monkeypatch, before, now, said
):
  monkeypatch.setattr(plugins, "_DIGESTS", before)
  take(tmp_path / "run")
  monkeypatch.setattr(plugins, "_DIGESTS", now)
  if said is None:
    assert take(tmp_path / "run") == tmp_path / "run"
    return
  with pytest.raises(UserError, match="with other --plugins") as error:
    take(tmp_path / "run")
  assert said in str(error.value) and "\n" not in str(error.value)
