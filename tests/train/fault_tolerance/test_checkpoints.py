"""Checkpoints in a row: whole, the right ones, and none that is damaged."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import damage_test
from kdjax.core.errors import StorageError, UserError
from kdjax.train.fault_tolerance import checkpoints


def tree(step):
  return {
    "params": {"kernel": jnp.full((3, 2), step, jnp.float32)},
    "count": (jnp.int32(step), ()),
    "half": jnp.full(4, step, jnp.bfloat16),
    "key": jax.random.key(step),
    "empty": None,
    # Of frozen kernels: indices of NF4's numbers, and int4.
    "few bits": [jnp.full(3, 7 - step, x) for x in (jnp.uint4, jnp.int4)],
  }


def plain(restored):
  return [
    np.asarray(
      jax.random.key_data(x) if checkpoints.is_key(x) else x, np.float32
    )
    for x in jax.tree.leaves(restored)
  ]


def check_same(restored, wanted):
  for one, other in zip(plain(restored), plain(wanted), strict=True):
    np.testing.assert_array_equal(one, other)


def write(folder, steps, **options):
  opened = checkpoints.open_series(folder, **options)
  for step in steps:
    checkpoints.save(opened, step, tree(step), {"epoch": step})
  checkpoints.close(opened)
  return opened


def read(folder):
  opened = checkpoints.open_series(folder)
  restored = checkpoints.restore(opened, lambda note: tree(0))
  opened.manager.close()
  return restored


@pytest.mark.parametrize("is_large", [False, True])
def test_newest_comes_back_as_it_was(tmp_path, monkeypatch, is_large):
  if is_large:
    monkeypatch.setattr(checkpoints, "LARGE", 0)
  write(tmp_path / "run", [1, 2, 3])
  restored = read(tmp_path / "run")
  assert (restored.step, restored.note["epoch"], restored.damaged) == (3, 3, ())
  check_same(restored.tree, tree(3))
  types = [
    [x.dtype for x in jax.tree.leaves(y)] for y in (restored.tree, tree(3))
  ]
  assert types[0] == types[1]
  assert jax.tree.structure(restored.tree) == jax.tree.structure(tree(3))


@pytest.mark.parametrize("is_large", [False, True])
def test_arrays_may_change_once_saving_returns(tmp_path, monkeypatch, is_large):
  if is_large:
    monkeypatch.setattr(checkpoints, "LARGE", 0)
  # Of pages of their own, which are not copied unless somebody does.
  array = np.arange(2**20, dtype=np.float32)
  wanted = array.copy()
  opened = checkpoints.open_series(tmp_path / "run")
  checkpoints.save(opened, 1, {"array": array}, {})
  array[:] = -1
  checkpoints.close(opened)
  opened = checkpoints.open_series(tmp_path / "run")
  restored = checkpoints.restore(opened, lambda note: {"array": wanted})
  opened.manager.close()
  np.testing.assert_array_equal(restored.tree["array"], wanted)


def test_empty_folder_holds_nothing(tmp_path):
  assert read(tmp_path / "new") is None


@pytest.mark.parametrize(
  ("options", "kept"),
  [
    ({"latest": 1}, [4]),
    ({"latest": 2}, [3, 4]),
  ],
)
def test_the_last_ones_stay(tmp_path, options, kept):
  opened = write(tmp_path / "run", [1, 2, 3, 4], **options)
  reopened = checkpoints.open_series(opened.folder)
  assert sorted(reopened.manager.all_steps()) == kept
  reopened.manager.close()


@pytest.mark.parametrize(
  "harm",
  [
    lambda data: data[: len(data) // 2],
    lambda data: b"",
    lambda data: bytes([data[0] ^ 1]) + data[1:],
    lambda data: data[:-1] + bytes([data[-1] ^ 128]),
  ],
)
def test_damage_is_named_and_the_one_before_is_used(tmp_path, harm):
  write(tmp_path / "run", [1, 2])
  newest = tmp_path / "run" / f"{2:09d}"
  file = max(
    (x for x in newest.rglob("*") if x.is_file()),
    key=lambda x: x.stat().st_size,
  )
  file.write_bytes(harm(file.read_bytes()))
  restored = read(tmp_path / "run")
  assert restored.step == 1 and "checkpoint 2" in restored.damaged[0]
  check_same(restored.tree, tree(1))
  # The step can be written again.
  write(tmp_path / "run", [2])
  assert read(tmp_path / "run").step == 2


def test_all_damaged_is_an_error(tmp_path):
  write(tmp_path / "run", [1, 2])
  for file in (tmp_path / "run").rglob("*"):
    if file.is_file():
      file.write_bytes(b"")
  with pytest.raises(StorageError, match="checkpoint 2 .* is damaged"):
    read(tmp_path / "run")


def test_another_form_is_refused(tmp_path):
  write(tmp_path / "run", [1])
  opened = checkpoints.open_series(tmp_path / "run")
  other = tree(0) | {"params": {"kernel": jnp.zeros((3, 3))}}
  with pytest.raises(UserError, match="kernel"):
    checkpoints.restore(opened, lambda note: other)
  opened.manager.close()


def test_folder_in_the_way_is_an_error(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(StorageError):
    checkpoints.open_series(tmp_path / "file")


@pytest.mark.slow
def test_no_random_damage_is_silent(tmp_path):
  """Every file of a checkpoint flipped, cut and deleted; 200 in benchmarks/."""
  damages = damage_test.damage(tmp_path, 39, random.Random(1))
  assert (damages["silent"], damages["lost"]) == (0, 0)
  assert all(one["named"] for one in damages["outcomes"].values())
