"""Students cut out of published networks: as the teacher without the other blocks."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.models.pretrained.cut import read_cut

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
TOKENS = np.arange(3, 25).reshape(2, 11)
slow = pytest.mark.slow


@pytest.mark.parametrize(
  ("text", "depth", "kept"),
  [
    ("layers(6)", 30, (0, 6, 12, 17, 23, 29)),
    ("layers(10)", 30, (0, 3, 6, 10, 13, 16, 19, 23, 26, 29)),
    ("layers(2)", 5, (0, 4)),
    ("layers(3)", 3, (0, 1, 2)),
    ("layers(1)", 9, (0,)),
    ("every(2)", 5, (0, 2, 4)),
    ("every(2)", 6, (0, 2, 4)),
    ("every(7)", 6, (0,)),
    ("blocks([0, 3, 5])", 6, (0, 3, 5)),
    ("blocks((2,))", 6, (2,)),
  ],
)
def test_which_blocks_are_kept(text, depth, kept):
  assert read_cut(text).blocks(depth) == kept


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("layer(6)", "did you mean 'layers'"),
    ("layers", "missing a required argument"),
    ("layers(0)", "whole number >= 1, got 0"),
    ("layers(2.5)", "got 2.5"),
    ("every(-1)", "whole number >= 1, got -1"),
    ("layers(7)", "there are 6 blocks"),
    ("blocks([])", "increasing numbers"),
    ("blocks(3)", "increasing numbers"),
    ("blocks([2, 1])", "increasing numbers"),
    ("blocks([1, 1])", "increasing numbers"),
    ("blocks([-1])", "whole number >= 0"),
    ("blocks([0, 6])", "no block 6, the last one of 6 is 5"),
  ],
)
def test_a_cut_that_is_none_is_refused(text, words):
  with pytest.raises(UserError, match=words) as error:
    read_cut(text).blocks(6)
  assert "\n" not in str(error.value)


def as_if_left_out(variables, kept):
  """Blocks that add nothing to what they are given."""
  params = dict(variables["params"])
  for name, block in params.items():
    if name.startswith("stage_") and int(name[6:]) not in kept:
      ends = {"attention": "out", "mlp": "dense_1"}
      params[name] = block | {
        part: block[part]
        | {end: jax.tree.map(jnp.zeros_like, block[part][end])}
        for part, end in ends.items()
      }
  return {"params": params}


def logits_of(network, variables):
  inputs = {"tokens": jnp.asarray(TOKENS)}
  return jax.jit(lambda v: network.apply(v, inputs)[0])(variables)


# (folder, cut, blocks, what its config says of them).
CASES = [
  pytest.param(*case, marks=slow if place > 0 else (), id=f"{case[0]} {case[1]}")
  for place, case in enumerate([
    ("smollm3", "blocks([1, 2])", (1, 2), {"no_rope_layers": [0, 1]}),
    ("gemma3_text", "blocks([1, 5, 6])", (1, 5, 6), {
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
      "num_hidden_layers": 3}),
    ("gemma2", "layers(2)", (0, 2), {"layer_types": ["sliding_attention"] * 2}),
    ("gpt2", "layers(2)", (0, 2), {"n_layer": 2}),
    ("llama", "every(2)", (0, 2), {"num_hidden_layers": 2}),
    ("llama_bias", "blocks([1])", (1,), {}),
    ("mistral", "layers(2)", (0, 2), {}),
    ("olmo2", "layers(2)", (0, 2), {}),
    ("phi3", "layers(2)", (0, 2), {}),
    ("qwen2", "blocks([0, 2])", (0, 2), {
      "layer_types": ["full_attention", "sliding_attention"]}),
    ("qwen3", "layers(2)", (0, 2), {}),
    ("modernbert", "blocks([0, 2, 3])", (0, 2, 3), {
      "layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
  ])
]  # fmt: skip


@pytest.mark.parametrize(("name", "which", "kept", "says"), CASES)
def test_is_the_teacher_as_if_the_other_blocks_were_left_out(
  name, which, kept, says, tmp_path
):
  teacher = kdjax.pretrained.load(FOLDER / name)
  student = kdjax.pretrained.cut(teacher, which)
  assert says.items() <= student.config.items()
  wanted = logits_of(teacher.network, as_if_left_out(teacher.variables, kept))
  logits = logits_of(student.network, student.variables)
  bound = 1e-6 * np.abs(wanted).max()
  np.testing.assert_allclose(logits, wanted, atol=bound)
  full = logits_of(teacher.network, teacher.variables)
  assert np.abs(full - wanted).max() > 1e4 * bound
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  again = kdjax.pretrained.load(tmp_path / "cut")
  assert again.network == student.network
  assert again.config == student.config
  jax.tree.map(
    np.testing.assert_array_equal, again.variables, student.variables
  )


def test_what_a_config_says_by_a_rule_follows_the_block(tmp_path):
  """Files of before lists of layers: every second or sixth block, or a rule."""
  for name, which, layers in (
    ("gemma3_text", "blocks([1, 5, 6])", (1, 5, 6)),
    ("gemma2", "blocks([1, 2])", (1, 2)),
    ("smollm3", "blocks([1, 2])", (1, 2)),
    ("qwen2", "blocks([0, 2])", (0, 2)),
  ):
    folder = tmp_path / name
    folder.mkdir()
    for file in (FOLDER / name).iterdir():
      (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    for list_name in ("layer_types", "no_rope_layers"):
      config.pop(list_name, None)
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    teacher = kdjax.pretrained.load(folder)
    student = kdjax.pretrained.cut(teacher, which)
    config = teacher.network.module.config
    assert student.network.module.config.layers == tuple(
      config.layers[i] for i in layers
    )


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_encoders_are_cut_too(name, tmp_path):
  teacher = kdjax.pretrained.load(FOLDER / name)
  student = kdjax.pretrained.cut(teacher, "blocks([1])")
  params, wanted = student.variables["params"], teacher.variables["params"]
  assert student.network.module.depth == 1
  jax.tree.map(
    np.testing.assert_array_equal, params["stage_0"], wanted["stage_1"]
  )
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  assert kdjax.pretrained.load(tmp_path / "cut").network == student.network


def test_tensors_keep_the_type_that_they_are_stored_in(tmp_path):
  """Each by its block, where the types of a file differ."""
  from safetensors.numpy import save_file

  from kdjax.models.pretrained.files import load_safetensors

  folder = tmp_path / "mixed"
  folder.mkdir()
  (folder / "config.json").write_text(
    (FOLDER / "llama/config.json").read_text()
  )
  tensors = load_safetensors(FOLDER / "llama")  # bfloat16
  name = "model.layers.{}.mlp.up_proj.weight"
  tensors[name.format(2)] = tensors[name.format(2)].astype(np.float32) + 1e-3
  save_file(tensors, folder / "model.safetensors")
  student = kdjax.pretrained.cut(kdjax.pretrained.load(folder), "layers(2)")
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  written = load_safetensors(tmp_path / "cut")
  assert written[name.format(1)].tobytes() == tensors[name.format(2)].tobytes()
  assert written[name.format(0)].tobytes() == tensors[name.format(0)].tobytes()


def test_is_a_copy():
  """Training that hands its arrays over leaves the teacher's where they are."""
  teacher = kdjax.pretrained.load(FOLDER / "llama")
  student = kdjax.pretrained.cut(teacher, "layers(3)")
  jax.jit(lambda v: jax.tree.map(jnp.negative, v), donate_argnums=0)(
    student.variables
  )
  assert not any(x.is_deleted() for x in jax.tree.leaves(teacher.variables))


@pytest.mark.parametrize(
  ("name", "which"),
  [("gpt2_scaled", "blocks([1])"), ("modernbert", "blocks([1, 2])")],
)
def test_blocks_that_need_their_place_are_refused_elsewhere(name, which):
  teacher = kdjax.pretrained.load(FOLDER / name)
  with pytest.raises(UserError, match="in another place"):
    kdjax.pretrained.cut(teacher, which)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3_text", "smollm3", "qwen2", "gpt2"])
def test_transformers_loads_it(name, tmp_path):
  transformers = pytest.importorskip("transformers")
  torch = pytest.importorskip("torch")
  teacher = kdjax.pretrained.load(FOLDER / name)
  student = kdjax.pretrained.cut(teacher, "layers(2)")
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / "cut", dtype=torch.float32, attn_implementation="eager"
  )
  with torch.no_grad():
    wanted = theirs(torch.tensor(TOKENS)).logits.numpy()
  logits = logits_of(student.network, student.variables)
  assert np.abs(logits - wanted).max() < 2e-5 * np.abs(wanted).max()
