import pickle

import numpy as np
import pytest

from kdjax.core.errors import KdjaxError, UserError
from kdjax.data import load, resident, stream
from kdjax.data.images import pixels

GREY, COLOUR = np.zeros((4, 6)), np.zeros((4, 6, 3))


def classes(image, names="ab", each=5):
  return {
    f"{name}/{number}.png": image + 10 * number + ord(name) - 97
    for name in names
    for number in range(each)
  }


def divided(image):
  files = classes(image, each=2)
  return {f"{s}/{k}": v for k, v in files.items() for s in ("train", "test")}


def test_every_fifth_file_is_test(folder):
  dataset = load(str(folder(classes(GREY))))
  assert dataset.class_names == ("a", "b")
  assert dataset.image_shape == (4, 6, 1)
  assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
  pixels = dataset.train.images[:, 0, 0, 0].tolist()
  assert pixels == [0, 10, 20, 30, 1, 11, 21, 31]
  assert dataset.test.images[:, 0, 0, 0].tolist() == [40, 41]
  assert dataset.test.labels.tolist() == [0, 1]
  assert dataset.train.images.dtype == np.uint8
  assert dataset.train.labels.dtype == np.int32


def test_train_and_test_folders(folder):
  dataset = load(f'image_folder(path="{folder(divided(COLOUR))}")')
  assert dataset.image_shape == (4, 6, 3)
  assert len(dataset.train.labels) == len(dataset.test.labels) == 4


def test_one_colour_image_makes_all_colour(folder):
  files = classes(GREY)
  files["b/3.png"] = COLOUR + 7
  images = load(str(folder(files))).train.images
  assert images.shape[-1] == 3
  assert (images[7] == 7).all() and (images[1] == 10).all()


def test_one_colour_image_among_many(folder):
  files = {f"a/{number:03}.png": np.zeros((2, 2)) for number in range(200)}
  files["a/101.png"] = np.full((2, 2, 3), (255, 0, 0))
  assert load(str(folder(files))).image_shape == (2, 2, 3)


def test_sixteen_bits_are_refused(folder):
  from PIL import Image

  path = folder(classes(GREY))
  Image.fromarray(np.full((4, 6), 300, np.uint16)).save(path / "b" / "2.png")
  with pytest.raises(UserError, match=r"b/2.png: .*more than 8 bits"):
    load(str(path))


@pytest.mark.parametrize("resident_bytes", [2 << 30, 0])
def test_a_huge_image_is_named(folder, monkeypatch, resident_bytes):
  from PIL import Image

  path = folder(classes(COLOUR))
  Image.new("L", (30, 30)).save(path / "b" / "2.png")
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
  with pytest.raises(
    KdjaxError, match=r"b/2.png: ValueError: more than the 800"
  ):
    train = load(str(path), image_size=4, resident_bytes=resident_bytes).train
    next(stream(train, np.arange(8)[None]))


@pytest.mark.parametrize("background", ["white", "10,20,30"])
def test_turned_and_transparent_images_resident_and_streamed(
  folder, background
):
  from PIL import Image

  path, exif = folder(classes(COLOUR)), Image.Exif()
  exif[0x0112] = 8
  clear = Image.new("RGBA", (4, 6), (9, 9, 9, 0))
  clear.paste((5, 5, 5, 255), (0, 0, 1, 6))  # the left column, the bottom row
  for name in "ab":
    clear.save(path / name / "0.png", exif=exif)
  options = {"background": background}
  held = load(str(path), **options).train.images
  lazy = load(str(path), resident_bytes=0, **options).train.images
  red, green, blue = pixels.colour(background)
  assert (held[0, 3] == 5).all()
  assert (held[0, :3] == (red, green, blue)).all()
  for index in range(len(held)):
    np.testing.assert_array_equal(lazy[index], held[index])


def test_other_files_are_ignored(folder):
  path = folder(classes(GREY))
  (path / "a" / "notes.txt").write_text("no image")
  (path / "README").write_text("no class")
  (path / ".cache").mkdir()
  assert load(str(path)).class_names == ("a", "b")


def test_lazy_is_the_same_and_pickles(folder):
  path = str(folder(classes(GREY)))
  held, lazy = load(path).train, load(path, resident_bytes=0).train
  assert resident(held) and not resident(lazy)
  again = pickle.loads(pickle.dumps(lazy.images))
  assert len(again) == 8
  for index in range(8):
    np.testing.assert_array_equal(again[index], held.images[index])


def test_varying_sizes(folder):
  files = classes(GREY)
  files["b/2.png"] = np.full((8, 8), 9)
  path = str(folder(files))
  with pytest.raises(UserError, match=r"b/2.png is 8x8 .*4x6; --image_size"):
    load(path)
  with pytest.raises(UserError, match=r"b/2.png is 8x8"):
    load(path, resident_bytes=0).train.images[6]
  sized = load(path, image_size=5)
  assert sized.image_shape == (5, 5, 1)
  assert (sized.train.images[6] == 9).all()


@pytest.mark.parametrize("content", [b"", b"no image at all"])
@pytest.mark.parametrize("file", ["a/0.png", "b/2.png"])
def test_an_unreadable_image_is_named(folder, content, file):
  path = folder(classes(GREY))
  (path / file).write_bytes(content)
  with pytest.raises(UserError, match=f"cannot read the image .*{file}"):
    load(str(path))


def test_a_cut_image_is_named(folder):
  noise = np.random.default_rng(0).integers(0, 255, (40, 40))
  path = folder(classes(noise % 100))
  file = path / "b" / "2.png"
  file.write_bytes(file.read_bytes()[:500])
  with pytest.raises(UserError, match="cannot read the image .*b/2.png"):
    load(str(path))


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ({}, "no class directories"),
    ({"0.png": GREY}, "no class directories"),
    ({"a/0.txt.png": GREY}, "no test image"),
    (classes(GREY, each=4), "no test image"),
    ({f"train/{k}": v for k, v in classes(GREY).items()}, "train/ but no test/"),
    ({f"test/{k}": v for k, v in classes(GREY).items()}, "test/ but no train/"),
    ({"train/a/0.png": GREY, "test/b/0.png": GREY}, "test/b is no class of"),
  ],
)  # fmt: skip
def test_folders_without_data(folder, files, message):
  with pytest.raises(UserError, match=message):
    load(str(folder(files)))


def test_empty_classes(tmp_path):
  (tmp_path / "a").mkdir()
  with pytest.raises(UserError, match="no train image"):
    load(str(tmp_path))
