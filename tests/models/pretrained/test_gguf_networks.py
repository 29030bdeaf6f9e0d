"""GGUF files of published networks: as the folders that they were made of.

The files are written as llama.cpp's converter writes them: queries and keys of some
architectures permuted, norms with their 1, names and sizes in fields.
"""

import dataclasses
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_language_models import drawn_variables

import kdjax
from kdjax.core.errors import KdjaxError, StorageError, UserError
from kdjax.models import make_model
from kdjax.models.pretrained import gguf as gguf_files
from kdjax.models.pretrained.files import load_safetensors
from kdjax.runner.pipeline.language_models import shapes_of

gguf = pytest.importorskip("gguf")

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
GEMMA = {"query_pre_attn_scalar": 6}


# (folder, GGUF's architecture, what of the config GGUF has no words for).
CASES = {
  "gpt2": ("gpt2", "gpt2", {}),
  "llama": ("llama", "llama", {}),
  "llama of old": ("llama_old", "llama", {}),
  "llama with biases": ("llama_bias", "llama", {}),
  "llama by yarn": ("llama_yarn", "llama", {}),
  "mistral": ("mistral", "llama", {}),
  "qwen2": ("qwen2", "qwen2", {"use_sliding_window": False, "layer_types": None}),
  "qwen3": ("qwen3", "qwen3", {}),
  "gemma2": ("gemma2", "gemma2", GEMMA),
  "gemma3": ("gemma3_text", "gemma3", GEMMA),
  "smollm3": (
    "smollm3", "smollm3", {"no_rope_layer_interval": 4, "no_rope_layers": None},
  ),
  "olmo2": ("olmo2", "olmo2", {}),
  "phi3": ("phi3", "phi3", {}),
}  # fmt: skip


def published(name, changes, folder):
  """A golden folder with another config."""
  folder.mkdir()
  for file in (FOLDER / name).glob("*.safetensors*"):
    (folder / file.name).symlink_to(file)
  config = json.loads((FOLDER / name / "config.json").read_text()) | changes
  for key in ("rope_parameters", "rope_scaling"):
    # The converter divides lengths in its place.
    if (config.get(key) or {}).get("rope_type") == "longrope":
      config[key].pop("factor")
  (folder / "config.json").write_text(json.dumps(config))
  return config


def permuted(array, heads):
  """Features i and i + half of a head side by side, as the converter does."""
  halves = array.reshape(heads, 2, -1, *array.shape[1:])
  return halves.swapaxes(1, 2).reshape(array.shape)


