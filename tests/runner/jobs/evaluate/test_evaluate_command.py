"""`launch.py evaluate`: what it writes, and what it refuses in one line."""

import functools
import json
import re

import jax
import numpy as np
import pytest
import tokenizers
from small_tokenizers import characters
from tiny_language_models import drawn_variables

import kdjax
import launch
from kdjax.models import make_model
from kdjax.models.tokenizers import tokenizer_of_files

ROWS = [
  {"text": "the cat sat on the mat and slept."},
  {"prompt": "what? ", "completion": "four"},
  {"text": "abc"},
  {"prompt": "1+1=", "completion": "2"},
]
LENGTH = 40


def foreign():
  """A tokenizer with a token more."""
  files = dict(characters().files)
  backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
  backend.add_tokens(["the cat"])
  files["tokenizer.json"] = backend.to_str().encode()
  return tokenizer_of_files(files, "foreign")


def saved(folder, seed, tokenizer, *, family="llama", classes=50, positions=64):
  text = (
    f"decoder(family='{family}', width=16, depth=2, heads=2, mlp=24,"
    f" positions={positions})"
  )
  network = kdjax.from_linen(make_model(text, classes=classes))
  variables = drawn_variables(network, seed=seed, scale=6.0)
  kdjax.pretrained.save(folder, network, variables, tokenizer=tokenizer)
  return network, variables


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tokenizer = characters()
  # Its head is padded beyond the tokenizer.
  saved(folder / "network", 0, tokenizer, classes=53)
  saved(folder / "run" / "student", 0, tokenizer, classes=53)
  saved(folder / "teacher", 1, tokenizer)
  saved(folder / "foreign", 0, foreign())
  saved(folder / "silent", 0, None)
  saved(folder / "small", 0, tokenizer, classes=20)
  saved(folder / "short", 0, tokenizer, family="gpt2", positions=8)
  (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
  (folder / "bad.jsonl").write_text('{"text": "a"}\n{"text"\n')
  (folder / "empty.jsonl").write_text("")
  (folder / "titles.jsonl").write_text('{"title": "a"}\n')
  prompt = {"prompt": "a" * 60, "completion": "b"}
  (folder / "prompt.jsonl").write_text(json.dumps(prompt))
  (folder / "a_file").write_text("")
  return folder


def evaluated(workdir, *flags):
  call = ["launch.py", "evaluate", f"--workdir={workdir}", *flags]
  assert launch.main([*call, f"--sequence_length={LENGTH}"]) == 0
  return json.loads((workdir / "results.json").read_text())


@functools.cache
def program(where):
  network, variables, _, tokenizer = kdjax.pretrained.load(where)
  apply = jax.jit(lambda tokens: network.apply(variables, tokens)[0])
  return apply, tokenizer.vocabulary_size


def log_probabilities(where, ids):
  """Of one document alone, (T, V), by the network's plain call."""
  apply, size = program(where)
  # What follows a causal network's tokens is nothing to them.
  tokens = np.pad(ids, (0, LENGTH - len(ids)))
  logits = np.asarray(apply(tokens[None])[0], np.float64)[: len(ids), :size]
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def one_by_one(where, teacher):
  nats, divergences, same, size, top = [], [], [], 0, []
  tokenizer = kdjax.pretrained.load(where).tokenizer
  for row in ROWS:
    ids, counts = tokenizer.tokenize(row)
    learned = np.array(counts)[1:]
    log_q, log_p = (
      log_probabilities(one, ids)[:-1][learned] for one in (where, teacher)
    )
    labels = np.array(ids)[1:][learned]
    nats += [*-log_q[np.arange(len(labels)), labels]]
    divergences += [*(np.exp(log_p) * (log_p - log_q)).sum(-1)]
    same += [*(log_p.argmax(-1) == log_q.argmax(-1))]
    top += [*np.exp(log_q).max(-1)]
    size += len(row.get("text", row.get("completion")).encode())
  return {
    "nats_per_token": np.mean(nats),
    "bits_per_byte": np.sum(nats) / np.log(2) / size,
    "tokens": len(nats),
    "bytes": size,
    "teacher_kl": np.mean(divergences),
    "agreement": np.mean(same),
    "top_1_mass": np.mean(top),
  }


def test_results_are_those_of_documents_one_by_one(places, tmp_path, capsys):
  results = evaluated(
    tmp_path / "run", f"--from={places / 'network'}",
    f"--text={places / 'rows.jsonl'}", f"--teacher_from={places / 'teacher'}",
    "--sequences_at_once=2", "--top=1",
  )  # fmt: skip
  wanted = one_by_one(places / "network", places / "teacher")
  got = {name: results[name] for name in wanted}
  assert got == pytest.approx(wanted, rel=1e-5)
  kinds = {name: type(results[name]) for name in [*wanted][:4]}
  assert [*kinds.values()] == [float, float, int, int]
  assert results["text"]["rows"] == 4
  said, progress = capsys.readouterr()
  assert f"nats per token  {wanted['nats_per_token']:.4f}" in said
  assert f"{wanted['tokens']} tokens, {wanted['bytes']} bytes" in said
  (counts,) = re.findall(
    r"measuring (\d+) sequences: (\d+) steps? in", progress
  )
  assert int(counts[1]) == -(-int(counts[0]) // 2)


def test_a_runs_folder_is_its_student(places, tmp_path):
  flags = f"--text={places / 'rows.jsonl'}", "--from"
  alone, of_run = (
    evaluated(tmp_path / name, flags[0], f"{flags[1]}={places / name}")
    for name in ("network", "run")
  )
  assert of_run["nats_per_token"] == alone["nats_per_token"]
  assert "teacher_kl" not in alone


BAD = {
  "no network": (["--text=rows.jsonl"], ["--from is missing"]),
  "no text": (["--from=network"], ["--text is missing"]),
  "no folder": (["--from=gone"], ["--from=gone"]),
  "a file": (["--from=a_file"], ["--from=a_file"]),
  "no tokenizer": (["--from=silent"], ["--from=silent", "tokenizer.json"]),
  "few positions": (["--from=short"], ["--from=short", "8"]),
  "few ids": (["--from=small"], ["--from=small", "its network 20"]),
  "no file": (["--text=gone.jsonl"], ["gone.jsonl"]),
  "no match": (["--text=gone/*.txt"], ["gone/*.txt"]),
  "no JSON": (["--text=bad.jsonl"], ["bad.jsonl, line 2"]),
  "no row": (["--text=empty.jsonl"], ["empty.jsonl"]),
  "no text in a row": (["--text=titles.jsonl"], ["titles.jsonl, line 1"]),
  "long prompt": (["--text=prompt.jsonl"], ["within 40 tokens"]),
  "no package": (["--text=package:novel"], ["'novel'", "novels"]),
  "foreign": (
    ["--teacher_from=foreign"],
    ["--teacher_from=foreign", "another tokenizer", "--from=network"],
  ),
  "no teacher": (["--teacher_from=gone"], ["--teacher_from=gone"]),
  "top": (["--top=1,99"], ["--top=99", "49 tokens"]),
  "no top": (["--top=0"], ["--top=0"]),
  "length": (["--sequence_length=1"], ["--sequence_length=1", ">= 2"]),
  "batch": (["--sequences_at_once=0"], ["--sequences_at_once=0"]),
  "images": (["--dataset=digits"], ["evaluate has no such flag"]),
  "typo": (["--teacher_form=teacher"], ["did you mean --teacher_from"]),
  "words": (["more"], ["takes no further words", "more"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, places, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(places)
  flags, words = BAD[name]
  defaults = {"--from": "network", "--text": "rows.jsonl"}
  if name in ("no network", "no text"):
    defaults = {}
  defaults["--sequence_length"] = LENGTH
  given = {one.partition("=")[0] for one in flags}
  flags = [
    *flags,
    *(f"{flag}={value}" for flag, value in defaults.items() if flag not in given),
  ]  # fmt: skip
  workdir = tmp_path / "run"
  status = launch.main(
    ["launch.py", "evaluate", *flags, f"--workdir={workdir}"]
  )
  said = capsys.readouterr().err.strip().splitlines()
  assert status == 2, said
  message = said[-1]
  assert message.startswith("launch.py: ") and "Traceback" not in message
  assert all(word in message for word in words), message
  assert "compiling" not in " ".join(said) and not workdir.exists()
