"""`launch.py cache` and `--teacher_cache`, from flags to results."""

import json
import pathlib
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from job_contract import check_results

ROOT = pathlib.Path(__file__).parents[3]

import launch  # noqa: E402  (the launcher stands beside the package)
from kdjax.data.teacher_cache.records import (  # noqa: E402
  record_type,
  to_records,
)
from kdjax.data.teacher_cache.store import (  # noqa: E402
  TeacherCache,
  write_shard,
)
from kdjax.runner.jobs.cache import write  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_runs")

PAGE = ROOT / "docs" / "teacher_cache.md"
SET = ["--dataset=digits", "--augment=shift(1)"]
TEACHER = [
  "--teacher=mlp(16, dropout=0.1)", "--teacher_epochs=1",
  "--teacher_batch_size=64",
]  # fmt: skip
STUDENT = [
  "--student=mlp(8)", "--epochs=2", "--seeds=2", "--batch_size=64",
  "--nocontrols",
]  # fmt: skip


def run(*arguments, status=0):
  assert launch.main(["launch.py", *map(str, arguments)]) == status


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
  """The folder of a run that wrote a cache of three views."""
  workdir = tmp_path_factory.mktemp("cached") / "run"
  run("cache", *SET, *TEACHER, "--views=3", f"--workdir={workdir}",
      "--cache_taps=stage_0 head:in", "--cache_shards=2", "--nopreflight")  # fmt: skip
  return workdir


@pytest.mark.slow
def test_a_student_learns_from_a_cache(cached, tmp_path, bare_runs):
  assert check_results(cached, "cache")["cache"]["records"] == 3 * 1442
  cache = TeacherCache(cached / "teacher_cache")
  assert cache.rows == 3 * 1442 and len(cache.manifest["shards"]) == 2
  assert cache.read([0])[1]["stage_0"].shape == (1, 16)
  run(*SET, *STUDENT, "--views=3", f"--teacher_cache={cached}",
      f"--workdir={tmp_path / 'run'}",
      "--resident_megabytes=0", "--uniform_teacher")  # fmt: skip
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  note = json.loads((cached / "teacher" / "network.json").read_text())
  assert results["teacher"]["digest"] == note["digest"]
  assert results["teacher"]["model"] == "mlp(16, dropout=0.1)"
  assert len(results["teacher"]["test_accuracy"]) == 1
  assert len(results["student"]["test_accuracy"]) == 2
  assert not (tmp_path / "run" / "teacher").exists()
  rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  assert {json.loads(row)["network"] for row in rows} == {
    "student", "baseline", "uniform_teacher",
  }  # fmt: skip


REFUSED = {
  "other data": (["--dataset=mnist5k"], ["other training images"]),
  "other split": (["--train_split=train[:90%]"], ["other training images"]),
  "other view": (["--augment=flip"], ["--augment", "'shift(1)'", "'flip'"]),
  "no view": (["--augment=none", "--views=none"], ["'shift(1)'", "'none'"]),
  "views of nothing": (["--augment=none"], ["--views=3", "--augment"]),
  "fewer views": (["--views=2"], ["--views", "has 3", "2"]),
  "unlimited": (["--views=none"], ["--views", "has 3", "None"]),
  "other seed": (["--view_seed=1"], ["--view_seed", "has 0", "1"]),
  "other crop": (["--crop_size=6"], ["--crop_size", "None", "6"]),
  "other teacher": (["--teacher=mlp(17)"], ["mlp(16", "mlp(17)"]),
  "held out": (["--validation=0.2"], ["--validation", "0.0", "0.2"]),
  "no cache": (["--teacher_cache=nowhere"], ["no teacher cache in nowhere"]),
  "no such tap": (
    ["--distillation=fitnets(teacher_tap='stage_1')"],
    [
      "'stage_1'",
      "only the features head:in, stage_0",
      "--cache_taps='stage_1'",
    ],
  ),
  "no classifier": (["--distillation=srrl"], ["srrl", "classifier"]),
  "a regime": (["--scheme=mutual"], ["--scheme=mutual", "--views"]),
  "compare": (["compare", "kd"], ["compare has no such flag"]),
  "quantify": (["quantify"], ["quantify has no such flag"]),
}


