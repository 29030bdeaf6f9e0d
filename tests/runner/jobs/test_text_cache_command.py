"""`launch.py cache --task=lm` and `lm --teacher_cache`, from flags to results."""

import json

import pytest
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import launch

FLAGS = ("--sequence_length=16", "--text=rows.jsonl", "--teacher_from=teacher")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(folder / "teacher", characters(), scale=4.0)
  tiny_folder(folder / "other", characters(), seed=1)
  tiny_folder(folder / "foreign", characters(eos="<turn>"))
  for name, seed in (("rows", 0), ("others", 1)):
    rows = [{"text": text} for text in documents(16, seed)]
    write_rows(folder / f"{name}.jsonl", rows)
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    for name, flags in (
      ("hidden", ["--cache_form=hidden", "--cache_dtype=float32"]),
      ("largest", ["--cache_form=top_k", "--cache_top_k=4"]),
    ):
      call = ["launch.py", "cache", "--task=lm", *FLAGS, *flags]
      assert launch.main([*call, f"--workdir={folder / name}"]) == 0
  return folder


def run(places, monkeypatch, workdir, *flags, status=0, command="lm"):
  monkeypatch.chdir(places)
  given = {one.partition("=")[0] for one in flags}
  usual = [one for one in FLAGS if one.partition("=")[0] not in given]
  call = ["launch.py", command, *usual, *flags, f"--workdir={workdir}"]
  assert launch.main(call) == status


SMALL = ("--batch_size=8", "--steps=2", "--student=layers(1)")


def test_what_was_written(places):
  results = json.loads((places / "hidden" / "results.json").read_text())
  cache = results["cache"]
  assert cache["form"] == "hidden" and cache["tokens"] > 100
  # 16 numbers of 4 bytes a position, and the matrix, 50 by 16, once.
  assert cache["bytes"] > 4 * 16 * cache["tokens"]
  assert cache["next"].split()[2] == "lm"


@pytest.mark.slow
def test_training_from_hidden_states_is_training_from_the_teacher(
  places, tmp_path, bare_runs, monkeypatch
):
  scores = []
  for name, flags in (("live", ()), ("cached", ("--teacher_cache=hidden",))):
    run(places, monkeypatch, tmp_path / name, *SMALL, *flags)
    results = json.loads((tmp_path / name / "results.json").read_text())
    scores.append(
      [
        results[one][key][0]
        for one in ("student", "baseline", "teacher")
        for key in ("test_nats_per_token", "teacher_kl")
      ]
    )
  assert scores[0] == pytest.approx(scores[1], rel=1e-6)


@pytest.mark.slow
def test_training_from_the_largest_classes(
  places, tmp_path, bare_runs, monkeypatch
):
  method = "--distillation=topk_kd(k=4):0.9 + ce:0.1"
  scores = []
  for name, flags in (("live", ()), ("cached", ("--teacher_cache=largest",))):
    run(places, monkeypatch, tmp_path / name, *SMALL, method, *flags)
    results = json.loads((tmp_path / name / "results.json").read_text())
    scores.append(results["student"]["test_nats_per_token"][0])
  assert scores[0] == pytest.approx(scores[1], rel=1e-3)


BAD = {
  "no cache": ("lm", ["--teacher_cache=gone"], ["no teacher cache in gone"]),
  "other text": ("lm", ["--text=others.jsonl"], ["its text is another one"]),
  "other split": ("lm", ["--held_out=0.3"], ["its text is another one"]),
  "other length": (
    "lm", ["--sequence_length=12"],
    ["its sequence_length is another one", "16", "12"],
  ),
  "other teacher": (
    "lm", ["--teacher_from=other"], ["its teacher is another one"],
  ),
  "precision": (
    "lm", ["--teacher_dtype=bfloat16"],
    ["--teacher_dtype=bfloat16", "does nothing with --teacher_cache"],
  ),
  "more classes": (
    "lm", ["--teacher_cache=largest", "--distillation=topk_kd"],
    ["4 likeliest tokens", "topk_kd reads 64", "topk_kd(k=4)"],
  ),
  "k of the cache": (
    "lm", ["--teacher_cache=largest", "--distillation=topk_kd(k=5)"],
    ["topk_kd reads 5"],
  ),
  "features": (
    "lm", ["--distillation=fitnets(student_tap='stage_0', teacher_tap='stage_0')"],
    ["stage_0", "no features", "--cache_taps"],
  ),
  "no text": ("cache", ["--text="], ["--text"]),
  "no teacher": ("cache", ["--teacher_from=gone"], ["--teacher_from=gone"]),
  "k": (
    "cache", ["--cache_form=top_k", "--cache_top_k=50"],
    ["--cache_top_k=50", "49 tokens"],
  ),
  "a reader too many": (
    "cache", ["--student_from=foreign"], ["--across and --student_from"],
  ),
  "likeliest across": (
    "cache",
    ["--student_from=foreign", "--across=uld", "--cache_form=top_k"],
    ["--cache_form=top_k", "--across=uld", "hidden"],
  ),
  "k of 64": ("cache", ["--cache_form=top_k"], ["--cache_top_k=64"]),
  "several processes": (
    "cache",
    ["--multihost", "--coordinator_address=127.0.0.1:1", "--process_count=2",
     "--process_index=1", "--init_timeout=1"],
    ["--multihost", "one process"],
  ),
  "of images": (
    "cache", ["--task=images", "--cache_form=hidden"], ["--task=lm"],
  ),
  "no task": ("cache", ["--task=text"], ["--task=text", "language_model"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_line(name, places, tmp_path, monkeypatch, capsys):
  command, flags, words = BAD[name]
  given = {one.partition("=")[0] for one in flags}
  usual = {"lm": [*SMALL, "--teacher_cache=hidden"], "cache": ["--task=lm"]}
  own = [one for one in usual[command] if one.partition("=")[0] not in given]
  workdir = tmp_path / "run"
  run(places, monkeypatch, workdir, *own, *flags, status=2, command=command)
  said = capsys.readouterr().err.strip().splitlines()
  message = said[-1]
  assert message.startswith("launch.py: ") and "Traceback" not in message
  assert all(word in message for word in words), message
  assert "compiling" not in " ".join(said) and not workdir.exists()
