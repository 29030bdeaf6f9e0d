"""Checkpoints of a loop of one's own: whatever it holds comes back as it was."""

import json
import os
import signal
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from kdjax import Checkpoints
from kdjax.core.errors import StorageError, UserError


class Twice(nnx.Module):
  def __init__(self, rngs):
    self.dense = nnx.Linear(3, 2, rngs=rngs)
    self.norm = nnx.BatchNorm(2, rngs=rngs)
    self.dropout = nnx.Dropout(0.1, rngs=rngs)


def linen_and_adam():
  params = nn.Dense(2).init(jax.random.key(0), jnp.ones((1, 3)))
  return params, optax.adamw(1e-3).init(params), jax.random.key(3)


def optax_wrappers():
  params = {"a": jnp.ones(3), "b": {"c": jnp.full((2, 2), 2.0)}}
  labels = {"a": "fast", "b": {"c": "slow"}}
  rules = {"fast": optax.sgd(0.1, 0.9), "slow": optax.adam(1e-3)}
  optimizer = optax.apply_if_finite(
    optax.MultiSteps(optax.multi_transform(rules, labels), 2), 3
  )
  return optimizer.init(params)


TREES = {
  "linen": linen_and_adam,
  "optax": optax_wrappers,
  "nnx": lambda: nnx.state(Twice(nnx.Rngs(0))),
  "numbers": lambda: {
    "int": 3,
    "float": 0.1,
    "flag": True,
    "float64": np.float64(0.1),
    "int64": np.arange(3),
    "weak": jnp.asarray(1.5),
    "half": jnp.full(4, 0.1, jnp.bfloat16),
    "none": None,
    "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
    "old key": jax.random.PRNGKey(5),
  },
}


def described(leaf):
  """Value, kind and type of a leaf."""
  array = isinstance(leaf, jax.Array)
  if array and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return str(leaf.dtype), np.asarray(jax.random.key_data(leaf)).tolist()
  weak = array and leaf.weak_type
  kind = "jax" if array else type(leaf).__name__
  return kind, weak, str(np.asarray(leaf).dtype), np.asarray(leaf).tolist()


@pytest.mark.parametrize("name", TREES)
def test_tree_comes_back_as_it_was(tmp_path, name):
  tree = TREES[name]()
  note = {"iterator": {"place": [1, None, "x"]}}
  Checkpoints(tmp_path).save(4, tree, note)
  step, restored, again = Checkpoints(tmp_path).restore(tree)
  assert (step, again) == (4, note)
  assert jax.tree.structure(restored) == jax.tree.structure(tree)
  for one, other in zip(
    jax.tree.leaves(restored), jax.tree.leaves(tree), strict=True
  ):
    assert described(one) == described(other)


def test_shapes_are_enough(tmp_path):
  Checkpoints(tmp_path).save(1, linen_and_adam())
  _, restored, note = Checkpoints(tmp_path).restore(
    jax.eval_shape(linen_and_adam)
  )
  assert note is None
  jax.tree.map(
    lambda one, other: np.testing.assert_array_equal(
      described(one)[-1], described(other)[-1]
    ),
    restored,
    linen_and_adam(),
  )


def test_nothing_saved_is_none(tmp_path):
  assert Checkpoints(tmp_path / "new").restore({"w": jnp.ones(2)}) is None


def test_one_mesh_restores_what_another_saved(tmp_path):
  value = jnp.arange(8.0).reshape(4, 2)
  both = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])

  def laid(spec):
    return jax.device_put(value, NamedSharding(both, PartitionSpec(*spec)))

  placed = {"rows": laid(["data"]), "columns": laid([None, "data"])}
  Checkpoints(tmp_path).save(1, placed)
  for like in (
    {"rows": laid([]), "columns": laid(["data"])},
    {"rows": value, "columns": laid([None, "data"])},
  ):
    _, restored, _ = Checkpoints(tmp_path).restore(like)
    for name, array in restored.items():
      np.testing.assert_array_equal(array, value)
      assert array.sharding == like[name].sharding
      assert array.committed == like[name].committed


@pytest.mark.parametrize(
  ("options", "steps"),
  [
    ({"keep": 9}, [1, 2, 3, 4, 5, 6, 7]),
    ({"keep": 2}, [6, 7]),
    ({"keep": 9, "every_steps": 3}, [3, 6]),
    ({"keep": 9, "every_minutes": 60}, []),
    ({"keep": 9, "every_minutes": 60, "every_steps": 5}, [5]),
    ({"keep": 9, "every_minutes": 0}, [1, 2, 3, 4, 5, 6, 7]),
  ],
)
def test_writes_what_is_due(tmp_path, options, steps):
  checkpoints = Checkpoints(tmp_path, **options)
  tree = {"w": jnp.ones(2)}
  for step in range(1, 8):
    checkpoints.save(step, tree)
  assert sorted(checkpoints._series.manager.all_steps()) == steps
  assert checkpoints.save(8, tree, always=True)
  assert not checkpoints.save(8, tree, always=True)
  assert checkpoints.latest == 8


