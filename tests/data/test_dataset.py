import pickle

import numpy as np
import pytest

from kdjax.data.dataset import Split, materialise, resident, select


class Images:
  def __len__(self):
    return 3

  def __getitem__(self, index):
    return np.full((2, 4, 1), index, np.float32)


def test_materialise():
  images = materialise(Images())
  assert images.shape == (3, 2, 4, 1) and images.dtype == np.float32
  assert images[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_resident():
  labels = np.zeros(3, np.int32)
  assert not resident(Split(Images(), labels))
  assert resident(Split(materialise(Images()), labels))


@pytest.mark.parametrize("images", [Images(), materialise(Images())])
def test_select(images):
  chosen = select(Split(images, np.array([5, 6, 7])), np.array([2, 0, 2]))
  assert resident(chosen) == isinstance(images, np.ndarray)
  assert chosen.labels.tolist() == [7, 5, 7]
  again = pickle.loads(pickle.dumps(chosen))
  for split in (chosen, again):
    assert len(split.images) == 3
    assert [split.images[index][0, 0, 0] for index in range(3)] == [2, 0, 2]
