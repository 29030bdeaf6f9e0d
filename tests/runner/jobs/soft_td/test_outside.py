"""Soft labels from a file: formats, shapes, feasibility."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.jobs.soft_td.outside import read_soft_labels

ROWS = np.array([[0.7, 0.3], [0.0, 1.0], [0.5, 0.5]])


def read(path, project=False):
  return read_soft_labels(str(path), examples=3, classes=2, project=project)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["soft.npy", "soft.npz", "several.npz"])
def test_round_trip(tmp_path, name, kind):
  path, rows = tmp_path / name, ROWS.astype(kind)
  if name == "soft.npy":
    np.save(path, rows)
  elif name == "soft.npz":
    np.savez(path, answers=rows)
  else:
    np.savez(path, soft_labels=rows, index=np.arange(3))
  found = read(path)
  np.testing.assert_allclose(np.exp(found), ROWS, atol=1e-3)
  np.testing.assert_allclose(np.exp(found).sum(axis=-1), 1.0, rtol=1e-12)
  assert found[1, 0] == -np.inf


def test_whole_numbers_are_labels(tmp_path):
  np.save(tmp_path / "hard.npy", np.eye(2, dtype=int)[[0, 1, 1]])
  found = np.exp(read(tmp_path / "hard.npy"))
  assert found.tolist() == [[1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize(
  ("rows", "said"),
  [
    (
      [[0.7, 0.4], [0, 1], [0, 1]],
      ["example 0 sums to 1.1", "--project_simplex"],
    ),
    ([[0.7, 0.3], [-1, 2], [0, 1]], ["example 1 has -1 for class 0"]),
    ([[0.7, 0.3], [0, 1]], ["(3, 2)", "(2, 2)"]),
    ([["a", "b"]] * 3, ["numbers"]),
  ],
  ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_bad_tables(tmp_path, rows, said):
  path = tmp_path / "soft.npy"
  np.save(path, np.array(rows))
  with pytest.raises(UserError) as error:
    read(path)
  assert all(part in str(error.value) for part in [*said, "--soft_labels_from"])


def test_projection_takes_the_nearest(tmp_path):
  np.save(tmp_path / "soft.npy", np.array([[0.8, 0.6], [-1, 2], [0.5, 0.5]]))
  found = np.exp(read(tmp_path / "soft.npy", project=True))
  np.testing.assert_allclose(found, [[0.6, 0.4], [0, 1], [0.5, 0.5]])


def test_nan_cannot_be_projected(tmp_path):
  np.save(tmp_path / "soft.npy", np.where(ROWS == 0.7, np.nan, ROWS))
  with pytest.raises(UserError, match="nan"):
    read(tmp_path / "soft.npy", project=True)


def test_files_that_are_none(tmp_path):
  (tmp_path / "text.npy").write_text("0.5 0.5")
  np.savez(tmp_path / "other.npz", a=ROWS, b=ROWS)
  objects = np.empty((3, 2), object)
  np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
  for name, said in {
    "nowhere.npy": "cannot be read",
    "text.npy": "cannot be read",
    "other.npz": "no 'soft_labels'",
    "objects.npy": "cannot be read",
  }.items():
    with pytest.raises(UserError, match=said):
      read(tmp_path / name)
