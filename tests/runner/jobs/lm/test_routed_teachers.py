"""`launch.py lm --pool='column(NAME)'`: each row has one of several teachers."""

import shutil

import jax
import numpy as np
import pytest
from job_contract import check_results
from killed_runs import killed_at
from small_tokenizers import characters
from tiny_language_models import (
  documents,
  tiny_folder,
  train_arms,
  write_rows,
)

import launch
from kdjax import pretrained
from kdjax.models.generation.generate import generate
from kdjax.runner.config import experiments, options
from kdjax.runner.jobs.lm.answers import with_answers, write
from kdjax.runner.jobs.lm.build import build

NAMES = ("math", "code")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("routed")
  for seed, name in enumerate(NAMES):
    # Larger weights make steps of gradients grow each other's rounding.
    tiny_folder(folder / name, characters(), seed=seed, num_hidden_layers=2)
  # The same network under both names.
  for name in NAMES:
    shutil.copytree(folder / "math", folder / "same" / name)
  rows = [{"prompt": x[:6], "completion": x[6:20]} for x in documents(30)]
  rows += [{"text": x} for x in documents(10, 1)]
  rows = [row | {"who": NAMES[i % 3 == 0]} for i, row in enumerate(rows)]
  write_rows(folder / "rows.jsonl", rows)
  ordered = sorted(rows, key=lambda row: row["who"])
  write_rows(folder / "ordered.jsonl", ordered)
  return folder


def flags_of(folder, **flags):
  teachers = flags.pop("teachers", NAMES)
  texts = {
    "text": f"{folder}/rows.jsonl", "pool": "column(who)", "sequence_length": "32",
    "teacher_from": ",".join(f"{folder}/{one}" for one in teachers),
    "student": "layers(1)", "batch_size": "8", "accelerator": "cpu", "seeds": "1",
  }  # fmt: skip
  policy = flags.get("policy", "off")
  if policy != "off":
    texts["max_new_tokens"] = "6"
  if policy not in ("off", "teacher"):
    texts["prompt_tokens"] = "4"
  return {name: x for name, x in (texts | flags).items() if x}


def prepare(folder, **flags):
  fixed = {
    "steps": "4", "evaluations": "4", "optimizer": "sgd", "schedule": "constant",
    "learning_rate": "0.3",
  }  # fmt: skip
  settings = experiments.load_experiment("lm")
  return build(
    options.with_flags(settings, flags_of(folder, **fixed | flags))
  ).setup


def trained(setup, devices=1):
  state = train_arms(setup, devices)["student"]
  return getattr(state, "student", state).params["network"]


def gap(one, other):
  gaps = (
    np.abs(x - y).max() / np.abs(x).max()
    for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True)
  )
  return max(gaps)


def test_each_token_is_its_rows_teachers(folder):
  """Rows with different teachers share a sequence, and tell their own ones."""
  setup = prepare(folder)
  part, (_, choices) = setup.texts.parts["train"], setup.training_teacher.arrays
  choices, sequences = np.asarray(choices), part.sequences
  assert choices.shape == sequences["tokens"].shape
  assert any(
    len({*row[mask]}) == 2
    for row, mask in zip(choices, sequences["mask"], strict=True)
  )
  rows = {}
  for row, number in zip(
    part.rows, map(setup.teachers.route.number_of, part.rows), strict=True
  ):
    assert NAMES[number] == row.values["who"]
    text = row.values.get("text", row.values.get("completion"))
    rows[text] = number
  tokenizer, found = setup.tokenizer, 0
  for tokens, segments, choice in zip(
    sequences["tokens"], sequences["segments"], choices, strict=True
  ):
    for document in range(1, segments.max() + 1):
      here = segments == document
      text = tokenizer.decode(tokens[here])
      numbers = [x for own, x in rows.items() if text.endswith(own)]
      found += len(numbers)
      assert not numbers or {*choice[here]} == {*numbers}
  assert found >= 20


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["off", "student"])
def test_who_teaches_what(folder, untried, policy):
  # In the order in which rows of several teachers are packed.
  text = f"{folder}/ordered.jsonl"
  settings = {"policy": policy, "distillation": "forward_kl:1", "text": text}
  alone = {"pool": "", "teachers": ("math",), **settings}
  one = trained(prepare(folder, **alone))
  same = ("same/math", "same/code")
  assert gap(one, trained(prepare(folder, teachers=same, **settings))) < 1e-6
  both = prepare(folder, **settings)
  whole = trained(both)
  assert gap(one, whole) > 1e-3
  assert gap(whole, trained(both, devices=2)) < 1e-6
  # Names, and not the order in which they are given.
  turned = {"teachers": NAMES[::-1], "student_from": f"{folder}/math"}
  assert gap(whole, trained(prepare(folder, **turned, **settings))) < 1e-6


