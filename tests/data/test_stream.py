import numpy as np
import pytest

from kdjax.data import Split, batches, load, stream
from kdjax.errors import StorageError, UserError


class Images:
  """Six images; example 4 fails as it is told to."""

  def __init__(self, error=None):
    self.error = error

  def __len__(self):
    return 6

  def __getitem__(self, index):
    if index == 4 and self.error:
      raise self.error
    return np.full((2, 2, 1), index, np.uint8)


LABELS = np.zeros(6, np.int32)


@pytest.mark.parametrize("buffer", [1, 3])
def test_order_is_the_plan(buffer):
  indices = np.random.default_rng(0).integers(0, 6, (20, 3))
  got = list(stream(Split(Images(), LABELS), indices, buffer=buffer))
  assert len(got) == 20
  for row, images in zip(indices, got, strict=True):
    assert images.shape == (3, 2, 2, 1) and images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == row.tolist()


def test_streamed_equals_resident(data_dir):
  held = load("digits", data_dir=data_dir).train
  lazy = load("digits", data_dir=data_dir, resident_bytes=0).train
  np.testing.assert_array_equal(held.labels, lazy.labels)
  indices = batches(np.arange(1442), 64, seed=1, start=20, stop=26).indices
  pairs = zip(stream(held, indices), stream(lazy, indices), strict=True)
  for resident, streamed in pairs:
    np.testing.assert_array_equal(resident, streamed)


@pytest.mark.parametrize(
  ("error", "kind"),
  [
    (OSError("gone"), StorageError),
    (ValueError("gone"), StorageError),
    (UserError("gone"), UserError),
  ],
)
def test_a_failing_read_names_the_example(error, kind):
  batches = stream(Split(Images(error), LABELS), np.array([[0, 1], [3, 4]]))
  assert next(batches).shape == (2, 2, 2, 1)
  with pytest.raises(kind, match="example 4.*gone"):
    next(batches)


def test_no_steps():
  empty = np.zeros((0, 4), np.int32)
  assert list(stream(Split(Images(), LABELS), empty)) == []
