"""Images that show nothing of a data set: the same ones every time."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import load


@pytest.mark.parametrize(
  ("name", "channels"), [("photo_patches", 3), ("noise_images", 1)]
)
def test_images_are_drawn_by_seed(name, channels):
  first, again, other = (
    load(f"{name}(20, seed={seed})", image_size=12) for seed in (1, 1, 2)
  )
  assert first.image_shape == (12, 12, channels) and first.classes == 1
  assert first.train.images.shape == (20, 12, 12, channels)
  np.testing.assert_array_equal(first.train.images, again.train.images)
  assert (first.train.images != other.train.images).any()
  assert first.name == f"{name}(20, seed=1)"


def test_patches_differ_and_have_the_usual_size():
  made = load("photo_patches(count=50)")
  assert made.image_shape == (28, 28, 3)
  assert len(np.unique(made.train.images.reshape(50, -1), axis=0)) == 50


def test_a_name_alone_is_enough():
  assert len(load("noise_images").train.labels) == 4000


@pytest.mark.parametrize(
  ("name", "options", "said"),
  [
    ("noise_images(0)", {}, "count"),
    ("photo_patches(5, seed=-1)", {}, "seed"),
    ("photo_patches(many=5)", {}, "many"),
    ("noise_images", {"train_split": "train[:5]"}, "splits"),
    ("photo_patchs(5)", {}, "photo_patches"),
  ],
)
def test_bad_arguments(name, options, said):
  with pytest.raises(UserError, match=said):
    load(name, **options)
