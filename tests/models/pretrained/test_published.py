"""Networks with the same names of tensors that compute something else."""

import json
import pathlib

import pytest
from outside_cases import draw_all

from kdjax.core.errors import UserError
from kdjax.models.pretrained.published import read
from kdjax.models.pretrained.read import read_outside_teacher

pytest.importorskip("safetensors")
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# From timm's model.safetensors beside its config.json on the Hugging Face hub.
RESNET = {
  "architecture": "resnet18",
  "num_classes": 10,
  "global_pool": "avg",
  "pretrained_cfg": {
    "tag": "a1_in1k",
    "input_size": [3, 224, 224],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
  },
}
# As transformers writes it.
VIT = {
  "architectures": ["ViTForImageClassification"],
  "model_type": "vit",
  "hidden_act": "gelu",
  "num_attention_heads": 4,
  "image_size": 32,
  "num_channels": 3,
  "layer_norm_eps": 1e-12,
  "id2label": {str(i): f"LABEL_{i}" for i in range(10)},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """The file of each family, and the model that it fits."""
  made = {}
  for name in ("timm_resnet18", "transformers_vit"):
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    folder = tmp_path_factory.mktemp(name)
    save_file(draw_all(case["tensors"]), folder / "model.safetensors")
    made[name] = folder, case["model"]
  return made


def read_with(folders, name, config, classes=10):
  folder, model = folders[name]
  (folder / "config.json").write_text(json.dumps(config))
  return read_outside_teacher(
    folder / "model.safetensors",
    model,
    classes=classes,
    image_shape=(32, 32, 3),
  )


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"architecture": "resnetblur18"}, "architecture resnetblur18, the model"),
    ({"architecture": "resnet18d.ra2_in1k"}, "architecture resnet18d"),
    ({"model_args": {"act_layer": "gelu"}}, "activation gelu, .* has relu"),
    ({"hidden_act": "silu"}, "activation silu, the model has relu"),
    ({"model_args": {"aa_layer": "blurpool"}}, "aa_layer blurpool"),
    ({"global_pool": "max"}, "global_pool max, the model has avg"),
    ({"num_classes": 1000}, "classes 1000, the model has 10"),
    ({"model_args": {"in_chans": 1}}, "channels 1, the model has 3"),
  ],
)
def test_a_resnet_of_another_kind_is_refused_by_its_config(
  folders, change, said
):
  with pytest.raises(UserError, match=said):
    read_with(folders, "timm_resnet18", RESNET | change)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"image_size": [16, 64]}, "images of 16 x 64, the model has 32 x 32"),
    ({"image_size": {"height": 64, "width": 16}}, "images of 64 x 16"),
    ({"hidden_act": "quick_gelu"}, "activation quick_gelu, the model has gelu"),
    ({"num_attention_heads": 8}, "heads 8, the model has 4"),
    ({"model_type": "dinov2"}, "model_type dinov2, the model has vit"),
  ],
)
def test_a_transformer_of_another_kind_is_refused_by_its_config(
  folders, change, said
):
  with pytest.raises(UserError, match=said):
    read_with(folders, "transformers_vit", VIT | change)


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    (RESNET, "resnet18(normalise='imagenet')"),
    (RESNET | {"architecture": "tv_resnet18"}, "resnet18(normalise='imagenet')"),
    (RESNET | {"architecture": "resnet18.a1_in1k",
               "model_args": {"drop_rate": 0.1, "act_layer": "nn.ReLU"}},
     "resnet18(normalise='imagenet')"),
    (RESNET | {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}},
     "resnet18(normalise='half')"),
    (RESNET | {"pretrained_cfg": {"mean": [0.1] * 3, "std": [0.5] * 3}},
     "resnet18(normalise=((0.1, 0.1, 0.1), (0.5, 0.5, 0.5)))"),
    ({}, "resnet18(normalise='imagenet')"),
  ],
)  # fmt: skip
def test_a_config_of_the_same_network_completes_its_spec(
  folders, config, expected
):
  assert read_with(folders, "timm_resnet18", config).model == expected


def test_a_transformer_s_config_says_how_it_was_shown_images(folders):
  shown = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
  assert "normalise='half'" in read_with(
    folders, "transformers_vit", VIT | shown
  ).model  # fmt: skip


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
    ({"label_names": ["a", "b"]}, ("a", "b")),
    ({"id2label": {"0": "LABEL_0"}}, None),
    ({}, None),
  ],
)
def test_class_names_are_read_in_their_order(config, expected):
  assert read(config).class_names == expected


def test_metadata_of_the_file_itself_count_too(tmp_path):
  case = json.loads((GOLDEN / "timm_resnet18.json").read_text())
  path = tmp_path / "a.safetensors"
  metadata = {"format": "pt", "architecture": "resnetblur18"}
  save_file(draw_all(case["tensors"]), path, metadata=metadata)
  with pytest.raises(UserError, match="resnetblur18"):
    read_outside_teacher(path, "resnet18", classes=10, image_shape=(32, 32, 3))


@pytest.mark.parametrize(
  ("name", "config"), [("timm_resnet18", RESNET), ("transformers_vit", VIT)]
)
def test_a_teacher_of_other_classes_gets_its_way_out_beside_a_config_too(
  folders, name, config
):
  with pytest.raises(UserError, match="knows 10 classes.*--teacher_classes"):
    read_with(folders, name, config, classes=3)
