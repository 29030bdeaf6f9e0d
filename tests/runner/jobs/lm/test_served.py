"""`launch.py lm` with a teacher behind an endpoint: a run, its faults, what is refused."""

import json

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from stub_endpoint import serve, weights
from tiny_language_models import documents, tiny_folder, write_rows

import launch
from kdjax import pretrained
from kdjax.train.devices import placement
from kdjax.train.served import asking

pytestmark = pytest.mark.usefixtures("devices")
WIDTH = characters().vocabulary_size


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("served")
  tiny_folder(folder / "student", characters(), num_hidden_layers=1)
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(20)])
  return folder


@pytest.fixture
def stub():
  with serve(weights(WIDTH)) as stub:
    yield stub


def run(places, stub, workdir, *flags):
  return launch.main([
    "launch.py", "lm", f"--text={places / 'rows.jsonl'}",
    f"--teacher_from={stub.url}", f"--student_from={places / 'student'}",
    "--sequence_length=24", "--batch_size=4", "--epochs=2", "--seeds=2",
    "--optimizer=sgd", "--learning_rate=0.05", "--completions=2",
    f"--workdir={workdir}", *flags,
  ])  # fmt: skip


@pytest.fixture
def devices(monkeypatch):
  def choose(count):
    chosen = jax.devices()[:count]
    monkeypatch.setattr(placement, "choose", lambda accelerator: chosen)

  choose(1)
  return choose


def student_of(workdir):
  return jax.tree.leaves(pretrained.load(workdir / "student").variables)


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  [
    pytest.param(
      ("--distillation=topk_kd(k=5):0.9 + ce:0.1",),
      marks=pytest.mark.exhaustive,
      id="files",
    ),
    pytest.param(
      ("--policy=mixed(student=0.7)", "--max_new_tokens=8", "--steps=6"),
      id="own",
    ),
  ],
)
def test_a_run_and_one_that_fails_and_goes_on(
  places, stub, tmp_path, untried, devices, monkeypatch, capfd, flags
):
  # Nothing is kept: the second run asks as often as the first one.
  monkeypatch.setattr(asking, "KEPT_BYTES", 1)
  assert run(places, stub, tmp_path / "whole", *flags) == 0
  results = json.loads((tmp_path / "whole" / "results.json").read_text())
  teacher, student = results["teacher"], results["student"]
  assert teacher["parameters"] is None and teacher["test_nats_per_token"][0] > 0
  assert student["teacher_kl"][0] > 0 and len(student["teacher_kl"]) == 2
  assert results["served"]["model"] == "stub"
  assert "exposure" not in results
  page = (tmp_path / "whole" / "report.html").read_text()
  assert "served by another program" in page
  stub.asked.clear()
  stub.fault = lambda n, answer: (404, b"gone") if n > 24 else answer
  often = ("--checkpoint_steps=1", "--checkpoint_minutes=0")
  capfd.readouterr()
  assert run(places, stub, tmp_path / "cut", *flags, *often) == 70
  said = capfd.readouterr().err
  line = said.splitlines()[-1]
  assert "Traceback" not in said
  assert f"{stub.url}/completions: status 404, 'gone'; the same command" in line
  kept = tmp_path / "cut" / "checkpoints"
  assert any(path.name.isdigit() for path in kept.rglob("*"))
  stub.fault = lambda n, answer: answer
  devices(2)
  assert run(places, stub, tmp_path / "two", *flags) == 0
  devices(1)
  assert run(places, stub, tmp_path / "cut", *flags, *often) == 0
  for one, other, two in zip(
    *map(student_of, (tmp_path / "whole", tmp_path / "cut", tmp_path / "two")),
    strict=True,
  ):
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, two, atol=1e-5)


REFUSED = {
  (
    "--distillation=forward_kl",
  ): "forward_kl reads more of a teacher than its likeliest",
  ("--distillation=minilm:1 + ce",): "minilm:1 + ce reads more of a teacher",
  ("--distillation=topk_kd(temperature=2)",): "at the temperature 1 alone",
  (
    "--policy=teacher",
  ): "--policy=teacher: it is asked about texts, and writes",
  ("--policy=student(teacher=0.2)",): "does not go with --policy=student",
  ("--across=bytes",): "does not go with --across=bytes",
}


@pytest.mark.parametrize(("flags", "message"), REFUSED.items())
def test_what_needs_more_of_a_teacher_is_refused(
  places, stub, tmp_path, capfd, flags, message
):
  assert run(places, stub, tmp_path / "run", *flags) == 2
  (line,) = capfd.readouterr().err.splitlines()
  assert message in line and not stub.asked


def test_it_is_no_network_to_be_cut(places, stub, tmp_path, capfd):
  arguments = [f"--text={places / 'rows.jsonl'}", f"--teacher_from={stub.url}"]
  arguments += [f"--workdir={tmp_path / 'run'}"]
  assert launch.main(["launch.py", "lm", *arguments]) == 2
  assert "nothing can be cut out of a served" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "cache"])
def test_other_commands_want_a_folder(stub, places, tmp_path, capfd, command):
  text = f"--text={places / 'rows.jsonl'}"
  own = {
    "evaluate": [f"--from={places / 'student'}"],
    "cache": ["--task=lm"],
  }[command]
  arguments = ["launch.py", command, *own, text, f"--teacher_from={stub.url}"]
  assert launch.main([*arguments, f"--workdir={tmp_path / 'run'}"]) == 2
  assert "only the teacher of lm can be behind" in capfd.readouterr().err


def test_a_fault_of_the_first_test_ends_before_anything_is_written(
  places, stub, tmp_path, capfd
):
  stub.fault = lambda n, answer: (400, b"prompt_logprobs=64 is more than 20")
  assert run(places, stub, tmp_path / "run") == 2
  line = capfd.readouterr().err
  assert "more than 20" in line and not (tmp_path / "run").exists()
