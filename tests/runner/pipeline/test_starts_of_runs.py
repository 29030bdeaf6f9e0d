"""Students that begin as an earlier run's ended."""

import jax
import numpy as np
import pytest

import launch
from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split
from kdjax.models import make_model, read_model
from kdjax.runner.config import Experiment, Language
from kdjax.runner.pipeline import starts
from kdjax.runner.pipeline.values import read_values

SHAPE = (1, 4, 1)


def dataset(classes):
  names = tuple(map(str, range(classes)))
  split = Split(np.zeros((1, *SHAPE), np.float32), np.zeros(1, np.int32))
  return Dataset("table", classes, names, SHAPE, split, split)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The students of two seeds of a run, of three classes."""
  folder = tmp_path_factory.mktemp("run")
  module = make_model("mlp(6, 5)", classes=3)
  keys = jax.random.split(jax.random.key(0), 2)
  inputs = np.zeros((1, *SHAPE), np.float32)
  variables = jax.device_get(
    jax.jit(jax.vmap(lambda key: module.init(key, inputs)))(keys)
  )
  note = {"model": "mlp(6, 5)", "classes": 3, "image_shape": list(SHAPE)}
  storage.save_network(folder / "student", variables, note)
  return folder, variables


def start_of(folder, model, classes):
  experiment = Experiment(language=Language(student_from=str(folder)))
  values = read_values(experiment)
  student = None if model is None else read_model(model)
  values = values._replace(student=student)
  return starts.find(experiment, values, dataset(classes))


@pytest.mark.parametrize(
  ("model", "classes", "layers"),
  [
    (None, 3, {"stage_0", "stage_1", "head"}),
    ("mlp(6, 5)", 3, {"stage_0", "stage_1", "head"}),
    ("mlp(6, 5)", 7, {"stage_0", "stage_1"}),
    ("mlp(6, 5, 4)", 3, {"stage_0", "stage_1"}),
    ("mlp(6)", 3, {"stage_0"}),
  ],
)
def test_layers_that_both_have_are_the_first_seed_s(
  run, model, classes, layers
):
  folder, variables = run
  start = start_of(folder, model, classes)
  params = start.variables(None)["params"]
  assert set(params) == layers and not start.of_teacher
  for name in layers:
    expected = jax.tree.map(lambda x: x[0], variables["params"][name])
    jax.tree.map(np.testing.assert_array_equal, params[name], expected)


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (
      "mlp(7, 5)",
      "is mlp.6, 5., whose layer stage_0 has other sizes than that of",
    ),
    ("mlp(6, 9)", "layer stage_1 has other sizes"),
    ("layers(1)", "is a run; name its network, mlp.6, 5."),
    (
      "vit(patch=1, width=4, depth=1, heads=1)",
      "other sizes|no layer in common",
    ),
  ],
)
def test_networks_that_do_not_fit_are_refused(run, model, message):
  with pytest.raises(UserError, match=message):
    start_of(run[0], model, 3)


@pytest.mark.slow
def test_a_run_goes_on_where_another_ended(tmp_path, capsys):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(60, 4)).astype(np.float32)
  np.savez(tmp_path / "set.npz", x=x, y=(x[:, 0] > 0).astype(np.int32))
  common = [
    "launch.py",
    f"--dataset={tmp_path / 'set.npz'}",
    "--teacher=mlp(8)",
    "--student=mlp(4)",
    "--teacher_epochs=1",
    "--epochs=1",
    "--seeds=2",
    "--nocontrols",
    "--nolatency",
    "--batch_size=16",
    "--host_devices=1",
  ]
  first, second = tmp_path / "first", tmp_path / "second"
  assert launch.main([*common, f"--workdir={first}"]) == 0
  again = [f"--student_from={first}", "--learning_rate=1e-12"]
  assert launch.main([*common, *again, f"--workdir={second}"]) == 0
  old, new = (
    storage.load_variables(folder, storage.read_note(folder))["params"]
    for folder in (first / "student", second / "student")
  )
  # Of a rate of nearly 0: both seeds are the first one's, head and all.
  for seed in range(2):
    jax.tree.map(
      lambda x, y, seed=seed: np.testing.assert_allclose(
        x[0], y[seed], atol=1e-6
      ),
      old,
      new,
    )
