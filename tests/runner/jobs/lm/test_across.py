"""`launch.py lm --across`: a teacher with another tokenizer than the student's."""

import functools
import pathlib

import jax
import numpy as np
import pytest
from job_contract import check_results
from killed_runs import killed_at
from tiny_language_models import (
  documents,
  tiny_folder,
  train_arms,
  write_rows,
)

import launch
from kdjax import pretrained
from kdjax.core.errors import UserError
from kdjax.data.text.rows import ANSWER
from kdjax.models.tokenizers import (
  encode_bytes,
  token_bytes,
  tokenizer_of_folder,
)
from kdjax.runner.config import experiments, options
from kdjax.runner.jobs.lm.answers import with_answers
from kdjax.runner.jobs.lm.build import build
from kdjax.train.devices import placement

pytestmark = pytest.mark.usefixtures("untried")
TOKENIZERS = pathlib.Path(__file__).parents[3] / "models" / "tokenizers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A student of byte-level BPE, a teacher of SentencePiece, and texts."""
  folder = tmp_path_factory.mktemp("across")
  own, other = (
    tokenizer_of_folder(TOKENIZERS / name)
    for name in ("byte_level", "sentencepiece")
  )
  sizes = {"max_position_embeddings": 128, "num_hidden_layers": 2}
  tiny_folder(folder / "student", own, seed=1, **sizes)
  tiny_folder(folder / "teacher", other, scale=4.0, **sizes)
  # Classes that no token has.
  classes = own.vocabulary_size + 24
  tiny_folder(folder / "padded", own, scale=4.0, vocab_size=classes, **sizes)
  rows = [{"text": f"{text} é😀."} for text in documents(20)]
  asked = [
    {"prompt": text[:6], "completion": text[6:20]} for text in documents(9, 1)
  ]
  write_rows(folder / "rows.jsonl", [*rows, *asked])
  return folder


def prepare(folder, **flags):
  texts = {
    "text": f"{folder}/rows.jsonl", "teacher_from": f"{folder}/teacher",
    "student_from": f"{folder}/student", "across": "bytes",
    "sequence_length": "32", "batch_size": "8", "accelerator": "cpu",
    "seeds": "1", "steps": "3", "optimizer": "sgd", "learning_rate": "0.1",
    "schedule": "constant",
  }  # fmt: skip
  texts = {name: x for name, x in (texts | flags).items() if x}
  settings = options.with_flags(experiments.load_experiment("lm"), texts)
  return build(settings).setup


def trained(setup, devices=1, arms=("student",)):
  """The networks of the arms, or of the one."""
  found, states = [], train_arms(setup, devices, arms)
  for state in map(states.get, arms):
    # An adaptive one has begun to write.
    assert int(np.max(getattr(state, "written", 1))) > 0
    # One that writes has its texts beside it.
    found.append(getattr(state, "student", state).params["network"])
  return found if len(found) > 1 else found[0]


def check_close(one, other, tolerance):
  for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True):
    np.testing.assert_allclose(y, x, atol=tolerance * np.abs(x).max(), rtol=0)


@pytest.mark.slow
def test_one_tokenizer_on_both_sides_is_plain_distillation(folder):
  # More sequences than there are: the rest of the batch is padding.
  same = {
    "teacher_from": f"{folder}/padded", "steps": "1", "batch_size": "40"
  }  # fmt: skip
  plain = trained(prepare(folder, across="", **same))
  arms = "student", "baseline"
  student, baseline = trained(prepare(folder, **same), arms=arms)
  check_close(plain, student, 1e-6)
  # The baseline is another network.
  with pytest.raises(AssertionError):
    check_close(plain, baseline, 1e-4)


ROOM = "--max_new_tokens=8", "--prompt_tokens=6"
OWN = {"max_new_tokens": "8", "prompt_tokens": "6"}
ADAPTIVE = "adaptive(capacity=8, tolerance=0.001, rise=1.0)"
MIXED = "mixed(student=0.5)"
# So that a loss rises, and with it the share of texts of its own.
RISING = {"steps": "6", "learning_rate": "9", "evaluations": "6"}


