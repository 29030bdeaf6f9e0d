import numpy as np

from kdjax.data.dataset import Split, materialise, resident


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
