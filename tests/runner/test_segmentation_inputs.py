"""Segmentation: bad inputs end in one clear line before anything compiles."""

import shutil

import mask_folders
import numpy as np
import pytest
from PIL import Image

import launch


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  """A folder of images and masks, whole."""
  return mask_folders.write(tmp_path_factory.mktemp("masks"), 10)


def remove(name):
  return lambda folder: (folder / name).unlink()


def save(name, array, mode=None):
  """Writes an image file over what is there."""

  def change(folder):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array), mode).save(folder / name)

  return change


def rename(old, new):
  def change(folder):
    (folder / new).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / old, folder / new)

  return change


def text(name, content):
  return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def all_masks(value):
  def change(folder):
    for file in (folder / "masks").iterdir():
      mask_folders.save_mask(file, np.full(mask_folders.SIZE, value, np.uint8))

  return change


def both(*changes):
  return lambda folder: [change(folder) for change in changes]


def divided(folder):
  """The same as train/ and test/."""
  for name in ("train", "test"):
    for part in ("images", "masks"):
      shutil.copytree(folder / part, folder / name / part)
  for part in ("images", "masks"):
    shutil.rmtree(folder / part)


PLAIN = np.zeros(mask_folders.SIZE, np.uint8)
BYTES = b"\x89PNG not"
# What is done to the folder, further flags, and what is said.
FILES = [
  (remove("masks/3.png"), "images/3.png has no mask: "),
  (rename("masks/3.png", "masks/3_mask.png"), "there is 3_mask.png"),
  (lambda f: shutil.rmtree(f / "masks"), "of one class, 'images'"),
  (both(lambda f: shutil.rmtree(f / "images"), lambda f: (f / "images").mkdir()),
   "there is no image in it"),
  (save("images/3.bmp", PLAIN), "3.bmp and 3.png have one name"),
  (save("masks/3.bmp", PLAIN), "have one name"),
  (both(remove("masks/3.png"), save("masks/3.jpg", PLAIN)),
   "3.jpg: such files change numbers a little"),
  (save("masks/3.png", np.zeros((*mask_folders.SIZE, 3), np.uint8)),
   "one number of 8 bits a pixel, grey or of a palette; it is RGB"),
  (save("masks/3.png", np.zeros((*mask_folders.SIZE, 4), np.uint8)),
   "it is RGBA"),
  (save("masks/3.png", np.zeros(mask_folders.SIZE, np.uint16)), "it is I;16"),
  (save("masks/3.png", np.zeros((3, 4), np.uint8)),
   "masks/3.png is 3x4 pixels, its image"),
  (both(save("masks/3.png", np.zeros((3, 4), np.uint8)),
        save("images/3.png", np.zeros((3, 4), np.uint8))),
   "--image_size=SIZE makes all SIZE x SIZE"),
  (lambda f: (f / "masks/3.png").write_bytes(BYTES), "cannot read the mask"),
  (lambda f: (f / "images/3.png").write_bytes(BYTES), "cannot read the image"),
  (lambda f: (f / "masks/3.png").write_bytes(b""), "cannot read the mask"),
  (all_masks(0), "all pixels are of one class, 0"),
  (all_masks(255), "all pixels are 255, of no class"),
  (text("classes.txt", "sky\n"), "names 1 class; 2 to 255"),
  (text("classes.txt", ""), "names 0 classes"),
  (text("classes.txt", "a\nb\n"), "has the class 2, and"),
  (lambda f: (f / "classes.txt").write_bytes(b"\xff\xfe\xff"), "cannot be read"),
  (lambda f: [file.unlink() for i in range(1, 10) for part in ("images", "masks")
              for file in [f / part / f"{i}.png"]], "a fifth of each class is test"),
  (both(divided, lambda f: shutil.rmtree(f / "test")), "has train/ but no test/"),
  (both(divided, lambda f: shutil.rmtree(f / "test/masks")),
   "there is no such directory"),
  (both(divided, remove("test/masks/3.png")), "test/images/3.png has no mask"),
  (both(divided, lambda f: shutil.copytree(f / "train", f / "training")),
   "which of them is train?"),
]  # fmt: skip
FLAGS = [
  ("--student=mlp(4)", "networks such as unet(16)"),
  ("--teacher=resnet8", "networks such as unet(16)"),
  ("--student=unet(0)", "width must be"),
  ("--student=unet(2, 6)", "unet needs images of at least 64 x 64"),
  ("--student=fcn('mlp(4)')", "maps (B, H, W, C) are needed"),
  ("--student=fcn('resnet9')", "did you mean"),
  ("--student=fcn('vit')", "vit"),
  ("--student=deeplab('resnet8', rates=(0,))", "a rate"),
  ("--student=unets(2)", "did you mean 'unet'"),
  ("--task=classification", "maps of classes, for segmentation"),
  ("--task=segmentation(2)", "3 class names for 2 classes"),
  ("--task=segmentation(ignore=1)", "ignore= takes a whole number that is none"),
  ("--task=regression", "its labels are for answers that are categories"),
  ("--task=multilabel", "its labels are for answers that are categories"),
  ("--augment=mixup(0.2)", "--augment: inputs that are mixed"),
  ("--augment=cutmix(1)", "--augment: inputs that are mixed"),
  ("--augment=randaugment", "targets that are maps would stay behind"),
  ("--teacher_augment=randaugment", "targets that are maps would stay behind"),
  ("--augment=flip --teacher_view=none", "what is known of a pixel stays with it"),
  ("--augment=shift(20)", "out of sight"),
  ("--augment=random_resized_crop(size=6)", "--crop_size=SIZE makes them alike"),
  ("--scheme=mean_teacher(views=2)", "they answer place by place; take one view"),
  ("--crop_size=13", "are 12 x 14"),
  ("--omit_classes=1", "an image has a class at every pixel"),
  ("--specialists=2", "an image has a class at every pixel"),
  ("--shuffled_teacher", "an image has a class at every pixel"),
  ("--uniform_teacher", "an image has a class at every pixel"),
  ("--transfer_dataset=noise_images", "an image has a class at every pixel"),
  ("--distillation=ofa", "ofa classifies whole examples; segmentation has an"),
  ("--distillation=srrl:1 + ce", "srrl classifies whole examples"),
  ("--distillation=binary_kdd", "did you mean 'binary_kd'"),
  ("--distillation=cwd(answers=True, grid=2)", "cwd"),
  ("--distillation=cwd(channel_temperature=0)", "channel_temperature"),
  ("--distillation=pairwise(grid=0)", "grid"),
  ("--distillation=pairwise(student_tap='head:in', teacher_tap='nowhere')",
   "nowhere"),
  ("--labels=500", "500"),
  ("--image_size=3 --student=unet(2)", "at least 8 x 8"),
]  # fmt: skip


