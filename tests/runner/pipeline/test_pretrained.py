"""Teachers of earlier runs and of files: whether their classes are the data's."""

import json
import pathlib

import jax
import numpy as np
import pytest
from outside_cases import draw_all

from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split
from kdjax.models import make_model
from kdjax.runner.pipeline import pretrained

NAMES = ("cat", "cow", "dog")


def dataset(names, shape=(4, 4, 1)):
  split = Split(np.zeros((1, *shape), np.uint8), np.zeros(1, np.int32))
  return Dataset("photos", len(names), tuple(names), shape, split, split)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A network of three classes, as a run leaves it."""
  folder = tmp_path_factory.mktemp("run") / "teacher"
  images = np.zeros((1, 4, 4, 1), np.float32)
  module = make_model("mlp(2)", classes=3)
  variables = module.init(jax.random.key(0), images)
  note = {
    "model": "mlp(2)",
    "classes": 3,
    "class_names": list(NAMES),
    "image_shape": [4, 4, 1],
  }
  storage.save_network(folder, variables, note)
  return folder.parent


def answers(found, names):
  module = found.model.make(classes=len(names))
  images = np.random.default_rng(0).random((5, 4, 4, 1), np.float32)
  return np.asarray(module.apply(found.load(), images))


def test_a_run_whose_classes_have_another_order_or_names_is_refused(run):
  for names, said in (
    (("cat", "dog", "cow"), "class 1 is 'cow' .* another order"),
    (("cat", "cow", "fox"), "class 2 is 'dog' .* 'fox' in the data"),
    (("cat", "dog"), "knows 3 classes.*--teacher_classes"),
  ):
    with pytest.raises(UserError, match=said):
      pretrained.find(str(run), "auto", dataset(names), 0.0)


def test_a_run_s_answers_are_put_in_the_data_s_order(run, tmp_path):
  plain = answers(pretrained.find(str(run), "auto", dataset(NAMES), 0.0), NAMES)
  file = tmp_path / "map.csv"
  file.write_text("fox,dog\nkitten,0\n")
  for names, chosen, columns in (
    (("dog", "cow", "cat"), "name", [2, 1, 0]),
    (("dog", "cat"), "name", [2, 0]),
    (("x", "y", "z"), "order", [0, 1, 2]),
    (("fox", "kitten"), str(file), [2, 0]),
  ):
    found = pretrained.find(str(run), "auto", dataset(names), 0.0, chosen)
    np.testing.assert_array_equal(answers(found, names), plain[:, columns])


def test_a_file_whose_config_has_another_order_of_classes_is_refused(tmp_path):
  """Other names are no news of a published network; another order is."""
  save_file = pytest.importorskip("safetensors.numpy").save_file
  golden = pathlib.Path(__file__).parents[2] / "models" / "golden"
  case = json.loads((golden / "timm_resnet18.json").read_text())
  tensors = draw_all(case["tensors"])
  save_file(tensors, tmp_path / "model.safetensors")
  names = [f"class {i}" for i in range(10)]
  config = {"label_names": names[::-1]}
  (tmp_path / "config.json").write_text(json.dumps(config))
  find, shape = pretrained.find, (32, 32, 3)
  with pytest.raises(UserError, match="class 0 is 'class 9' for the teacher"):
    find(str(tmp_path), "resnet18", dataset(names, shape), 0.0)
  others = dataset([f"n{i}" for i in range(10)], shape)
  assert find(str(tmp_path), "resnet18", others, 0.0).model
  part = dataset(["class 7", "class 1"], shape)
  found = find(str(tmp_path), "resnet18", part, 0.0, "name").load()
  np.testing.assert_array_equal(
    found["params"]["head"]["bias"], tensors["fc.bias"][[2, 8]]
  )


def test_a_head_of_other_classes_is_left_out_on_purpose(run):
  names = ("a", "b", "c", "d", "e")
  whole = pretrained.find(str(run), "auto", dataset(NAMES), 0.0).load()
  for head in ("drop", "new"):
    found = pretrained.find(
      str(run), "auto", dataset(names), 0.0, None, head
    ).load()
    assert found["params"]["head"]["bias"].shape == (5,)
    for side in (found["params"], whole["params"]):
      side.pop("head", None)
    jax.tree.map(np.testing.assert_array_equal, found, whole)