@pytest.mark.slow
def test_each_answers_its_own_prompts(folder, untried):
  setup = prepare(folder, policy="teacher", distillation="hard")
  answered = []

  class Context:
    def stored(self, name, make):
      answered.append(make())
      return answered[0]

  setup = write(setup, Context())
  ends = np.cumsum(answered[0]["lengths"])[:-1]
  rows = setup.texts.parts["train"].rows
  for number, tokens in zip(
    setup.prompts, np.split(answered[0]["tokens"], ends), strict=True
  ):
    own = pretrained.load(folder / rows[number].values["who"])
    (want,) = generate(
      own.network, own.variables, [setup.prompts[number]], max_new_tokens=6,
      key=jax.random.key(0), ids=[number], eos=own.tokenizer.eos,
    )  # fmt: skip
    assert tokens.tolist() == want.tolist()
  _, choices = setup.training_teacher.arrays
  assert len(choices) == len(setup.train_split.labels)
  again = with_answers(setup, {})
  assert len(again.training_teacher.arrays[1]) > 0


def run(folder, workdir, **flags):
  texts = flags_of(folder, steps="4", evaluations="2", completions="1", **flags)
  return launch.main(
    [
      "launch.py",
      "lm",
      *(f"--{x}={y}" for x, y in texts.items()),
      f"--workdir={workdir}",
    ]
  )


@pytest.mark.slow
def test_a_run_that_was_killed_ends_alike(
  folder, tmp_path, monkeypatch, bare_runs
):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  flags = {"policy": "mixed", "checkpoint_minutes": "0"}
  assert run(folder, whole, **flags) == 0
  with killed_at(monkeypatch, 2):
    assert run(folder, killed, **flags) == 130
  assert run(folder, killed, **flags) == 0
  weights = [
    (one / "student" / "model.safetensors").read_bytes()
    for one in (whole, killed)
  ]
  assert weights[0] == weights[1]
  teacher = check_results(killed, "lm")["teacher"]
  assert teacher["pool"] == "column(who)"
  alone = teacher["members_test_nats_per_token"]
  assert [*alone] == [f"{folder}/{name}" for name in NAMES]
  (nats,) = teacher["test_nats_per_token"]
  assert nats != pytest.approx(alone[f"{folder}/math"], abs=1e-3)
  assert 0 < nats < 20 and 0 < teacher["top_mass"]["8"] <= 1


def _rows(*rows):
  good = [{"text": text, "who": "math"} for text in documents(20)]
  return [*good, *rows]


REFUSED = {
  "column": ({"pool": "column(hwo)"}, None, ["--pool=column(hwo)", "'hwo'", "did you mean 'who'"]),
  "no column": ({}, _rows({"text": "a"}), ["line 21", "unknown column 'who'"]),
  "value": ({}, _rows({"text": "a", "who": "maths"}), ["line 21", "'maths'", "did you mean 'math'"]),
  "no value": ({}, _rows({"text": "a", "who": None}), ["line 21", "unknown column 'who'"]),
  "columns": ({"pool": "column(a, b)"}, None, ["--pool=column(a, b)", "one column"]),
  "nothing": ({"pool": "column()"}, None, ["--pool=column()", "one column"]),
  "pool": ({"pool": "colum(who)"}, None, ["--pool", "colum(who)", "column(NAME)"]),
  "weights": ({"teacher_weights": "2,1"}, None, ["--teacher_weights=2,1", "one teacher"]),
  "names": ({"teachers": ("math", "same/math")}, None, ["two teachers 'math'"]),
  "one": ({"teachers": ("math",)}, None, ["--pool", "several"]),
  "drawn": ({"policy": "speculative"}, None, ["--policy=speculative", "column(who)"]),
  "across": ({"across": "bytes", "student_from": "{}/math"}, None, ["--across=bytes"]),
  "cache": ({"teacher_cache": "gone"}, None, ["--teacher_cache"]),
  "mesh": ({"mesh": "data=-1"}, None, ["--mesh=data=-1"]),
  "features": ({"distillation": "minilm:1 + ce:1"}, None, ["no features"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder, tmp_path, capsys, name):
  flags, rows, said = REFUSED[name]
  if rows:
    flags = flags | {"text": str(write_rows(tmp_path / "rows.jsonl", rows))}
  flags = {
    x: y if x == "teachers" else y.format(folder) for x, y in flags.items()
  }
  assert run(folder, tmp_path / "run", **flags) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert all(text in line for text in said), line
  assert not (tmp_path / "run").exists()


def test_other_commands_have_no_rows_of_text(tmp_path, capsys):
  flags = [
    "--pool=column(who)",
    "--teachers=2",
    f"--workdir={tmp_path / 'run'}",
  ]
  assert launch.main(["launch.py", "distill", *flags]) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert "--pool=column(who)" in line and "lm" in line