def refused(capsys, tmp_path, *flags, networks=True):
  workdir = tmp_path / "run"
  call = ["launch.py", "--batch_size=8", "--teacher_batch_size=8"]
  for flag in ("--teacher=unet(2, 1, 1)", "--student=unet(2, 1, 1)"):
    if not any(one.startswith(flag[:9]) for one in flags):
      call.append(flag)
  assert launch.main([*call, *flags, f"--workdir={workdir}"]) == 2
  message = capsys.readouterr().err.strip().splitlines()
  assert len(message) == 1 and not workdir.exists()
  return message[0]


@pytest.mark.parametrize(("change", "says"), FILES, ids=[x for _, x in FILES])
def test_files(stored, tmp_path, capsys, change, says):
  folder = tmp_path / "set"
  shutil.copytree(stored, folder)
  change(folder)
  assert says in refused(capsys, tmp_path, f"--dataset={folder}")


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "says"), FLAGS, ids=[x for x, _ in FLAGS])
def test_flags(stored, tmp_path, capsys, flag, says):
  flags = (f"--{one}" for one in flag[2:].split(" --"))
  message = refused(capsys, tmp_path, f"--dataset={stored}", *flags)
  assert says in message


SETS = [
  ("tfds_masks('nowhere')", "unknown data set 'nowhere'"),
  ("mask_folder(path='.')", "has no images/ and masks/"),
  ("mask_folder()", "path"),
  ("cluttered_digits_masks(rim=-1)", "rim is a whole number"),
  ("cluttered_digits_mask", "did you mean 'cluttered_digits_masks'"),
]


@pytest.mark.parametrize(("name", "says"), SETS)
def test_names_of_sets(tmp_path, capsys, name, says):
  assert says in refused(capsys, tmp_path, f"--dataset={name}")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["quantify", "soft_td", "synthesise"])
def test_commands_about_the_class_of_an_image(
  stored, tmp_path, capsys, command
):
  workdir = tmp_path / "run"
  call = ["launch.py", command, f"--dataset={stored}", f"--workdir={workdir}"]
  assert launch.main(call) == 2
  message = capsys.readouterr().err.strip().splitlines()
  assert len(message) == 1 and not workdir.exists()
