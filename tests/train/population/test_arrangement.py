"""A training over a mesh: the same networks, and arrays cut as rules say."""

import chex
import jax
import numpy as np
import pytest

from kdjax.methods import make_objective
from kdjax.runner.pipeline.partition import read_partition
from kdjax.train.fault_tolerance import nan_guard
from kdjax.train.observer import UNWATCHED
from kdjax.train.schemes.registry import make_scheme

KERNELS = "kernel=-,model"
BATCH = 16


def partition(mesh, rules=None):
  sizes = [int(part.split("=")[1]) for part in mesh.split(",")]
  return read_partition(mesh, rules, jax.devices()[: np.prod(sizes)])


def assert_close(one, other):
  # The functions that a state carries are made anew for each training.
  chex.assert_trees_all_close(
    *map(jax.tree.leaves, (one, other)), atol=2e-5, rtol=2e-5
  )


def objective(text):
  return lambda settings: make_objective(text, temperature=2.0, examples=50)


METHODS = [
  "kd:0.7 + ce:0.3",
  "fitnets:0.01 + ce",
  "rkd:0.01 + ce",
  "crd:0.1 + ce",
]
MESHES = [("data=2", None), ("data=2,model=2", KERNELS), ("data=8", "fsdp")]


@pytest.fixture(scope="module")
def alone(fit):
  """Each method's training on one device, as `make(text)`, made once."""
  made = {}

  def make(text):
    if text not in made:
      made[text] = fit(objective(text))
    return made[text]

  return make


@pytest.mark.parametrize(
  ("method", "mesh", "rules"),
  [
    pytest.param(
      method, *mesh,
      marks=[] if (method, mesh) == (METHODS[1], MESHES[1]) else pytest.mark.slow,
    )
    for i, method in enumerate(METHODS)
    for j, mesh in enumerate(MESHES)
    # The first method on all; each of the others on two that differ in turn.
    if i == 0 or (i + j) % 3
  ],
)  # fmt: skip
def test_a_mesh_trains_the_same_networks(fit, alone, method, mesh, rules):
  epochs = fit(objective(method), partition=partition(mesh, rules))
  for one, other in zip(alone(method), epochs, strict=True):
    chex.assert_trees_all_close(
      one.states["student"].params,
      other.states["student"].params,
      atol=1e-5,
      rtol=1e-5,
    )
    chex.assert_trees_all_close(one.sums, other.sums, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
  "options",
  [
    {"optimizer": "adam", "learning_rate": 1e-3, "seeds": (0,)},
    {"most": 1},
    {"together": False},
    {"portion": 3},
    {"scheme": make_scheme("mutual(peers=2)"), "epochs": 1},
    {"scheme": make_scheme("mean_teacher"), "epochs": 1},
    {"scheme": nan_guard.guard(make_scheme("mutual"), "skip", 3), "epochs": 1},
  ],
  ids=lambda options: "-".join(options),
)
def test_a_mesh_trains_as_one_device_does(fit, options):
  method = objective("kd:0.7 + ce:0.3")
  one = fit(method, **options)
  other = fit(method, **options, partition=partition(*MESHES[1]))
  assert len(one) == len(other)
  for x, y in zip(one, other, strict=True):
    assert_close(x.states, y.states)


def check_cut(run, arguments):
  """Called before each step's call: its memory is used again."""
  states, plan, *_, teachers, _, _ = arguments
  state, teacher = states["student"].own, teachers["teacher"]
  for path, x in jax.tree_util.tree_leaves_with_path((state, teacher)):
    cut = x.addressable_shards[0].data.size < x.size
    assert cut == ("kernel" in jax.tree_util.keystr(path)), path
  kernels = [x.sharding for x in jax.tree.leaves(state.params) if x.ndim == 4]
  moments = [
    x.sharding for x in jax.tree.leaves(state.opt_state) if x.ndim == 4
  ]
  assert kernels and moments == kernels * 2
  assert plan["all"].indices.addressable_shards[0].data.shape[2] == BATCH // 2


def test_arrays_lie_as_the_rules_say_from_step_to_step(fit):
  """Also of peers, whose arrays have an axis more; of their optimiser too."""
  calls = []
  fit(
    objective("kd:0.7 + ce:0.3"),
    partition=partition(*MESHES[1]),
    scheme=nan_guard.guard(make_scheme("mutual(peers=2)"), "stop", 3),
    optimizer="adam",
    epochs=1,
    portion=2,
    observer=UNWATCHED._replace(
      step=lambda *call: calls.append(check_cut(*call))
    ),
  )
  assert len(calls) == 2


@pytest.mark.slow
def test_a_training_goes_on_on_another_mesh_and_on_none(fit):
  method = objective("fitnets:0.01 + ce")
  alone = {}  # the programs of the trainings without a mesh
  want = fit(method, portion=2, epochs=1, programs=alone)[-1]
  start = fit(method, portion=2, epochs=1, partition=partition(*MESHES[1]))[0]
  for there in (partition("data=1,model=2", KERNELS), None):
    programs = alone if there is None else None
    got = fit(
      method, portion=2, epochs=1, start=start, partition=there,
      programs=programs,
    )[-1]  # fmt: skip
    assert_close(want.states, got.states)
