"""Outside weights: the same logits as elsewhere, and every way not to fit."""

import json
import pathlib
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from outside_cases import draw_all, draw_images

from kdjax.core.errors import StorageError, UserError
from kdjax.models import make_model
from kdjax.models.pretrained.layouts import TABLES
from kdjax.models.pretrained.read import (
  convert,
  load_safetensors,
  read_outside_teacher,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TINY = json.loads((GOLDEN / "transformers_vit.json").read_text())
MODEL = TINY["model"]
HALF = MODEL[:-1] + ", normalise='half')"
DISTILLED = MODEL[:-1] + ", distilled=True)"
EPSILON = ", epsilon=1e-12"
LARGE = {"torchvision_vit_b_16", "torchvision_resnet50"}
# As another file of its kind, but for the names.
LARGE |= {"timm_deit_tiny_distilled_patch16_224", "timm_resnet18"}
CASES = [
  pytest.param(
    file,
    marks=[pytest.mark.slow]
    if file.stem in LARGE or file.stem.startswith(("torchvision_v", "torchvision_a"))
    else [],
    id=file.stem,
  )
  for file in sorted(GOLDEN.glob("*.json"))
]  # fmt: skip


def tensors():
  return draw_all(TINY["tensors"])


def write(path, arrays):
  """A safetensors file by the format's own definition."""
  names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
  names |= {np.dtype(np.float16): "F16", np.dtype(jnp.bfloat16): "BF16"}
  header, data = {}, b""
  for name, array in arrays.items():
    end = len(data) + array.nbytes
    header[name] = {
      "dtype": names[array.dtype],
      "shape": array.shape,
      "data_offsets": [len(data), end],
    }
    data += array.tobytes()
  text = json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + data)
  return path


def read(path, model=HALF, classes=10, image_shape=(32, 32, 3)):
  pytest.importorskip("safetensors")
  return read_outside_teacher(
    path, model, classes=classes, image_shape=image_shape
  )


@pytest.mark.parametrize("file", CASES)
def test_logits_of_the_original(file):
  """What torchvision, timm and transformers gave (make_golden_weights.py)."""
  case = json.loads(file.read_text())
  images = draw_images(case["side"])
  module = make_model(case["model"], classes=10)
  variables = convert(draw_all(case["tensors"]), module, images.shape[1:])
  logits = jax.jit(module.apply)(variables, images)
  scale = np.abs(case["logits"]).max()
  np.testing.assert_allclose(logits, case["logits"], rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize(
  "text",
  [
    "alexnet", "vgg13", "vgg19_bn", "resnet34", "vit_small16",
    "deit_base",
  ],
)  # fmt: skip
def test_tables_fill_every_parameter_once(text):
  module = make_model(text, classes=7)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3))
  )
  table = TABLES[type(module)].entries(module, {"patch_embed.proj.weight"})
  targets = [entry.target for entry in table]
  assert len(set(targets)) == len(targets)
  assert set(targets) == set(traverse_util.flatten_dict(shapes, sep="/"))
  assert len({(entry.source, entry.part) for entry in table}) == len(table)


@pytest.mark.parametrize(
  ("library", "name", "text"),
  [("torchvision", "resnet18", "resnet18"), ("transformers", "DeiT", None)],
)
def test_logits_beside_torch(library, name, text):
  """Where torch is installed, the originals run here and now."""
  pytest.importorskip("torch")
  from make_golden_weights import (
    CASES,
    fill_and_run,
    make_outside,
    relative_error,
    run_ours,
  )

  text = text or next(case[1] for case in CASES if case[0] == name)
  images = draw_images(32)
  network = make_outside(library, name, 32, classes=3)
  shapes, logits = fill_and_run(network, images)
  assert relative_error(run_ours(text, shapes, images, 3), logits) < 1e-5


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("encoder.layer.0.attention.attention.query", "q_proj"),
    (".linear_1.", ".0."),
  ],
)
def test_both_generations_of_names(old, new):
  """Files and modules of one library have different names; both are known."""
  if new == ".0.":
    case = json.loads((GOLDEN / "torchvision_vit_b_16.json").read_text())
    shapes = case["tensors"]
    renamed = {
      key.replace("mlp.0.", "mlp.linear_1.").replace(
        "mlp.3.", "mlp.linear_2."
      ): shape
      for key, shape in shapes.items()
    }
    module = make_model("vit_base16", classes=10)
  else:
    shapes = TINY["tensors"]
    renamed = {in_files(key): shape for key, shape in shapes.items()}
    module = make_model(MODEL, classes=10)
  assert any(old in key for key in renamed)
  assert not any(old in key for key in shapes)
  entries = TABLES[type(module)].entries
  for names in (shapes, renamed):
    assert {entry.source for entry in entries(module, names)} == set(names)


