"""Saved networks: what comes back is what went in, or an error."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError

TREE = {
  "params": {
    "head": {"kernel": np.arange(3000.0, dtype=np.float32).reshape(30, 100)},
    "stage_0": {"bias": jnp.arange(7, dtype=jnp.bfloat16)},
  }
}


@pytest.fixture
def saved(tmp_path):
  folder = tmp_path / "network"
  storage.save_network(folder, TREE, {"model": "mlp(100)"})
  return folder


def load(folder):
  return storage.load_variables(folder, storage.read_note(folder))


def test_comes_back(saved):
  assert storage.read_note(saved)["model"] == "mlp(100)"
  assert storage.digest(load(saved)) == storage.digest(TREE)


def test_every_flipped_bit_is_noticed(saved):
  """Orbax restores most flips without a word; the digest does not."""
  files = [
    file
    for file in sorted((saved / "variables").rglob("*"))
    if file.is_file() and file.stat().st_size > 2000
  ]
  assert files
  noticed = 0
  for file in files:
    whole = file.read_bytes()
    for place in np.linspace(100, len(whole) - 100, 4).astype(int):
      file.write_bytes(
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
      )
      try:
        same = storage.digest(load(saved)) == storage.digest(TREE)
        assert same, "damage went unnoticed"
      except StorageError:
        noticed += 1
    file.write_bytes(whole)
  assert noticed


@pytest.mark.parametrize(
  ("damage", "error"),
  [
    (lambda folder: (folder / storage.NOTE).unlink(), UserError),
    (lambda folder: (folder / storage.NOTE).write_text("{"), StorageError),
    (
      lambda folder: (folder / storage.NOTE).write_text(
        json.dumps({"digest": "0" * 64})
      ),
      StorageError,
    ),
    (lambda folder: _truncate(folder / "variables"), StorageError),
  ],
  ids=["no note", "broken note", "other digest", "truncated"],
)
def test_damage_is_named(saved, damage, error):
  damage(saved)
  with pytest.raises(error, match="network"):
    load(saved)


def test_unwritable_folder(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(StorageError):
    storage.save_network(tmp_path / "file" / "below", TREE, {})


@pytest.mark.parametrize(
  "other",
  [
    {"a": np.zeros(2, np.float32)},
    {"b": np.zeros(2, np.float64)},
    {"b": np.zeros((2, 1), np.float32)},
    {"b": np.array([0, -0.0], np.float32)},
  ],
  ids=["path", "type", "shape", "sign bit"],
)
def test_digest_tells_apart(other):
  assert storage.digest(other) != storage.digest({"b": np.zeros(2, np.float32)})


def _truncate(folder):
  largest = max(
    (file for file in folder.rglob("*") if file.is_file()),
    key=lambda file: file.stat().st_size,
  )
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


@pytest.mark.parametrize("text", ["null", "[]", "3", '"a"', "[" * 100_000])
def test_a_note_that_is_none_is_damage(saved, text):
  (saved / storage.NOTE).write_text(text)
  with pytest.raises(StorageError, match=f"{storage.NOTE} is damaged"):
    storage.read_note(saved)