@pytest.mark.slow
@pytest.mark.parametrize("policy", [MIXED, ADAPTIVE])
def test_one_tokenizer_is_plain_on_policy_distillation(folder, policy):
  same = {"teacher_from": f"{folder}/padded", "policy": policy, **OWN}
  same |= RISING if policy == ADAPTIVE else {}
  plain = trained(prepare(folder, across="", **same))
  check_close(plain, trained(prepare(folder, **same)), 1e-6)


def setup_of(folder, how, policy, **more):
  # The last batch of a pass is short: some pieces are all padding.
  settings = {"across": how, "policy": policy, "batch_size": "16"}
  settings |= {"off": {}, "teacher": {"max_new_tokens": "8"}}.get(policy, OWN)
  settings |= RISING if policy == ADAPTIVE else {}
  setup = prepare(folder, **settings, **more)
  if policy == "teacher":
    setup = with_answers(setup, written_by_the_teacher(setup))
  return setup


@functools.cache
def alone(folder, how, policy):
  """What one device comes to, trained once for all that is compared with it."""
  return trained(setup_of(folder, how, policy))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("how", "policy"),
  [
    ("bytes", "off"),
    ("uld", "off"),
    ("bytes", ADAPTIVE),
    ("bytes", "teacher"),
    ("uld", "student"),
  ],
)
def test_devices_and_pieces_train_as_one(folder, how, policy):
  setup = setup_of(folder, how, policy, accumulate_steps="2")
  in_the_step = setup.tokenization.teacher_inputs == {}
  assert in_the_step == (policy not in ("off", "teacher"))
  check_close(alone(folder, how, policy), trained(setup, devices=2), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("how", "policy", "mesh", "rules"),
  [
    ("bytes", "off", "data=2,model=2", "transformer"),
    ("uld", "student", "data=2,fsdp=2", "fsdp"),
  ],
)
def test_a_mesh_trains_as_one_device(
  folder, monkeypatch, how, policy, mesh, rules
):
  monkeypatch.setattr(placement, "choose", lambda _: jax.devices()[:4])
  setup = setup_of(folder, how, policy, mesh=mesh, shard_rules=rules)
  check_close(alone(folder, how, policy), trained(setup, devices=4), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["bytes", "uld"])
def test_a_cache_teaches_as_the_teacher(folder, tmp_path, bare_runs, how):
  flags = [
    f"--{name}={value}"
    for name, value in {
      "task": "lm", "text": f"{folder}/rows.jsonl", "sequence_length": 32,
      "teacher_from": f"{folder}/teacher", "student_from": f"{folder}/student",
      "across": how, "cache_dtype": "float32", "workdir": tmp_path,
    }.items()
  ]  # fmt: skip
  assert launch.main(["launch.py", "cache", *flags]) == 0
  cached = setup_of(folder, how, "off", teacher_cache=str(tmp_path))
  assert cached.training_teacher.stored
  check_close(alone(folder, how, "off"), trained(cached), 1e-6)
  # It is of texts that this teacher reads beside this student's sequences.
  with pytest.raises(UserError, match="its student's tokenizer is another one"):
    prepare(
      folder, across=how, teacher_cache=str(tmp_path),
      student_from=f"{folder}/teacher",
    )  # fmt: skip


def written_by_the_teacher(setup):
  """An answer to each prompt: half a character, an end behind every other one."""
  tokenizer = setup.teacher.tokenizer
  half = encode_bytes(
    tokenizer, token_bytes(tokenizer), b" the cat\xf0\x9f", later=True
  )
  return {
    number: [*half, *tokenizer.eos[:1]] if number % 2 else half
    for number in setup.prompts
  }


