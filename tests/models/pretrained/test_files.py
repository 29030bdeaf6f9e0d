"""Weights as they lie about: wrapped, in shards, in folders, or not there."""

import json
import pathlib
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from outside_cases import draw_all

from kdjax.core.errors import StorageError, UserError
from kdjax.models.bert import Bert
from kdjax.models.pretrained.bert import from_hugging_face
from kdjax.models.pretrained.files import (
  INDEX,
  common_prefix,
  load_safetensors,
  read_config,
)
from kdjax.models.pretrained.read import read_outside_teacher

pytest.importorskip("safetensors")
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SHAPES = json.loads((GOLDEN / "timm_resnet18.json").read_text())["tensors"]


@pytest.fixture(scope="module")
def tensors():
  return draw_all(SHAPES)


def read(path):
  return read_outside_teacher(
    path, "resnet18", classes=10, image_shape=(32, 32, 3)
  )


@pytest.mark.parametrize(
  ("names", "expected"),
  [
    (["fc.bias", "fc.weight"], ""),
    (["module.fc.bias", "module.fc.weight"], "module."),
    (["module._orig_mod.a.b", "module._orig_mod.c"], "module._orig_mod."),
    (["n_averaged", "module.a", "module.b"], "module."),
    (["module.a", "b"], ""),
    (["vit.a", "vit.b"], ""),
    ([], ""),
  ],
)
def test_one_prefix_in_common_is_found(names, expected):
  assert common_prefix(names) == expected


@pytest.mark.parametrize(
  "prefix",
  ["module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.model."],
)
def test_one_common_prefix_is_left_out_and_noted(tmp_path, tensors, prefix):
  path = tmp_path / "a.safetensors"
  wrapped = {prefix + name: x for name, x in tensors.items()}
  save_file(wrapped | {"n_averaged": np.zeros(1, np.int64)}, path)
  found = read(path)
  assert found.prefix == prefix
  np.testing.assert_array_equal(
    found.variables["params"]["head"]["bias"], tensors["fc.bias"]
  )


def test_bert_s_names_are_read_without_a_wrapper_s():
  model = Bert(5, 4, 0, 2, 8, positions=3, classes=0)
  words = {"word": 5, "position": 3, "token_type": 2}
  bare = {
    f"embeddings.{name}_embeddings.weight": np.ones((rows, 4), np.float32)
    for name, rows in words.items()
  }
  bare |= {f"embeddings.LayerNorm.{x}": np.ones(4) for x in ("weight", "bias")}
  wrapped = {f"module.bert.{name}": x for name, x in bare.items()}
  assert "stem" in from_hugging_face(wrapped, model)


def shards(folder, tensors):
  """The same tensors in two files, and the list of both."""
  names = sorted(tensors)
  places = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
  for file in set(places.values()):
    part = {name: tensors[name] for name in names if places[name] == file}
    save_file(part, folder / file)
  (folder / INDEX).write_text(json.dumps({"weight_map": places}))
  return places


@pytest.mark.parametrize("given", ["", INDEX])
def test_shards_are_read_by_their_index_and_by_their_folder(
  tmp_path, tensors, given
):
  shards(tmp_path, tensors)
  found = load_safetensors(tmp_path / given)
  assert found.keys() == tensors.keys()
  np.testing.assert_array_equal(found["fc.weight"], tensors["fc.weight"])
  assert read(tmp_path / given).prefix == ""


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_a_folder_with_one_file_is_read(tmp_path, tensors, name):
  save_file(tensors, tmp_path / name)
  assert load_safetensors(tmp_path).keys() == tensors.keys()


def lacking_a_tensor(folder, places):
  places |= {"fc.extra": "model-0.safetensors"}
  (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def without_a_shard(folder, places):
  (folder / places["fc.bias"]).unlink()


def outside_the_folder(folder, places):
  places |= {"fc.bias": "../model-0.safetensors"}
  (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def without_a_list(folder, places):
  (folder / INDEX).write_text("{}")


def no_json(folder, places):
  (folder / INDEX).write_text("{")


def nested_too_deeply(folder, places):
  (folder / INDEX).write_text("[" * 100_000)


def naming(file):
  def damage(folder, places):
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": file}}))

  return damage


def without_the_index(folder, places):
  (folder / INDEX).unlink()


@pytest.mark.parametrize(
  ("damage", "error", "said"),
  [
    (lacking_a_tensor, StorageError, "lacks fc.extra, which model.saf"),
    (without_a_shard, UserError, "there is no file .*model-"),
    (outside_the_folder, UserError, "is no file beside it"),
    (without_a_list, UserError, "has no weight_map"),
    (no_json, UserError, "is no JSON"),
    (nested_too_deeply, UserError, "is no JSON"),
    (naming(""), UserError, "is no file beside it"),
    (naming(".."), UserError, "is no file beside it"),
    (naming("a\0b"), UserError, "is no file beside it"),
    (without_the_index, UserError, "holds 2 safetensors files and no"),
  ],
)
def test_shards_that_do_not_fit_their_index(
  tmp_path, tensors, damage, error, said
):
  damage(tmp_path, shards(tmp_path, tensors))
  with pytest.raises(error, match=said):
    load_safetensors(tmp_path)


@pytest.mark.parametrize(
  ("content", "said"),
  [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
     "is a Git-LFS pointer of 63 bytes.*git lfs pull"),
    (b"<!DOCTYPE html><html>", "is a web page"),
    (b"\n<html lang=en>", "is a web page"),
  ],
)  # fmt: skip
def test_what_stands_for_a_file_is_called_that(tmp_path, content, said):
  for name in ("model.safetensors", INDEX):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
      load_safetensors(path)


def test_a_folder_of_pickles_says_how_to_convert(tmp_path):
  (tmp_path / "pytorch_model.bin").write_bytes(b"x")
  with pytest.raises(UserError, match="could run any code"):
    load_safetensors(tmp_path)


@pytest.mark.parametrize("name", ["timm_resnet18", "transformers_vit"])
def test_a_file_without_a_classifier_gets_one_where_it_is_left_out(
  tmp_path, name
):
  case = json.loads((GOLDEN / f"{name}.json").read_text())
  model = case["model"].replace(")", ", normalise='half')")
  kept = {
    key: x
    for key, x in draw_all(case["tensors"]).items()
    if not key.startswith(("fc.", "classifier."))
  }
  save_file(kept, tmp_path / "model.safetensors")
  (tmp_path / "config.json").write_text('{"num_classes": 0}')
  read = partial(read_outside_teacher, tmp_path, model, image_shape=(32, 32, 3))
  with pytest.raises(UserError, match=r"missing: fc\.|classifier"):
    read(classes=10)
  found = read(classes=None, headless=True).variables["params"]
  assert found["head"]["kernel"].shape[1] == 2
  assert not found["head"]["kernel"].any()


@pytest.mark.parametrize("said", ['"x"', "[1]", "3", "null", "[" * 9999])
def test_metadata_that_are_no_texts_are_damage(tmp_path, said):
  header = f'{{"__metadata__":{said}}}'.encode()
  file = tmp_path / "a.safetensors"
  file.write_bytes(len(header).to_bytes(8, "little") + header)
  assert read_config(file) == {}


def test_the_names_of_every_architecture_are_known_from_the_start():
  program = (
    "from kdjax.models.pretrained.layouts import TABLES\n"
    "from kdjax.models.pretrained import read\n"
    "names = {one.__name__ for one in TABLES}\n"
    "assert {'ResNet', 'ViT', 'VGG'} <= names, names\n"
  )
  subprocess.run([sys.executable, "-c", program], check=True)