@pytest.mark.parametrize(
  ("act", "words"),
  [
    (lambda c: c.save(1, {"w": jnp.ones(2)}), ["step=1", "step 2", "restore"]),
    (lambda c: c.save(3, {"w": "text"}), ["'w'", "note"]),
    (lambda c: c.save(3, {}, {"x": b""}), ["JSON", "bytes"]),
    (
      lambda c: c.restore({"w": jnp.ones((2, 3))}),
      ["['w']", "float32[2]", "float32[2, 3]"],
    ),
    (lambda c: c.restore({"v": jnp.ones(2)}), ["['v']", "nothing", "['w']"]),
    (lambda c: Checkpoints(c.folder, keep=0), ["keep=", ">= 1; got 0"]),
    (
      lambda c: Checkpoints(c.folder, every_steps=0),
      ["every_steps=", ">= 1; got 0"],
    ),
  ],
)
def test_misuse_is_one_line(tmp_path, act, words):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(2, {"w": jnp.ones(2)})
  with pytest.raises(UserError) as error:
    act(checkpoints)
  assert all(word in str(error.value) for word in words)
  assert "\n" not in str(error.value)


def test_damaged_newest_is_named_and_the_one_before_is_used(tmp_path, capsys):
  checkpoints = Checkpoints(tmp_path)
  for step in (1, 2):
    checkpoints.save(step, {"w": jnp.full(64, step)})
  newest = [x for x in (tmp_path / f"{2:09d}").rglob("*") if x.is_file()]
  for file in newest:
    file.write_bytes(b"")
  step, tree, _ = checkpoints.restore({"w": jnp.zeros(64, jnp.int32)})
  assert step == 1 and tree["w"][0] == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert "checkpoint 2" in line and "step 1, is used" in line
  # Its step can be written again.
  assert checkpoints.save(2, tree)
  for file in tmp_path.rglob("*"):
    if file.is_file():
      file.write_bytes(b"")
  with pytest.raises(StorageError, match="damaged"):
    Checkpoints(tmp_path).restore(tree)


LOOP = """
import sys
import grain, jax, jax.numpy as jnp, optax
from kdjax import Checkpoints

optimizer = optax.adam(1e-2)

@jax.jit
def update(params, opt, key, x):
  key, now = jax.random.split(key)
  def loss(params):
    return jnp.mean((params["w"] - x - jax.random.normal(now, x.shape)) ** 2)
  updates, opt = optimizer.update(jax.grad(loss)(params), opt, params)
  return optax.apply_updates(params, updates), opt, key

def train(folder, steps=40):
  data = grain.MapDataset.range(64).shuffle(seed=3).repeat().batch(4)
  iterator = iter(data.to_iter_dataset())
  params = {"w": jnp.ones(4)}
  tree = params, optimizer.init(params), jax.random.key(1)
  checkpoints, done = Checkpoints(folder), 0
  if (restored := checkpoints.restore(tree)) is not None:
    done, tree, note = restored
    iterator.set_state(note)

  for step in range(done + 1, steps + 1):
    tree = update(*tree, next(iterator).astype("float32"))
    checkpoints.save(step, tree, iterator.get_state())
    print(step, flush=True)
  return tree[0]["w"].tolist()
"""


def loop():
  """The same text as the killed process runs."""
  names = {}
  exec(LOOP, names)
  return names["train"]


def test_stopped_loop_goes_on_bit_for_bit(tmp_path):
  train = loop()
  train(tmp_path / "stopped", 2)
  whole = train(tmp_path / "whole", 4)
  assert train(tmp_path / "stopped", 4) == whole


@pytest.mark.slow
def test_killed_loop_goes_on_bit_for_bit(tmp_path):
  """Killed again and again, wherever it is, a write of a checkpoint included."""
  code = f"{LOOP}\nimport json\nprint(json.dumps(train(sys.argv[1])))"
  for kills in range(3):
    command = [sys.executable, "-c", code, str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
      for line in child.stdout:
        if int(line) >= 11 * (kills + 1):
          os.kill(child.pid, signal.SIGKILL)
          break
      child.stdout.read()
  last = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
  assert json.loads(last.stdout.splitlines()[-1]) == loop()(tmp_path / "whole")