def test_what_the_teacher_has_written_is_read_by_the_student(folder):
  setup = prepare(folder, policy="teacher", **OWN)
  setup = with_answers(setup, written_by_the_teacher(setup))
  part = setup.texts.parts["answers"]
  for example in part.examples.examples:
    values = part.rows[example.row].values
    if ANSWER in values:
      pieces = token_bytes(setup.tokenizer)
      own = [pieces[x] for x in example.tokens[example.counts]]
      assert b"".join(x or b"" for x in own) == b" the cat\xf0\x9f"
      ended = values["teacher_" + ANSWER][-1] in setup.teacher.tokenizer.eos
      assert (own[-1] is None) == ended
  shares = setup.tokenization.results["alignment"]["splits"]
  assert shares["answers"]["left_out"] < 0.1
  images = setup.train_split.images
  assert len({len(x) for x in images.values()}) == 1


def run(folder, workdir, *flags):
  return launch.main([
    "launch.py", "lm", f"--text={folder / 'rows.jsonl'}",
    f"--teacher_from={folder / 'teacher'}", f"--student_from={folder / 'student'}",
    "--sequence_length=32", "--batch_size=8", "--seeds=1", "--steps=4",
    "--evaluations=2", "--completions=2", f"--workdir={workdir}", *flags,
  ])  # fmt: skip


@pytest.mark.slow
def test_a_run(folder, tmp_path, quick_runs):
  workdir = tmp_path / "run"
  assert run(folder, workdir, "--across=bytes", "--alternatives=uld") == 0
  results = check_results(workdir, "lm")
  shares = results["alignment"]["splits"]
  for one in shares.values():
    parts = [one[name] for name in ("one_to_one", "merged", "left_out")]
    assert sum(parts) == pytest.approx(1) and min(parts) >= 0
    assert 0 < one["merged_bytes"] < 1
  shared = results["alignment"]["shared_tokens"]
  assert 100 < shared < results["alignment"]["student_tokens"]
  for name in ("student", "baseline"):
    entry = results[name]
    assert all(0 < x < 20 for x in entry["teacher_kl"])
    assert all(0 <= x <= 1 for x in entry["agreement"])
  first = results["comparisons"][0]
  bits = [results[x]["test_bits_per_byte"] for x in ("student", "baseline")]
  assert first["mean"] == pytest.approx(
    np.subtract(*map(np.mean, bits)), abs=1e-6
  )
  assert results["controls"]["uld"]["objective"] == "ce:1.0 + uld:1.5"
  student = pretrained.load(workdir / "student")
  assert student.tokenizer.vocabulary_size == 360
  page = (workdir / "report.html").read_text()
  assert "In groups of several" in page and "bits a byte" in page
  shown = results["completions"]["shown"][0]
  assert {"prompt", "teacher", "student"} <= {
    *shown
  } and "exposure" not in results


@pytest.mark.slow
@pytest.mark.parametrize(
  ("flags", "objective"),
  [
    (
      ("--across=bytes", "--policy=mixed", "--updates_per_rollout=2", *ROOM),
      "divergence(beta=0.5, kind='generalized_jsd'):1.0",
    ),
    pytest.param(
      ("--across=uld", "--policy=teacher", ROOM[0]),
      "ce:1.0 + uld:1.5",
      marks=pytest.mark.exhaustive,
    ),
  ],
)
def test_a_run_that_was_killed_ends_alike(
  folder, tmp_path, monkeypatch, bare_runs, flags, objective
):
  workdirs = tmp_path / "whole", tmp_path / "killed"
  flags = *flags, "--completions=0", "--checkpoint_minutes=0"
  assert run(folder, workdirs[0], *flags) == 0
  with killed_at(monkeypatch, 2):
    assert run(folder, workdirs[1], *flags) == 130
  assert run(folder, workdirs[1], *flags) == 0
  whole, again = (
    (one / "student" / "model.safetensors").read_bytes() for one in workdirs
  )
  assert whole == again
  results = check_results(workdirs[1], "lm")
  assert results["objective"] == objective
