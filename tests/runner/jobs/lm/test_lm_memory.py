"""What devices hold is what is said before training; what cannot fit is refused."""

import re

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import launch
from kdjax.runner.config import experiments, options
from kdjax.runner.jobs.lm.build import build
from kdjax.runner.pipeline import capacity, language_models
from kdjax.runner.pipeline.epochs import epochs
from kdjax.train.devices import memory, placement
from kdjax.train.observer import UNWATCHED

# Prompts of 16 tokens at most, and 8 behind them.
FLAGS = {
  "sequence_length": "24", "batch_size": "8", "steps": "1", "seeds": "1",
  "policy": "student", "max_new_tokens": "8", "student": "layers(2)",
}  # fmt: skip
SLOTS = 23
MESHES = [
  {"mesh": "data=2,model=4", "shard_rules": "transformer"},
  {"mesh": "data=2,fsdp=4", "shard_rules": "fsdp"},
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  tiny_folder(
    folder / "teacher", characters(), vocab_size=64, hidden_size=32,
    intermediate_size=64, num_attention_heads=4, num_hidden_layers=3,
  )  # fmt: skip
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(12)])
  return {
    "text": f"{folder}/rows.jsonl", "teacher_from": f"{folder}/teacher",
    "accelerator": "cpu",
  }  # fmt: skip


def built(places, **flags):
  settings = experiments.load_experiment("lm")
  return build(options.with_flags(settings, places | FLAGS | flags)).setup


class Seen(Exception):
  """The first step's program and its arguments."""


def first_step(setup):
  def see(run, arguments):
    raise Seen(run, arguments)

  with pytest.raises(Seen) as seen:
    list(
      epochs(
        setup, setup.student, {"teacher": setup.training_teacher},
        observer=UNWATCHED._replace(step=see),
      )
    )  # fmt: skip
  return seen.value.args


def on_each(tree):
  """Bytes that the fullest device holds."""
  held = dict.fromkeys(jax.devices(), 0)
  for x in jax.tree.leaves(tree):
    for shard in x.addressable_shards:
      held[shard.device] += shard.data.nbytes
  return max(held.values())


def cached(text):
  """Bytes of the keys and values that a compiled loop hands on, with their places."""
  sizes = {"f32": 4, "s32": 4, "bf16": 2}
  # The loop that writes has the new tokens of each row, and the cache.
  (loop,) = (
    line
    for line in text.split("\n")
    if " while(" in line
    and re.search(r"pred\[[\d,]+,8\]", line)
    and re.search(rf"\[[\d,]+,{SLOTS},\d+\]", line)
  )
  carried = loop.split(" while(")[0]
  arrays = re.findall(rf"(\w+)\[([\d,]+,{SLOTS}(?:,\d+)?)\]", carried)
  return sum(
    sizes[kind] * np.prod([*map(int, shape.split(","))])
    for kind, shape in arrays
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  [
    *MESHES,
    {},
    MESHES[0] | {"seeds": "2", "policy": "student(teacher=0.2)"},
    MESHES[1] | {"teacher_dtype": "bfloat16", "compute_dtype": "bfloat16"},
  ],
  ids=str,
)
def test_devices_hold_what_is_said_of_them(places, untried, flags):
  setup = built(places, **flags)
  spec = setup.student
  run, arguments = first_step(setup)
  members = int(flags.get("seeds", 1))
  for name, state in arguments[0].items():
    arm = spec.arms[name]
    shapes = capacity.state_shapes(
      spec, arm, setup.training_teacher, setup.sample
    )
    said = capacity._sizes(shapes, spec.partition)
    parts = jax.tree_util.tree_leaves_with_path(state)
    optimiser = [x for path, x in parts if "opt_state" in str(path)]
    assert on_each(optimiser) == members * said["optimiser"]
    assert on_each(state) == members * sum(said.values())
    if spec.partition:
      whole = sum(x.nbytes for x in jax.tree.leaves(state))
      assert on_each(state) <= 1.1 / 4 * whole
      assert on_each(optimiser) <= 1.1 / 4 * sum(x.nbytes for x in optimiser)
  teachers = arguments[5]
  said = capacity.teacher_bytes(setup.training_teacher, spec.partition)
  assert on_each(teachers) == said
  if spec.partition:
    assert said <= 1.1 / 4 * sum(x.nbytes for x in jax.tree.leaves(teachers))
  found = cached(run.lower(*arguments).compile().as_text())
  # How many tokens there are, of all rows and of each, looks like other numbers.
  writers = 2 if "teacher=" in flags.get("policy", "") else 1
  rows = 8 // (2 if spec.partition else 8)
  said = members * (spec.kv_cache(spec.partition) - 4 * (rows + 1) * writers)
  assert found == said


def run(places, monkeypatch, workdir, room, **flags):
  """A run on eight devices of so many bytes each."""
  chosen = jax.devices()
  monkeypatch.setattr(placement, "choose", lambda accelerator: chosen)
  monkeypatch.setattr(memory, "host_memory", lambda: 8 * room)
  texts = [
    f"--{name}={text}" for name, text in (places | FLAGS | flags).items()
  ]
  return launch.main(["launch.py", "lm", *texts, f"--workdir={workdir}"])


@pytest.mark.parametrize(
  ("room", "flags", "said"),
  [
    pytest.param(
      200_000,
      {},
      "--mesh=data=8,model=1 --shard_rules=fsdp has room, or",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      200_000,
      {"batch_size": "4", "mesh": "data=4,model=2"},
      "--mesh=data=4,model=2 --shard_rules=fsdp has room, or",
      marks=pytest.mark.slow,
    ),
    (
      150_000,
      {"mesh": "data=4,model=2", "shard_rules": "transformer"},
      "--mesh=data=2,model=4 --shard_rules=transformer has room, or",
    ),
    (
      30_000,
      {"mesh": "data=2,fsdp=4", "shard_rules": "fsdp"},
      "--shard_rules=fsdp has room, on 16 devices, or",
    ),
  ],
)
def test_a_mesh_with_room_is_named(
  places, tmp_path, monkeypatch, capsys, room, flags, said
):
  workdir = tmp_path / "run"
  assert run(places, monkeypatch, workdir, room, **flags) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert "launch.py: a student layers(2) (network " in error and said in error
  assert "KV cache" in error and "a smaller network" in error
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("room", "said"),
  [
    (100_000, "--mesh=data=8,model=1 --shard_rules=fsdp has room, or"),
    (100, "no mesh of up to 8192 devices has room, or"),
  ],
)
def test_a_teacher_without_room_is_not_read(
  places, tmp_path, monkeypatch, capsys, room, said
):
  monkeypatch.setattr(language_models, "load", None)
  assert run(places, monkeypatch, tmp_path / "run", room) == 2
  error = capsys.readouterr().err
  assert "on each of 8 devices that takes 132 kB" in error and said in error
  assert error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_step_with_too_many_activations_is_refused(
  places, tmp_path, monkeypatch, capsys
):
  flags = {"batch_size": "64"}
  assert run(places, monkeypatch, tmp_path, 600_000, **flags) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert re.search(r"temporary .* \(KV cache [\d.]+ [kM]B of it\)", error)
  assert re.search(r"--shard_rules=fsdp has room, on \d+ devices", error)
  assert not (tmp_path / "results.json").exists()