@pytest.mark.parametrize("is_first", [True, False])
def test_one_process_writes_the_manifest(is_first, tmp_path, monkeypatch):
  kind = record_type(2, top_k=None, taps={}, dtype="float32")
  row = np.zeros(1, np.int32)
  records = to_records(kind, row, row, np.zeros((1, 2)), {})
  write_shard(tmp_path, 0, 1, [records])
  monkeypatch.setattr(write.processes, "is_first", lambda: is_first)
  settings = SimpleNamespace(cache=SimpleNamespace(shards=1))
  about = {"views": {"count": 1}, "data": {"examples": 1}}
  base = SimpleNamespace(experiment=settings)
  write._write(base, tmp_path, None, kind, about)
  assert (tmp_path / "manifest.json").exists() == is_first


def fails(capsys, *arguments, status=2):
  run(*arguments, status=status)
  message = capsys.readouterr().err
  assert 1 <= len(message.strip().splitlines()) <= 3
  return message


@pytest.mark.parametrize(
  "name",
  [
    # Refused as another split is, after all of it has been read.
    pytest.param(x, marks=[pytest.mark.slow] * (x == "other data"))
    for x in REFUSED
  ],
)
def test_refused(cached, name, capsys, tmp_path):
  arguments, said = REFUSED[name]
  message = fails(
    capsys, *SET, *STUDENT, "--views=3", f"--teacher_cache={cached}",
    f"--workdir={tmp_path / 'run'}", *arguments,
  )  # fmt: skip
  assert all(part in message for part in said), message
  assert not (tmp_path / "run").exists()


def test_another_teachers_weights_are_refused(cached, capsys, tmp_path):
  """The same kind of network, but not the one that answered."""
  import jax
  import jax.numpy as jnp

  from kdjax.core import storage
  from kdjax.models import make_model

  note = json.loads((cached / "teacher" / "network.json").read_text())
  network = make_model(note["model"], classes=10)
  other = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
  note.pop("digest")
  storage.save_network(tmp_path / "other", other, note)
  message = fails(
    capsys, *SET, *STUDENT, "--views=3", f"--teacher_cache={cached}",
    f"--teacher_from={tmp_path / 'other'}", f"--workdir={tmp_path / 'run'}",
  )  # fmt: skip
  assert "another teacher" in message


def test_a_shard_cut_short_is_refused(cached, capsys, tmp_path):
  copy = shutil.copytree(cached / "teacher_cache", tmp_path / "copy")
  shard = next(copy.glob("*.array_record"))
  shard.write_bytes(shard.read_bytes()[:-1])
  message = fails(
    capsys, *SET, *STUDENT, "--views=3", f"--teacher_cache={copy}",
    f"--workdir={tmp_path / 'run'}", status=4,
  )  # fmt: skip
  assert "damaged or cut short" in message and shard.name in message


def test_a_cache_of_a_cache_is_refused(cached, capsys):
  message = fails(
    capsys, "cache", *SET, "--views=3", f"--teacher_cache={cached}"
  )
  assert "cache has no such flag" in message


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    ([], ["'shift(1)'", "--views=4"]),
    (["--views=0"], [">= 1"]),
    (["--views=2", "--cache_form=topk"], ["top_k"]),
    (["--views=2", "--cache_form=top_k", "--cache_top_k=10"], ["top-10 of 10"]),
    (["--views=2", "--cache_taps=stage_9"], ["stage_9"]),
    (["--views=2", "--cache_dtype=float8"], ["float16"]),
  ],
)
def test_impossible_caches(arguments, said, capsys, tmp_path):
  workdir = tmp_path / "run"
  message = fails(
    capsys, "cache", *SET, *TEACHER, *arguments, f"--workdir={workdir}"
  )
  assert all(part in message for part in said), message
  assert not workdir.exists()


@pytest.mark.slow
def test_the_page_writes_a_cache_that_is_read(tmp_path, monkeypatch):
  """A teacher from anywhere: the page's own code, then its own command."""
  monkeypatch.chdir(tmp_path)
  blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  assert len(blocks) == 3
  assert len(blocks[0].split("def write_cache")[1].splitlines()) <= 21
  names = {}
  for block in blocks:
    exec(compile(block, str(PAGE), "exec"), names)
  cache = TeacherCache(tmp_path / "my_cache")
  assert cache.rows == 3 * 1442
  command = PAGE.read_text().strip().splitlines()[-1].split("launch.py ")[1]
  run(
    *command.replace("'", "").split(), *STUDENT, "--epochs=1", "--seeds=1",
    "--nopreflight", f"--workdir={tmp_path / 'run'}",
  )  # fmt: skip
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["teacher"]["test_accuracy"] is None
  assert results["teacher"]["model"] == "mine"