def in_files(key):
  """transformers 5: the module's name of a tensor -> its name in files."""
  for module, file in (
    ("vit.layers.", "vit.encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
  ):
    key = key.replace(module, file)
  return key


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_file_becomes_teacher(tmp_path, dtype):
  """Half-precision files fill float32 parameters; spare counters are ignored."""
  arrays = {name: x.astype(dtype) for name, x in tensors().items()}
  arrays["vit.bn.num_batches_tracked"] = np.int64([3])
  found = read(write(tmp_path / "vit.safetensors", arrays))
  module = make_model(MODEL, classes=10)
  want = convert(tensors(), module, (32, 32, 3))
  for ours, theirs in zip(
    jax.tree.leaves(found.variables), jax.tree.leaves(want), strict=True
  ):
    assert ours.dtype == np.float32
    np.testing.assert_allclose(
      ours, theirs, rtol=jnp.finfo(dtype).eps, atol=1e-6
    )
  assert found.model == HALF


@pytest.mark.parametrize(
  ("case", "model", "expected"),
  [
    ("timm_resnet18", "resnet18", "resnet18(normalise='imagenet')"),
    ("transformers_deit", DISTILLED, f"{DISTILLED[:-1]}, normalise='imagenet')"),
    ("transformers_vit", HALF, HALF),
    ("transformers_vit", HALF.replace("'half'", "None"),
     HALF.replace("'half'", "None")),
    ("transformers_vit", HALF.replace(EPSILON, ""),
     f"{HALF.replace(EPSILON, '')[:-1]}{EPSILON})"),
  ],
)  # fmt: skip
def test_spec_is_completed(tmp_path, case, model, expected):
  shapes = json.loads((GOLDEN / f"{case}.json").read_text())["tensors"]
  path = write(tmp_path / "a.safetensors", draw_all(shapes))
  assert read(path, model).model == expected


def test_no_statistics_for_other_than_three_channels(tmp_path):
  shapes = TINY["tensors"] | {
    "vit.embeddings.patch_embeddings.projection.weight": [32, 1, 8, 8]
  }
  path = write(tmp_path / "a.safetensors", draw_all(shapes))
  assert read(path, MODEL, image_shape=(32, 32, 1)).model == MODEL


def test_names_other_than_ours_fit_nothing(tmp_path):
  """A ViT whose library we cannot tell, or whose images, is not guessed at."""
  path = write(tmp_path / "a.safetensors", tensors())
  with pytest.raises(UserError, match="write normalise='half'"):
    read(path, MODEL)
  with pytest.raises(UserError, match="no vision transformer of"):
    convert({}, make_model(MODEL, classes=10), (32, 32, 3))


def without(name):
  return {key: x for key, x in tensors().items() if key != name}


@pytest.mark.parametrize(
  ("arrays", "model", "classes", "side", "said"),
  [
    (without("vit.layernorm.bias"), HALF, 10, 32,
     "1 tensors are missing: vit.layernorm.bias"),
    (tensors() | {"vit.extra.bias": np.zeros(1, np.float32)}, HALF, 10, 32,
     "1 tensors have no place in the model: vit.extra.bias"),
    (tensors(), HALF.replace("depth=2", "depth=1"), 10, 32,
     "16 tensors have no place in the model: .*, \\.\\.\\."),
    (tensors(), HALF.replace("depth=2", "depth=3"), 10, 32,
     "16 tensors are missing: vit.layers.2"),
    (tensors(), HALF.replace("width=32", "width=16"), 10, 32,
     "has the shape .* which does not give"),
    (tensors(), HALF, 12, 32, "knows 10 classes, .* to learn 12"),
    (tensors(), HALF, 10, 40, "position_embeddings has the shape"),
    (tensors(), HALF, 10, 30, "do not tile images of 30 x 30"),
    (tensors() | {"vit.layernorm.bias": np.zeros(32, np.int64)}, HALF, 10, 32,
     "holds int64, not floats"),
    (tensors() | {"vit.layernorm.bias": np.full(32, np.nan, np.float32)}, HALF,
     10, 32, "vit.layernorm.bias holds values that are not finite"),
    (without("classifier.weight"), HALF, 10, 32, "a teacher needs its class"),
    (tensors(), "mlp(3)", 10, 32, "outside names are not known for mlp"),
    (tensors(), "resnet18", 10, 32, "tensors are missing: bn1.bias"),
    (tensors(), "resnet81", 10, 32, "did you mean"),
  ],
)  # fmt: skip
def test_mismatches(tmp_path, arrays, model, classes, side, said):
  path = write(tmp_path / "a.safetensors", arrays)
  with pytest.raises(UserError, match=said):
    read(path, model, classes, (side, side, 3))


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("a.pth", b"PK\3\4 a zip, as torch.save writes"),
    ("a.safetensors", b"PK\3\4 a zip, as torch.save writes"),
    ("a.safetensors", b"\x80\2\x8a\nl\xfc\x9cF\xf9 a pickle"),
    ("a.bin", b"whatever"),
  ],
)
def test_pickles_are_refused(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(UserError, match="could run any code(.|\n)*weights_only"):
    load_safetensors(path)


def test_header_that_begins_like_a_pickle(tmp_path):
  """A header of 640 bytes starts with 0x80 0x02, as pickles do."""
  pytest.importorskip("safetensors")
  path = write(tmp_path / "a.safetensors", {"a": np.zeros(2, np.float32)})
  data = path.read_bytes()
  header = data[8 : data.index(b"}}") + 2].ljust(640)
  path.write_bytes(struct.pack("<Q", 640) + header + bytes(8))
  np.testing.assert_array_equal(load_safetensors(path)["a"], [0, 0])


@pytest.mark.parametrize("kept", [0, 7, 8, 100, -1])
def test_damaged_files(tmp_path, kept):
  pytest.importorskip("safetensors")
  path = write(tmp_path / "a.safetensors", tensors())
  path.write_bytes(path.read_bytes()[:kept])
  with pytest.raises(StorageError, match="damaged or no safetensors file"):
    load_safetensors(path)


def test_no_file(tmp_path):
  with pytest.raises(UserError, match="there is no file"):
    load_safetensors(tmp_path / "a.safetensors")
  with pytest.raises(UserError, match="folder without a safetensors"):
    load_safetensors(tmp_path)


def test_package_that_is_missing(tmp_path, monkeypatch):
  path = write(tmp_path / "a.safetensors", tensors())
  monkeypatch.setitem(sys.modules, "safetensors", None)
  with pytest.raises(UserError, match="pip install"):
    load_safetensors(path)