def converted(config, tensors, architecture, key_heads=None):
  """Published tensors as a file has them, by its names."""
  number = {name: x for x, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
  depth = config.get("num_hidden_layers", config.get("n_layer"))
  names = gguf.get_tensor_name_map(number, depth)
  heads = {
    "q_proj": config.get("num_attention_heads"),
    "k_proj": key_heads or config.get("num_key_value_heads"),
  }
  arrays = {}
  for name, array in tensors.items():
    if name == "embed_tokens.weight" or name.startswith(("layers.", "norm.")):
      name = f"model.{name}"  # the bare body
    part = name.split(".")[-2]
    if architecture in ("llama", "smollm3") and part in heads:
      array = permuted(array, heads[part])
    elif "gemma" in architecture and part.endswith("norm"):
      array = array.astype(np.float32) + 1
    elif architecture == "gpt2" and part in ("c_attn", "c_proj", "c_fc"):
      array = array.T if name.endswith("weight") else array
    arrays[names.get_name(name, (".weight", ".bias"))] = array
  return arrays


def add_fields(writer, config, architecture):
  at = lambda *names: next((config[x] for x in names if x in config), None)  # noqa: E731
  heads = at("num_attention_heads", "n_head")
  width = at("hidden_size", "n_embd")
  rope = at("rope_parameters", "rope_scaling") or {}
  rope = rope.get("full_attention", rope)
  writer.add_block_count(at("num_hidden_layers", "n_layer"))
  writer.add_context_length(at("max_position_embeddings", "n_positions"))
  writer.add_embedding_length(width)
  writer.add_feed_forward_length(at("intermediate_size", "n_inner"))
  writer.add_head_count(heads)
  if architecture == "gpt2":
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    return
  writer.add_head_count_kv(at("num_key_value_heads") or heads)
  writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
  writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta")))
  if "head_dim" in config:
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
  if architecture == "phi3":
    original = config["original_max_position_embeddings"]
    grown = config["max_position_embeddings"] / original
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(
      math.sqrt(1 + math.log(grown) / math.log(original))
    )
    writer.add_rope_dimension_count(
      int(rope["partial_rotary_factor"] * width) // heads
    )
  if rope.get("rope_type") in ("linear", "yarn"):
    writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
    writer.add_rope_scaling_factor(rope["factor"])
  if rope.get("rope_type") == "yarn":
    writer.add_rope_scaling_orig_ctx_len(
      rope["original_max_position_embeddings"]
    )
  if config.get("sliding_window") and architecture not in ("qwen2", "qwen3"):
    writer.add_sliding_window(config["sliding_window"])
  if architecture == "gemma2":
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def rope_tensors(config):
  """Divisors of rotary frequencies, which the converter writes as tensors."""
  rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
  if rope.get("rope_type") == "longrope":
    return {
      "rope_factors_short.weight": rope["short_factor"],
      "rope_factors_long.weight": rope["long_factor"],
    }
  if rope.get("rope_type") != "llama3":
    return {}
  width = config.get("head_dim") or (
    config["hidden_size"] // config["num_attention_heads"]
  )
  theta = rope.get("rope_theta", config.get("rope_theta"))
  length, factor = rope["original_max_position_embeddings"], rope["factor"]
  low, high = rope["low_freq_factor"], rope["high_freq_factor"]
  factors = []
  for i in range(0, width, 2):
    wave = 2 * math.pi * theta ** (i / width)
    smooth = (length / wave - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    fast, slow = wave < length / high, wave > length / low
    factors.append(1.0 if fast else factor if slow else between)
  return {"rope_freqs.weight": factors}


def write(
  path, config, arrays, architecture, kind="F32", fields=add_fields, most=0
):
  writer = gguf.GGUFWriter(path, architecture, split_max_tensors=most)
  fields(writer, config, architecture)
  kind = gguf.GGMLQuantizationType[kind]
  for name, array in arrays.items():
    array = np.ascontiguousarray(array.astype(np.float32))
    if array.ndim == 1 or kind.name == "F32":
      writer.add_tensor(name, array)
    else:
      data = gguf.quants.quantize(array, kind)
      writer.add_tensor(name, data, raw_dtype=kind)
  for name, factors in rope_tensors(config).items():
    writer.add_tensor(name, np.array(factors, np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def made(what, folder, **options):
  """A case's file, and the folder that it was made of."""
  name, architecture, changes = CASES[what]
  config = published(name, changes, folder / "published")
  tensors = load_safetensors(folder / "published")
  arrays = converted(config, tensors, architecture, options.pop("key_heads", 0))
  path = write(folder / "net.gguf", config, arrays, architecture, **options)
  return path, folder / "published"


def computed(network):
  """What a network computes, without where it came from."""
  return dataclasses.replace(network.module.config, stored="", dtype="")


def assert_same(ours, theirs):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def logits_of(pretrained):
  tokens = jnp.arange(3, 25).reshape(2, 11)
  apply = jax.jit(lambda v: pretrained.network.apply(v, {"tokens": tokens})[0])
  return np.asarray(apply(pretrained.variables))


@pytest.mark.parametrize("what", CASES)
def test_is_the_network_of_the_folder_bit_for_bit(what, tmp_path):
  path, folder = made(what, tmp_path)
  ours, theirs = kdjax.pretrained.load(path), kdjax.pretrained.load(folder)
  # What a preflight looks at, without reading weights.
  assert shapes_of(str(path)) == jax.eval_shape(lambda: ours.variables)
  assert computed(ours.network) == computed(theirs.network)
  assert_same(ours.variables, theirs.variables)
  assert ours.tokenizer is None
  kdjax.pretrained.save(tmp_path / "saved", ours.network, ours.variables)
  again = kdjax.pretrained.load(tmp_path / "saved")
  assert again.network == ours.network
  assert_same(again.variables, ours.variables)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_numbers_are_kept_in_their_type(kind, tmp_path):
  path, _ = made("qwen3", tmp_path, kind=kind)  # stored in bfloat16
  pretrained = kdjax.pretrained.load(path)
  kdjax.pretrained.save(
    tmp_path / "saved", pretrained.network, pretrained.variables
  )
  written = load_safetensors(tmp_path / "saved")
  theirs = load_safetensors(FOLDER / "qwen3")
  name = "model.layers.0.mlp.up_proj.weight"
  wanted = {"F16": np.float16, "BF16": jnp.bfloat16}[kind]
  assert written[name].dtype == wanted
  assert written["model.norm.weight"].dtype == np.float32
  np.testing.assert_array_equal(written[name], theirs[name].astype(wanted))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_tensors_are_the_numbers_that_they_stand_for(kind, tmp_path):
  """Dequantised, then permuted: which is bit for bit the other way round too."""
  from safetensors.numpy import save_file

  sizes = "width=64, depth=1, heads=4, groups=2, mlp=96, positions=32"
  network = kdjax.from_linen(make_model(f"decoder({sizes})", classes=40))
  folder = tmp_path / "published"
  kdjax.pretrained.save(folder, network, drawn_variables(network))
  config = json.loads((folder / "config.json").read_text())
  tensors = load_safetensors(folder)
  arrays = converted(config, tensors, "llama")
  path = write(tmp_path / "net.gguf", config, arrays, "llama", kind)
  number = gguf.GGMLQuantizationType[kind]
  rounded = {
    name: x
    if x.ndim == 1
    else gguf.quants.dequantize(gguf.quants.quantize(x, number), number)
    for name, x in tensors.items()
  }
  save_file(rounded, folder / "model.safetensors")
  ours, theirs = kdjax.pretrained.load(path), kdjax.pretrained.load(folder)
  assert_same(ours.variables, theirs.variables)
  assert not np.array_equal(
    rounded["model.layers.0.mlp.up_proj.weight"],
    tensors["model.layers.0.mlp.up_proj.weight"],
  )


@pytest.mark.parametrize("number", [1, 2])
def test_parts_are_one_network(number, tmp_path):
  """As the package writes them: the first has the fields, each has tensors."""
  _, folder = made("llama", tmp_path, most=12)
  parts = sorted(tmp_path.glob("net-0000?-of-0000?.gguf"))
  assert len(parts) == 3
  ours = kdjax.pretrained.load(parts[number - 1])
  assert_same(ours.variables, kdjax.pretrained.load(folder).variables)
  parts[1].rename(tmp_path / "net.gguf")
  for path, words in [
    (parts[0], "is no file"),
    (tmp_path / "net.gguf", "of 3"),
  ]:
    with pytest.raises(UserError, match=words):
      kdjax.pretrained.load(path)


def without_pairs(monkeypatch):
  monkeypatch.setattr(gguf_files, "_halves_apart", lambda array, heads: array)


WRONG = {
  "queries and keys left as they are": ("llama", without_pairs, {}),
  "keys by the number of queries": ("llama of old", None, {"key_heads": 4}),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_pairs_of_rotary_features_show(what, tmp_path, monkeypatch):
  name, act, options = WRONG[what]
  path, folder = made(name, tmp_path, **options)
  if act:
    act(monkeypatch)
  ours, theirs = kdjax.pretrained.load(path), kdjax.pretrained.load(folder)
  right = logits_of(theirs)
  assert np.abs(logits_of(ours) - right).max() > 0.01 * np.abs(right).max()


def fields_without(missing):
  def add(writer, config, architecture):
    add_fields(writer, config, architecture)
    key = f"{architecture}.{missing}"
    writer.kv_data[0].pop(key)

  return add


def fields_with(**more):
  def add(writer, config, architecture):
    add_fields(writer, config, architecture)
    for key, (kind, value) in more.items():
      key = key.replace("__", ".").replace("ARCH", architecture)
      getattr(writer, f"add_{kind}")(key, value)

  return add


def cut_off(path):
  path.write_bytes(path.read_bytes()[:-100])


def cut_early(path):
  path.write_bytes(path.read_bytes()[:60])


def overwrite(path, old, new):
  data = path.read_bytes()
  assert old in data and len(old) == len(new)
  path.write_bytes(data.replace(old, new))


def odd_type(path):
  """Another type in the place of a tensor's: behind its name and sizes."""
  data = bytearray(path.read_bytes())
  at = data.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 16
  data[at : at + 4] = (999).to_bytes(4, "little")
  path.write_bytes(data)


def unreadable_type(path):
  data = bytearray(path.read_bytes())
  at = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8
  kind = gguf.GGMLQuantizationType.I32
  data[at : at + 4] = int(kind).to_bytes(4, "little")
  path.write_bytes(data)


# What is wrong: (options of `write`, what is done to the file, the words for it).
REFUSED = {
  "cut off": ({}, cut_off, "damaged or no GGUF file"),
  "cut early": ({}, cut_early, "damaged or no GGUF file"),
  "another file": ({}, lambda x: x.write_bytes(b"text"), "no GGUF file"),
  "empty": ({}, lambda x: x.write_bytes(b""), "no GGUF file"),
  "architecture": (
    {}, lambda x: overwrite(x, b"\x05\0\0\0\0\0\0\0qwen3", b"\x05\0\0\0\0\0\0\0rwkv6"),
    "unknown architecture 'rwkv6'",
  ),
  "a type of its own": ({}, odd_type, "999"),
  "a type that is no floats": (
    {}, unreadable_type, "output_norm.weight is stored as I32",
  ),
  "missing tensor": (
    {}, lambda x: overwrite(x, b"output_norm.weight", b"output_nrom.weight"),
    "1 tensors are missing: output_norm.weight",
  ),
  "no embedding": (
    {}, lambda x: overwrite(x, b"token_embd.weight", b"token_emdb.weight"),
    "no tensor token_embd.weight",
  ),
  "missing field": (
    {"fields": fields_without("block_count")}, None, "no qwen3.block_count",
  ),
  "no epsilon": (
    {"fields": fields_without("attention.layer_norm_rms_epsilon")}, None,
    "no qwen3.attention.layer_norm_rms_epsilon",
  ),
  "a part": (
    {"fields": fields_with(split__count=("uint16", 3))}, None,
    "one of 3 parts, whose names would end in -00001-of-00003.gguf",
  ),
  "a window": (
    {"fields": fields_with(ARCH__attention__sliding_window=("uint32", 4))}, None,
    "qwen3 with a sliding window",
  ),
  "a scaling": (
    {"fields": fields_with(ARCH__rope__scaling__type=("string", "ntk"))}, None,
    "unknown rope.scaling.type 'ntk'",
  ),
  "no factor": (
    {"fields": fields_with(ARCH__rope__scaling__type=("string", "linear"))}, None,
    "factor",
  ),
  "no such vocabulary": (
    {"fields": fields_with(tokenizer__ggml__model=("string", "rwkv"))}, None,
    "unknown tokenizer of",
  ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_a_line_that_names_the_file(what, tmp_path):
  options, act, words = REFUSED[what]
  path, _ = made("qwen3", tmp_path, **options)
  if act:
    act(path)
  with pytest.raises(KdjaxError, match=words) as caught:
    kdjax.pretrained.load(path)
  assert isinstance(caught.value, UserError | StorageError)
  assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(UserError, match="no file"):
    kdjax.pretrained.load(tmp_path / "net.gguf")


def test_blocks_may_say_themselves_which_have_a_window(tmp_path):
  pattern = [False, True, True, True, True, True, True]
  key = "ARCH__attention__sliding_window_pattern"
  path, _ = made(
    "gemma3", tmp_path, fields=fields_with(**{key: ("array", pattern)})
  )
  layers = kdjax.pretrained.load(path).network.module.config.layers
  assert [layer.window is not None for layer in layers] == pattern
