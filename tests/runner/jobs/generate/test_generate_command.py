"""`launch.py generate`: what it writes, and what it refuses in one line."""

import json

import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import drawn_variables

import kdjax
import launch
from kdjax.models import make_model

CHAT = [{"role": "user", "content": "one"}]
ROWS = [
  {"prompt": "abc", "completion": "d", "id": 7},
  {"messages": CHAT},
  {"messages": [*CHAT, {"role": "assistant", "content": "two"}]},
]


def saved(folder, tokenizer, *, family="llama", classes=53, positions=64):
  text = (
    f"decoder(family='{family}', width=16, depth=2, heads=2, mlp=24,"
    f" positions={positions})"
  )
  network = kdjax.from_linen(make_model(text, classes=classes))
  variables = drawn_variables(network, scale=3.0)
  kdjax.pretrained.save(folder, network, variables, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  # Its head is padded beyond the tokenizer.
  saved(folder / "network", characters())
  saved(folder / "run" / "student", characters())
  saved(folder / "silent", None)
  saved(folder / "no_chat", characters(template=None))
  saved(folder / "small", characters(), classes=20)
  saved(folder / "short", characters(), family="gpt2", positions=8)
  for name, text in {
    "lines.txt": "the cat\n\n2+2=\n",
    "rows.jsonl": "\n".join(map(json.dumps, ROWS)),
    "empty.txt": "\n \n",
    "text.jsonl": '{"text": "a"}\n',
    "both.jsonl": json.dumps({"prompt": "a", "messages": CHAT}),
    "answer.jsonl": json.dumps(
      {"messages": [{"role": "assistant", "content": "a"}]}
    ),
    "number.jsonl": '{"prompt": 3}\n',
    "role.jsonl": '{"messages": [{"content": "a"}]}',
    "bad.jsonl": '{"prompt": "a"}\n{"prompt"\n',
    "long.txt": "a" * 80,
    "half.jsonl": '{"prompt": "\\ud83d"}\n',
    "rows.csv": "prompt\na\n",
  }.items():
    (folder / name).write_text(text)
  (folder / "latin.txt").write_bytes(b"caf\xe9\n")
  return folder


def generated(workdir, *flags):
  call = ["launch.py", "generate", f"--workdir={workdir}", *flags]
  assert launch.main([*call, "--max_new_tokens=9"]) == 0
  results = json.loads((workdir / "results.json").read_text())
  lines = (workdir / "generations.jsonl").read_text().splitlines()
  return results, [*map(json.loads, lines)]


def test_every_prompt_has_its_text(places, tmp_path, quick_runs, capsys):
  results, lines = generated(
    tmp_path / "run",
    f"--from={places / 'network'}",
    f"--prompts={places / 'rows.jsonl'}",
  )
  network, variables, _, tokenizer = kdjax.pretrained.load(places / "network")
  # By hand: < begins a text, > ends a turn.
  prompts = ["<s>abc", "<s>u:one</s>\na:", "<s>u:one</s>\na:"]
  due = kdjax.generate(
    network, variables, [tokenizer.encode(text) for text in prompts],
    max_new_tokens=9, eos=tokenizer.eos, vocabulary=tokenizer.vocabulary_size,
  )  # fmt: skip
  assert [line["tokens"] for line in lines] == [text.tolist() for text in due]
  assert [line["text"] for line in lines] == [*map(tokenizer.decode, due)]
  assert lines[0] | ROWS[0] == lines[0]
  assert lines[2]["place"].endswith("rows.jsonl, line 3")
  about = results["generation"]
  assert about["prompts"] == about["texts"] == 3
  assert about["prompt_tokens"] == 4 + 2 * 10
  assert about["tokens"] == sum(map(len, due))
  assert about["tokens_per_second"] > 0
  assert "abc\n  -> " in capsys.readouterr().out


@pytest.mark.slow
def test_draws_do_not_depend_on_the_batch(places, tmp_path, quick_runs):
  flags = (
    f"--from={places / 'run'}",
    f"--prompts={places / 'lines.txt'}",
    "--sampling=temperature(1.5)",
    "--samples=2",
  )
  _, together = generated(tmp_path / "together", *flags)
  _, apart = generated(tmp_path / "apart", *flags, "--batch_size=1")
  assert together == apart
  assert [line["sample"] for line in together] == [0, 1, 0, 1]
  assert together[0]["tokens"] != together[1]["tokens"]
  assert max(np.concatenate([x["tokens"] for x in together])) < 49
  _, other = generated(tmp_path / "other", *flags, "--seed=1")
  assert other != together


BAD = [
  ("", "lines.txt", "", "--from is missing"),
  ("network", "", "", "--prompts is missing"),
  ("nowhere", "lines.txt", "", "--from="),
  ("silent", "lines.txt", "", "there is no tokenizer.json"),
  ("network", "none.txt", "", "cannot read"),
  ("network", "rows.csv", "", "it must end in .txt"),
  ("network", "empty.txt", "", "there is no prompt in it"),
  ("network", "latin.txt", "", "line 1, is not UTF-8"),
  ("network", "bad.jsonl", "", "line 2, is no JSON"),
  ("network", "text.jsonl", "", "it must have `prompt` or `messages`"),
  ("network", "both.jsonl", "", "it must have `prompt` or `messages`"),
  ("network", "answer.jsonl", "", "has nothing but an answer"),
  ("network", "number.jsonl", "", "`prompt` is a int, not a text"),
  ("network", "role.jsonl", "", "`role` must be a text"),
  ("network", "half.jsonl", "", "half a pair of surrogates"),
  ("no_chat", "rows.jsonl", "", "line 2: this tokenizer has no chat template"),
  ("network", "long.txt", "", "81 tokens and max_new_tokens=9 are more than"),
  ("short", "lines.txt", "", "line 1: a prompt of 8 tokens and max_new_tokens=9"),
  ("small", "lines.txt", "", "its network 20"),
  ("network", "lines.txt", "--sampling=nucleus(0.9)", "--sampling: unknown"),
  ("network", "lines.txt", "--sampling=top_p(2)", "must be in (0, 1]"),
  ("network", "lines.txt", "--max_new_tokens=0", "it must be >= 1"),
  ("network", "lines.txt", "--samples=0", "it must be >= 1"),
  ("network", "lines.txt", "--seed=-1", "it must be in [0"),
  ("network", "lines.txt", "--temperature=2", "generate has no such flag"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "prompts", "flag", "said"), BAD)
def test_bad_input(source, prompts, flag, said, places, tmp_path, capsys):
  call = ["launch.py", "generate", f"--workdir={tmp_path / 'run'}"]
  call += ["--max_new_tokens=9"] * ("max_new" not in flag)
  call += [f"--from={places / source}"] * bool(source)
  call += [f"--prompts={places / prompts}"] * bool(prompts)
  assert launch.main([*call, *filter(None, [flag])]) == 2
  message = capsys.readouterr().err
  assert said in message and len(message.strip().splitlines()) == 1, message
  assert not (tmp_path / "run").exists()
