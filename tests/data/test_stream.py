import importlib

import numpy as np
import pytest

from kdjax.core.errors import StorageError, UserError
from kdjax.data import Split, batches, load, open_reader, stream


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


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@pytest.mark.parametrize("buffer", [1, 3])
def test_order_is_the_plan(buffer, piece, monkeypatch):
  # Images of 4 bytes: one at a time, two and one, and all three at once.
  module = importlib.import_module("kdjax.data.stream")
  monkeypatch.setattr(module, "PIECE_BYTES", piece)
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


class Odd(Images):
  """Image 4 would be repeated, or rounded, to fit beside the others."""

  def __init__(self, odd):
    self.odd = odd

  def __getitem__(self, index):
    return self.odd if index == 4 else np.zeros((2, 2, 1), np.uint8)


@pytest.mark.parametrize(
  "odd", [np.zeros((1, 1, 1), np.uint8), np.zeros((2, 2, 1), np.float32)]
)
def test_an_image_unlike_the_others_is_named(odd):
  with pytest.raises(UserError, match="example 4 is .*others uint8 of shape"):
    list(stream(Split(Odd(odd), LABELS), np.array([[0, 4]])))


def test_a_reader_that_is_left_early_can_be_used_again():
  with open_reader(Split(Images(), LABELS)) as read:
    plan = np.zeros((50, 3), int)
    assert next(read(plan)).shape == (3, 2, 2, 1)
    assert len(list(read(plan))) == 50


def test_no_steps():
  empty = np.zeros((0, 4), np.int32)
  assert list(stream(Split(Images(), LABELS), empty)) == []
