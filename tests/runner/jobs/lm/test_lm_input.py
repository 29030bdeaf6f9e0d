"""What `launch.py lm` refuses, in one line, before it compiles or writes."""

import pytest
import tokenizers
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import launch
from kdjax.models.tokenizers import tokenizer_of_files


def foreign():
  """A tokenizer with a token more."""
  files = dict(characters().files)
  backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
  backend.add_tokens(["the cat"])
  files["tokenizer.json"] = backend.to_str().encode()
  return tokenizer_of_files(files, "foreign")


ACROSS = ("--student_from=foreign", "--across=bytes")
PROMPT = {"prompt": "a" * 40, "completion": "b"}
GOOD = ("--sequence_length=16", "--batch_size=8")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  """Folders and files, good and bad, by name."""
  folder = tmp_path_factory.mktemp("places")
  tokenizer, two = characters(), {"num_hidden_layers": 2}
  tiny_folder(folder / "teacher", tokenizer, **two)
  tiny_folder(folder / "foreign", foreign(), **two)
  tiny_folder(folder / "silent", None, vocab_size=50, **two)
  short = {"model_type": "gpt2", "max_position_embeddings": 8}
  tiny_folder(folder / "short", tokenizer, **short, **two)
  tiny_folder(folder / "small", tokenizer, vocab_size=20, **two)
  lines = {
    "rows": [{"text": text} for text in documents(12)],
    "prompts": [PROMPT | {"completion": one} for one in "bcd"],
    "two": [{"text": "a"}, {"text": "b"}],
    "nothing": [],
    "no_text": [{"text": "a"}, {"text": "b"}, {"title": "c"}],
    "untested": [{"text": text, "split": "train"} for text in documents(4)],
    "odd": [{"text": "a", "split": "some"}] * 3,
    "chat": [{"text": "a"}, {"text": "b"}, {"messages": [{"role": "user"}]}],
  }
  for name, rows in lines.items():
    write_rows(folder / f"{name}.jsonl", rows)
  (folder / "bad.jsonl").write_text('{"text": "a"}\n{"text"\n')
  return folder


