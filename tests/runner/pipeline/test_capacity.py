"""What cannot be in memory is refused before it is made, from the arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import launch
from kdjax.core.errors import UserError
from kdjax.methods import make_objective
from kdjax.models import make_model, read_model
from kdjax.runner.pipeline import capacity
from kdjax.runner.pipeline.partition import read_partition
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.tasks import classification
from kdjax.train.arm import Arm
from kdjax.train.devices import memory
from kdjax.train.optimizer import make_optimizer

SAMPLE = jnp.zeros((1, 2, 2, 1))
# mlp(4) of 4 pixels and 3 classes: 4 x 4 + 4 + 4 x 3 + 3 numbers of 4 bytes.
NETWORK = 4 * (4 * 4 + 4 + 4 * 3 + 3)


def train_spec(optimizer, members=2, objective="hard", teacher=None):
  settings = {"seed": np.arange(members)}
  arm = Arm("labels", lambda _: make_objective(objective), settings)
  return TrainSpec(
    make_model("mlp(4)", classes=3),
    read_model("mlp(4)"),
    make_optimizer(optimizer, "constant", 1),
    {"student": arm._replace(teacher=teacher)},
    {},
    1,
    1,
    lambda x: x,
    True,
    classification(3),
  )


def kept(one, teacher, partition=None):
  state = capacity.state_shapes(one, one.arms["student"], teacher, SAMPLE)
  return capacity._sizes(state, partition)


def test_a_device_of_a_mesh_keeps_its_part():
  one = train_spec("adam")
  partition = read_partition("model=2", "kernel=model", jax.devices()[:2])
  found, whole = kept(one, None, partition), kept(one, None)
  kernels = 4 * (4 * 4 + 4 * 3)
  assert whole["network"] - found["network"] == kernels // 2
  assert whole["optimiser"] - found["optimiser"] == kernels


@pytest.mark.parametrize(
  ("optimizer", "moments"), [("sgd", 0), ("sgd(momentum=0.9)", 1), ("adam", 2)]
)
def test_what_a_network_keeps_is_counted(optimizer, moments):
  one = train_spec(optimizer)
  found = kept(one, None)
  # Beside arrays there are a few counters.
  assert found["network"] == pytest.approx(NETWORK, abs=16)
  assert found["method"] <= 16
  assert found["optimiser"] == pytest.approx(moments * NETWORK, abs=32)


def test_what_a_method_keeps_is_counted():
  objective = "crd(width=5, examples=50)"
  one = train_spec("sgd", objective=objective, teacher="teacher")
  teacher = make_model("mlp(7)", classes=3)
  found = kept(one, teacher)
  # Two memories and what is to be drawn of 50 examples, embeddings of 4 and 7
  # units in 5 numbers.
  expected = 4 * (2 * 50 * 5 + 50 + 4 * 5 + 5 + 7 * 5 + 5)
  assert found["method"] == pytest.approx(expected, abs=20)


@pytest.mark.parametrize(
  ("free", "said"),
  [
    # A network with its gradient; then two of them with one gradient.
    (2 * NETWORK - 1, "a student mlp.4. .* takes .* a smaller network"),
    (3 * NETWORK - 1, "the student mlp.4., 2 networks .* fewer --seeds"),
    (4 * NETWORK, None),
  ],
)
def test_networks_that_wait_count_too(monkeypatch, free, said):
  monkeypatch.setattr(memory, "host_memory", lambda: free)
  arguments = ("student", train_spec("sgd"), None, SAMPLE, jax.devices()[:1])
  if said is None:
    capacity.check_networks(*arguments)
    return
  with pytest.raises(UserError, match=said):
    capacity.check_networks(*arguments)


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize(
  ("flag", "said"),
  [
    ("--student=mlp(100000000)", "a student mlp(100000000) (network 30.0 GB"),
    ("--teacher=mlp(100000000)", "a teacher mlp(100000000) (network 30.0 GB"),
    ("--image_size=100000", "--image_size=100000: an image takes 150.0 GB"),
    ("--distillation=crd(width=100000000)", "a smaller method"),
  ],
)
def test_what_does_not_fit_is_refused_before_it_is_made(
  tmp_path, monkeypatch, capsys, flag, said
):
  monkeypatch.setattr(memory, "host_memory", lambda: 25 * 10**9)
  workdir = tmp_path / "run"
  call = ["launch.py", "--dataset=digits", flag, f"--workdir={workdir}"]
  assert launch.main(call) == 2
  error = capsys.readouterr().err
  assert said in error and "are free" in error and error.count("\n") == 1
  assert not workdir.exists()


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize(
  ("words", "said"),
  [
    (
      "synthesise --student=mlp(100000000) --dataset=digits",
      "a student mlp(100000000)",
    ),
    pytest.param(
      "compress --student=mlp(10000000)",
      "a student mlp(10000000)",
      marks=pytest.mark.slow,
    ),
    (
      "compare crd(width=100000000) --dataset=digits",
      "crd(width=100000000) does not fit: a",
    ),
    pytest.param(
      "soft_td --sources=10000000",
      "the source mlp(200, 200, dropout=0.3), 50000000",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      "soft_td --teacher=mlp(10000000)",
      "a teacher mlp(10000000)",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      "quantify --student=mlp(10000000) --tap=head:in",
      "a teacher mlp(10000000)",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      "quantify --teacher_batch_size=1000000000",
      "a lower --teacher_batch_size",
      marks=pytest.mark.slow,
    ),
    (
      "--teacher_batch_size=10000000000 --dataset=digits",
      "a lower --teacher_batch_size",
    ),
  ],
)
def test_every_command_refuses_what_does_not_fit(
  tmp_path, monkeypatch, capsys, words, said
):
  monkeypatch.setattr(memory, "host_memory", lambda: 25 * 10**9)
  workdir = tmp_path / "run"
  assert launch.main(["launch.py", *words.split(), f"--workdir={workdir}"]) == 2
  error = capsys.readouterr().err
  assert said in error and "are free" in error and error.count("\n") == 1
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("files", "left"),
  [
    ({"memory.max": "1000", "memory.current": "600"}, 400 + 50),
    ({"memory.max": "max", "memory.current": "600"}, None),
    ({}, None),
  ],
)
def test_what_a_control_group_leaves(tmp_path, files, left):
  stat = {"memory.stat": "anon 9\ninactive_file 50\n"}
  for name, text in (files | stat).items():
    (tmp_path / name).write_text(text)
  names = ("memory.max", "memory.current", "inactive_file")
  assert memory._group(tmp_path, *names) == left