BAD = {
  "no texts": (["--teacher_from=teacher"], ["--text is missing"]),
  "no teacher": (["--text=rows.jsonl"], ["--teacher_from is missing"]),
  "no file": (["--text=gone.jsonl"], ["gone.jsonl"]),
  "no match": (["--text=gone/*.txt"], ["gone/*.txt"]),
  "no rows": (["--text=nothing.jsonl"], ["nothing.jsonl"]),
  "no json": (["--text=bad.jsonl"], ["bad.jsonl, line 2"]),
  "rows of nothing": (["--text=no_text.jsonl"], ["no_text.jsonl, line 3"]),
  "too few": (["--text=two.jsonl"], ["divided"]),
  "untested": (["--text=untested.jsonl"], ["no row is test"]),
  "odd split": (["--text=odd.jsonl"], ["'some'", "validation"]),
  "chat": (["--text=chat.jsonl"], ["chat.jsonl, line 3"]),
  "no package": (["--text=package:novel"], ["'novel'", "novels"]),
  "long prompts": (["--text=prompts.jsonl"], ["split", "within 16 tokens"]),
  "length": (["--sequence_length=1"], ["--sequence_length=1", ">= 2"]),
  "positions": (["--teacher_from=short"], ["--teacher_from=short", "8"]),
  "no folder": (["--teacher_from=gone"], ["--teacher_from=gone"]),
  "no tokenizer": (["--teacher_from=silent"], ["silent", "tokenizer.json"]),
  "foreign": (
    ["--student_from=foreign"],
    ["--student_from=foreign", "another tokenizer", "--across=bytes"],
  ),
  "small": (
    ["--teacher_from=small"],
    ["--teacher_from=small", "its network 20"],
  ),
  "no student": (["--student_from=gone"], ["--student_from=gone"]),
  "two students": (
    ["--student_from=teacher", "--student=decoder"],
    ["--student=decoder and --student_from=teacher"],
  ),
  "deep cut of a student": (
    ["--student_from=teacher", "--student=layers(9)"],
    ["--student=layers(9)"],
  ),
  "across": (["--across=words"], ["--across", "'words'", "bytes, uld"]),
  "across nothing": (["--across=bytes"], ["--student_from=FOLDER"]),
  "across a cache": (
    [*ACROSS, "--teacher_cache=gone", "--policy=student", "--max_new_tokens=4"],
    ["--policy=student", "--teacher_cache"],
  ),
  "across both": (
    [*ACROSS, "--policy=speculative", "--max_new_tokens=4"],
    ["--across=bytes", "--policy=speculative", "both"],
  ),
  "across own answers": (
    [*ACROSS, "--distillation=minillm", "--max_new_tokens=4"],
    ["--across=bytes", "--policy=student(teacher=0.2)"],
  ),
  "across features": (
    [*ACROSS, "--distillation=minilm"],
    ["--across=bytes: minilm", "uld"],
  ),
  "across divergences": (
    [*ACROSS, "--across=uld", "--distillation=kd"],
    ["--across=uld: kd", "uld"],
  ),
  "deep cut": (["--student=layers(9)"], ["--student=layers(9)"]),
  "odd cut": (["--student=every(0)"], ["--student=every(0)"]),
  "images": (["--student=mlp(3)"], ["--student=mlp(3)", "decoder"]),
  "unknown": (["--student=layer(3)"], ["layer"]),
  "method": (["--distillation=forward_lk"], ["forward_lk", "forward_kl"]),
  "alternative": (
    ["--alternatives=kd, forward_lk"],
    ["forward_lk", "forward_kl"],
  ),
  "empty alternative": (["--alternatives=kd,"], ["'kd,'", "commas"]),
  "alternative with k": (
    ["--alternatives=topk_kd(k=99)"],
    ["topk_kd", "1 to 49", "99"],
  ),
  "weights": (["--distillation=kd:-1"], ["kd:-1"]),
  "k": (["--distillation=topk_kd(k=99)"], ["topk_kd", "1 to 49", "99"]),
  "no batch of pieces": (
    ["--accumulate_steps=3"],
    ["--accumulate_steps=3", "8"],
  ),
  "pieces": (
    ["--distillation=rkd:1 + ce", "--accumulate_steps=2"],
    ["--accumulate_steps=2"],
  ),
  "tap": (["--distillation=fitnets(student='stage_9')"], ["stage_9"]),
  "optimiser": (["--optimizer=adamv"], ["adamv", "adam"]),
  "schedule": (["--schedule=cosines"], ["cosines", "cosine"]),
  "held out": (["--held_out=0.5"], ["--held_out=0.5", "(0, 0.5)"]),
  "steps": (["--steps=0"], ["--steps=0"]),
  "rates": (["--learning_rate=1e-3,1e-2"], ["--learning_rate"]),
  "not its own": (["--dataset=digits"], ["--dataset=digits", "lm has no such"]),
  "policy": (["--policy=mix"], ["--policy", "'mix'", "'mixed'"]),
  "share": (["--policy=mixed(student=1)"], ["--policy", "(0, 1)"]),
  "no room": (
    ["--policy=student", "--max_new_tokens=16"],
    ["--policy=student", "--max_new_tokens=16", "--sequence_length=16"],
  ),
  "own labels": (
    [
      "--policy=student",
      "--distillation=kd:0.9 + ce:0.1",
      "--max_new_tokens=4",
    ],
    ["--policy=student", "ce", "kd:0.9 + ce:0.1"],
  ),
  "own texts of a cache": (
    ["--policy=mixed", "--teacher_cache=gone"],
    ["--policy=mixed", "--teacher_cache"],
  ),
  "drawn by others": (
    ["--policy=teacher", "--distillation=minillm", "--max_new_tokens=4"],
    ["--policy=teacher", "minillm", "--policy='student(teacher=0.2)'"],
  ),
  "drawn otherwise": (
    ["--distillation=minillm", "--sampling=greedy", "--max_new_tokens=4"],
    ["--sampling=greedy", "minillm", "temperature(1.0)"],
  ),
  "drawn before": (
    [
      "--distillation=policy_gradient",
      "--max_new_tokens=4",
      "--updates_per_rollout=2",
    ],
    ["--updates_per_rollout=2", "policy_gradient"],
  ),
  "drawn by two": (
    [
      "--distillation=policy_gradient",
      "--max_new_tokens=4",
      "--policy=student(teacher=0.2)",
    ],
    ["teacher=0.2", "policy_gradient", "minillm"],
  ),
  "drawn in its place": (
    [
      "--distillation=minillm",
      "--max_new_tokens=4",
      "--policy=speculative(2)",
    ],
    ["--policy=speculative", "minillm"],
  ),
  "accepted": (["--policy=speculative(0)"], ["--policy", "top_k"]),
  "capacity": (["--policy=adaptive(0)"], ["--policy", "capacity"]),
  "tolerance": (
    ["--policy=adaptive(tolerance=0)"],
    ["--policy", "tolerance", "(0, 1]"],
  ),
  "no updates": (
    ["--updates_per_rollout=2"],
    ["--updates_per_rollout=2", "--policy=student"],
  ),
  "no prompts": (["--policy=teacher"], ["--policy=teacher", "`prompt`"]),
  "sampling": (
    ["--policy=teacher", "--sampling=hot"],
    ["--sampling", "hot"],
  ),
  "idle": (["--max_new_tokens=9"], ["--max_new_tokens=9", "--policy=teacher"]),
  "empty": (["--text="], ["--text=", "empty"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, places, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(places)
  flags, words = BAD[name]
  defaults = {"--text": "rows.jsonl", "--teacher_from": "teacher"}
  if name.startswith("no te"):
    defaults = {}
  named = {one.partition("=")[0] for one in flags}
  flags = [
    *GOOD, *flags,
    *(f"{flag}={value}" for flag, value in defaults.items() if flag not in named),
  ]  # fmt: skip
  workdir = tmp_path / "run"
  status = launch.main(["launch.py", "lm", *flags, f"--workdir={workdir}"])
  messages = capsys.readouterr().err.strip().splitlines()
  assert status == 2, messages
  message = messages[-1]
  assert message.startswith("launch.py: ") and "Traceback" not in message
  assert all(word in message for word in words), message
  assert "compiling" not in " ".join(messages) and not workdir.exists()
