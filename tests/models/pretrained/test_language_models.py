"""Published language models: transformers' answers, from transformers' files.

The folders are made by make_language_models.py, which says what each is of.
"""

import dataclasses
import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import StorageError, UserError
from kdjax.models import decoder, grouped_attention
from kdjax.models.pretrained.files import load_safetensors

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
DECODERS = (
  "gemma2", "gemma3_text", "gpt2", "gpt2_scaled", "llama", "llama_bias",
  "llama_old", "llama_yarn", "mistral", "olmo2", "phi3", "qwen2", "qwen3",
  "smollm3",
)  # fmt: skip
ENCODERS = ("bert", "distilbert", "modernbert", "modernbert_mean", "roberta")
# Of the size of the logits; transformers computes in float32 too.
BOUND = 2e-5


@functools.cache
def answers(name):
  with np.load(FOLDER / name / "answers.npz") as file:
    return dict(file)


@functools.cache
def loaded(name):
  return kdjax.pretrained.load(FOLDER / name)


@functools.cache
def program(name):
  """One program a network, for (3, 11) tokens, as in `answers`."""
  network = loaded(name).network
  tap = "stage_1" if hasattr(network.module, "depth") else "norm"

  def program(variables, inputs):
    logits, features, _ = network.apply(variables, inputs, taps=(tap,))
    return logits, features[tap]

  return jax.jit(program)


def run(name, tokens, variables=None, **entries):
  inputs = {"tokens": jnp.asarray(tokens), **entries}
  variables = loaded(name).variables if variables is None else variables
  return tuple(map(np.asarray, program(name)(variables, inputs)))


def error(ours, theirs):
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("name", DECODERS + ENCODERS)
def test_logits_and_last_states_are_those_of_transformers(name):
  case = answers(name)
  logits, states = run(name, case["tokens"], mask=case["mask"])
  counts = case["mask"]
  rows = counts if logits.ndim == 3 else slice(None)
  assert error(logits[rows], case["logits"][rows]) < BOUND
  assert error(states[counts], case["last_hidden"][counts]) < BOUND


@pytest.mark.parametrize("name", DECODERS + ENCODERS)
def test_a_row_is_the_same_whatever_pads_it_and_stands_beside_it(name):
  case = answers(name)
  counts = case["mask"]
  logits, _ = run(name, case["tokens"], mask=counts)
  other = np.where(counts, case["tokens"], 7)
  other[0] = other[0, ::-1]
  again, _ = run(name, other, mask=counts)
  for row in (1, 2):
    places = counts[row] if logits.ndim == 3 else slice(None)
    np.testing.assert_array_equal(again[row, places], logits[row, places])
  assert not np.array_equal(again[0], logits[0])


@pytest.mark.parametrize("name", DECODERS + ENCODERS)
def test_is_written_as_it_was_read(name, tmp_path):
  saved, was = tmp_path / "saved", FOLDER / name
  pretrained = loaded(name)
  kdjax.pretrained.save(saved, pretrained.network, pretrained.variables)
  ours, theirs = load_safetensors(saved), load_safetensors(was)
  if name == "qwen2":  # the bare body, without its prefix
    theirs = {f"model.{key}": value for key, value in theirs.items()}
  assert ours.keys() == theirs.keys()
  for key, array in theirs.items():
    assert ours[key].dtype == array.dtype, key
    assert ours[key].tobytes() == array.tobytes(), key
  assert read_json(saved / "config.json") == read_json(was / "config.json")
  assert len({file.stat().st_mode for file in saved.iterdir()}) == 1


def read_json(path):
  return json.loads(path.read_text())


def greedy(name, prompts, count):
  """Decodes with a cache; also the logits of every step."""
  module = loaded(name).network.module
  length = max(map(len, prompts))
  tokens = np.zeros((len(prompts), length), np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, prompt in enumerate(prompts):
    tokens[row, : len(prompt)] = prompt
    mask[row, : len(prompt)] = True
  variables = loaded(name).variables

  def step(state, _):
    logits, cache = state
    ids = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    alive = jnp.ones((len(prompts), 1), bool)
    state = module.apply(variables, ids[:, None], alive, cache, method="decode")
    return state, (ids, logits)

  @jax.jit
  def all_of_it(tokens, mask):
    cache = decoder.empty_cache(module.config, len(prompts), length + count)
    state = module.apply(variables, tokens, mask, cache, method="decode")
    return jax.lax.scan(step, state, None, length=count)[1]

  ids, logits = all_of_it(tokens, mask)
  return np.asarray(ids).T, np.asarray(logits).swapaxes(0, 1)


@pytest.mark.slow  # the ids alone: test_generate
@pytest.mark.parametrize("name", DECODERS)
def test_decoding_with_a_cache_is_decoding_without(name):
  case = answers(name)
  prompts = case["prompt_0"], case["prompt_1"]
  ids, logits = greedy(name, prompts, 12)
  for row, prompt in enumerate(prompts):
    np.testing.assert_array_equal(ids[row], case[f"greedy_{row}"])
    whole = np.zeros((3, 11), np.int32)
    line = np.concatenate([prompt, ids[row]])[:11]
    whole[:, : len(line)] = line
    full, _ = run(name, whole, mask=jnp.ones((3, 11), bool))
    steps = 11 - len(prompt)
    ours = logits[row, :steps]
    assert error(ours, full[0, len(prompt) - 1 : 10]) < BOUND


SEGMENTS = np.array([[1] * 6 + [2] * 3 + [3] * 2] * 3)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[] if name == "phi3" else pytest.mark.slow)
    for name in DECODERS
  ],
)
def test_packed_documents_are_as_if_alone(name, monkeypatch):
  tokens = answers(name)["tokens"]
  packed, _ = run(name, tokens, segments=SEGMENTS)
  for number in (1, 2, 3):
    here = SEGMENTS[0] == number
    alone = np.zeros_like(tokens)
    alone[:, : here.sum()] = tokens[:, here]
    mask = np.zeros(tokens.shape, bool)
    mask[:, : here.sum()] = True
    separate, _ = run(name, alone, mask=mask)
    assert error(packed[:, here], separate[:, : here.sum()]) < BOUND
  changed = np.where(SEGMENTS == 1, tokens[:, ::-1], tokens)
  again, _ = run(name, changed, segments=SEGMENTS)
  later = SEGMENTS > 1
  np.testing.assert_array_equal(again[later], packed[later])
  assert not np.array_equal(again, packed)


def test_positions_that_restart_do_not_keep_documents_apart(monkeypatch):
  """What some packers do: position ids alone, and attention across them."""
  tokens, module = answers("phi3")["tokens"], loaded("phi3").network.module
  whole = grouped_attention.mask_of

  def leaking(visibility):
    keys = visibility.keys._replace(segments=None)
    return whole(dataclasses.replace(visibility, keys=keys))

  packed, _ = run("phi3", tokens, segments=SEGMENTS)
  monkeypatch.setattr(grouped_attention, "mask_of", leaking)
  wrong = jax.jit(module.apply)(
    loaded("phi3").variables, tokens, None, SEGMENTS
  )
  later = SEGMENTS > 1
  assert error(np.asarray(wrong)[later], packed[later]) > 100 * BOUND


def copied(name, folder, change):
  shutil.copytree(FOLDER / name, folder)
  config = read_json(folder / "config.json")
  change(config)
  (folder / "config.json").write_text(json.dumps(config))
  return folder


# What loaders have ignored, and the share of best ids that they had right.
IGNORED = {
  "rope_theta": ("llama_old", lambda c: c.update(rope_theta=9_000.0), 0.9),
  "rope_scaling": ("llama_old", lambda c: c.pop("rope_scaling"), 0.4),
  "query scale": ("gemma2", lambda c: c.update(query_pre_attn_scalar=6), 0.7),
  "window": ("mistral", lambda c: c.update(sliding_window=None), 0.6),
  "epsilon": ("llama_old", lambda c: c.update(rms_norm_eps=1e-3), 0.9),
}


@pytest.mark.parametrize(
  "what",
  [
    pytest.param(x, marks=[] if x == "rope_theta" else pytest.mark.slow)
    for x in IGNORED
  ],
)
def test_an_ignored_setting_shows_in_the_logits_and_hardly_in_the_best_ids(
  what, tmp_path
):
  name, change, right_ids = IGNORED[what]
  case = answers(name)
  folder = copied(name, tmp_path / "wrong", change)
  pretrained = kdjax.pretrained.load(folder)
  inputs = {"tokens": jnp.asarray(case["tokens"]), "mask": case["mask"]}
  logits = jax.jit(lambda v, x: pretrained.network.apply(v, x)[0])(
    pretrained.variables, inputs
  )
  counts = case["mask"]
  logits, right = np.asarray(logits)[counts], case["logits"][counts]
  assert error(logits, right) > 5 * BOUND
  assert np.mean(logits.argmax(-1) == right.argmax(-1)) > right_ids


def test_the_head_is_the_layer_that_reads_the_last_norm():
  for name in ("llama", "gemma3_text"):
    case, pretrained = answers(name), loaded(name)
    logits, states = run(name, case["tokens"], mask=case["mask"])
    layer = pretrained.network.classifier(pretrained.variables)
    assert layer["kernel"].shape == (16, 61) and layer["bias"].shape == (61,)
    ours = states @ np.asarray(layer["kernel"])
    np.testing.assert_allclose(ours, logits, atol=1e-5 * np.abs(logits).max())


def test_logits_cost_nothing_where_only_states_are_used():
  network = loaded("gemma2").network
  program = jax.jit(lambda v, x: network.apply(v, x, taps=("norm",))[1]["norm"])
  tokens = jax.ShapeDtypeStruct((2, 5), jnp.int32)
  text = program.lower(loaded("gemma2").variables, {"tokens": tokens}).compile()
  assert "2,5,61" not in text.as_text()


def test_taps_of_transformers_are_those_of_every_network():
  case, pretrained = answers("qwen3"), loaded("qwen3")
  shapes = jax.eval_shape(
    lambda v, x: pretrained.network.apply(
      v,
      x,
      taps=("stem", "stage_*", "stage_0/attention:weights", "stage_*/*/key"),
    )[1],
    pretrained.variables,
    {"tokens": case["tokens"]},
  )
  assert {tap: x.shape for tap, x in shapes.items()} == {
    "stem": (3, 11, 16),
    **{f"stage_{i}": (3, 11, 16) for i in range(3)},
    "stage_0/attention:weights": (3, 4, 11, 11),
    **{f"stage_{i}/attention/key": (3, 11, 2, 6) for i in range(3)},
  }


def body_of(name, folder, **files):
  """An encoder without its classifier, with files beside it."""
  from safetensors.numpy import save_file

  copied(name, folder, lambda config: None)
  tensors = load_safetensors(folder)
  for shard in folder.glob("*.safetensors*"):
    shard.unlink()
  kept = {key: x for key, x in tensors.items() if "classifier" not in key}
  save_file(kept, folder / "model.safetensors")
  for file, content in files.items():
    place = folder / file.replace("__", "/")
    place.parent.mkdir(exist_ok=True)
    place.with_suffix(".json").write_text(json.dumps(content))
  return folder


POOLING = {"pooling_mode_mean_tokens": True}
MODULES = [{"type": f"sentence_transformers.models.{x}"}
           for x in ("Transformer", "Pooling", "Normalize")]  # fmt: skip


@pytest.mark.parametrize(
  ("name", "files", "pool"),
  [
    ("bert", {}, "pooler"),
    ("distilbert", {}, "cls"),
    ("bert", {"modules": MODULES, "1_Pooling__config": POOLING}, "mean"),
  ],
)
def test_an_encoder_without_a_classifier_gives_embeddings(
  name, files, pool, tmp_path
):
  pretrained = kdjax.pretrained.load(body_of(name, tmp_path / "body", **files))
  case = answers(name)
  inputs = {"tokens": case["tokens"], "mask": case["mask"]}
  apply = jax.jit(lambda v, x: pretrained.network.apply(v, x)[0])
  rows = np.asarray(apply(pretrained.variables, inputs))
  states = case["last_hidden"]
  if pool == "mean":
    weights = case["mask"][..., None]
    rows_of_them = (states * weights).sum(1) / weights.sum(1)
    rows_of_them /= np.linalg.norm(rows_of_them, axis=1, keepdims=True)
  elif pool == "cls":
    rows_of_them = states[:, 0]
  else:
    pooler = pretrained.variables["params"]["pooler"]
    pooler = jax.tree.map(np.asarray, pooler)
    rows_of_them = np.tanh(states[:, 0] @ pooler["kernel"] + pooler["bias"])
  assert error(rows, rows_of_them) < BOUND
  saved = tmp_path / "saved"
  kdjax.pretrained.save(saved, pretrained.network, pretrained.variables)
  assert kdjax.pretrained.load(saved).network == pretrained.network


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_is_that_of_the_variables_and_of_what_is_written(
  dtype, tmp_path
):
  pretrained = kdjax.pretrained.load(FOLDER / "mistral", dtype=dtype)
  leaves = jax.tree.leaves(pretrained.variables)
  assert {x.dtype.name for x in leaves} == {dtype}
  saved = tmp_path / "saved"
  kdjax.pretrained.save(saved, pretrained.network, pretrained.variables)
  tensors = load_safetensors(saved)
  assert {x.dtype.name for x in tensors.values()} == {dtype}
  assert read_json(saved / "config.json")["dtype"] == dtype


def test_nothing_is_rounded_when_what_was_trained_is_written(tmp_path):
  pretrained = loaded("qwen3")  # stored in bfloat16
  variables = jax.tree.map(lambda x: x + 1e-3, pretrained.variables)
  kdjax.pretrained.save(tmp_path / "saved", pretrained.network, variables)
  again = kdjax.pretrained.load(tmp_path / "saved")
  jax.tree.map(np.testing.assert_array_equal, again.variables, variables)
  assert read_json(tmp_path / "saved" / "config.json")["dtype"] == "float32"


def drop(folder, name):
  """Leaves a tensor out of a folder of one file."""
  from safetensors.numpy import save_file

  tensors = load_safetensors(folder)
  tensors.pop(name)
  save_file(tensors, folder / "model.safetensors")


def add(folder, name, shape, value=0, dtype=np.float32):
  from safetensors.numpy import save_file

  tensors = load_safetensors(folder) | {name: np.full(shape, value, dtype)}
  save_file(tensors, folder / "model.safetensors")


def copy_tokenizer(folder):
  tokenizer = FOLDER.parent.parent / "tokenizers" / "byte_level"
  shutil.copy(tokenizer / "tokenizer.json", folder)


def empty(folder):
  for file in folder.iterdir():
    file.unlink()


# What is wrong: (folder, what is changed of the config, what else is done, the
# words that name it).
REFUSED = {
  "unknown type": ("llama", {"model_type": "lama"}, None, "mean 'llama'"),
  "no type": ("llama", {"model_type": None}, None, "Choices: "),
  "quantised": ("llama", {"quantization_config": {"bits": 4}}, None, "quantis"),
  "remote code": ("llama", {"auto_map": {"AutoModel": "x.Y"}}, None, "auto_map"),
  "no width": ("llama", {"hidden_size": None}, None, "hidden_size"),
  "heads": ("llama_old", {"num_attention_heads": 3}, None, "must divide"),
  "groups": ("llama", {"num_key_value_heads": 3}, None, "must divide the 4"),
  "depth": ("llama", {"num_hidden_layers": "3"}, None, "num_hidden_layers"),
  "negative": ("llama", {"vocab_size": -1}, None, "vocab_size"),
  "epsilon": ("llama", {"rms_norm_eps": 0}, None, "rms_norm_eps"),
  "activation": ("llama", {"hidden_act": "sillu"}, None, "mean 'silu'"),
  "rope": ("llama", {"rope_parameters": {"rope_type": "lama3"}}, None, "'llama3'"),
  "rope factor": (
    "llama", {"rope_parameters": {"rope_type": "linear"}}, None, "needs factor",
  ),
  "theta": ("llama_old", {"rope_theta": "10000"}, None, "rope_theta"),
  "few types": ("gemma2", {"layer_types": ["full_attention"]}, None, "1 entries"),
  "odd types": ("gemma2", {"layer_types": ["full"] * 3}, None, "layer_types"),
  "both ways": ("gemma2", {"use_bidirectional_attention": True}, None, "bidirec"),
  "cross": ("gpt2", {"add_cross_attention": True}, None, "add_cross_attention"),
  "few ropes": ("smollm3", {"no_rope_layers": [1]}, None, "no_rope_layers has 1"),
  "window": ("mistral", {"sliding_window": 0}, None, "sliding_window"),
  "longrope": (
    "phi3",
    {"rope_parameters": {
      "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0],
      "long_factor": [1.0]}},
    None, "short_factor has 1 numbers",
  ),
  "other width": ("llama", {"hidden_size": 32}, None, "model.embed_tokens.weight"),
  "other depth": ("llama", {"num_hidden_layers": 2}, None, "no place in the model"),
  "missing": (
    "mistral", {}, lambda f: drop(f, "model.layers.1.mlp.up_proj.weight"),
    "missing: model.layers.1.mlp.up_proj.weight",
  ),
  "superfluous": (
    "mistral", {}, lambda f: add(f, "score.weight", (3, 16)), "score.weight",
  ),
  "misshapen": (
    "mistral", {}, lambda f: add(f, "model.norm.weight", (17,)),
    "model.norm.weight has the shape (17,)",
  ),
  "two heads": (
    "smollm3", {}, lambda f: add(f, "lm_head.weight", (61, 16)),
    "tie_word_embeddings",
  ),
  "no head": (
    "gemma2", {"tie_word_embeddings": False}, None, "missing: lm_head.weight",
  ),
  "relative": (
    "bert", {"position_embedding_type": "relative_key"}, None, "absolute",
  ),
  "as a decoder": ("roberta", {"is_decoder": True}, None, "is_decoder"),
  "pooling": ("modernbert", {"classifier_pooling": "max"}, None, "'mean'"),
  "other classes": (
    "bert", {"id2label": {"0": "A", "1": "B"}}, None,
    "classifier.weight has the shape (3, 16)",
  ),
  "rope of no kind": ("llama", {"rope_parameters": 3}, None, "by name, got 3"),
  "rope type": (
    "llama", {"rope_parameters": {"rope_type": ["linear"]}}, None, "rope_type",
  ),
  "rope NaN": (
    "llama",
    {"rope_parameters": {"rope_type": "linear", "factor": float("nan")}},
    None, "no frequencies come of",
  ),
  "rope text": (
    "llama", {"rope_parameters": {"rope_type": "linear", "factor": "x"}}, None,
    "no frequencies come of",
  ),
  "no length": (
    "llama_yarn",
    {"rope_parameters": {
      "rope_type": "yarn", "factor": 2.0,
      "original_max_position_embeddings": -1}},
    None, "no frequencies come of",
  ),
  "nothing turned": (
    "phi3", {"partial_rotary_factor": float("nan"), "rope_parameters": None},
    None, "partial_rotary_factor",
  ),
  "NaN": ("gemma2", {"query_pre_attn_scalar": float("nan")}, None, "query_pre"),
  "infinite": ("qwen3", {"rms_norm_eps": float("inf")}, None, "rms_norm_eps"),
  "enormous": ("qwen3", {"vocab_size": 2**70}, None, "vocab_size"),
  "a list": ("qwen3", {"hidden_act": ["silu"]}, None, "unknown hidden_act"),
  "no list": ("gemma2", {"layer_types": 3}, None, "layer_types has no entries"),
  "no rope list": ("smollm3", {"no_rope_layers": 3}, None, "has no entries"),
  "no flag": ("qwen3", {"tie_word_embeddings": "no"}, None, "true or false"),
  "no names": ("bert", {"id2label": 3}, None, "id2label"),
  "dropout": ("bert", {"hidden_dropout_prob": 1.5}, None, "in [0, 1)"),
  "not finite": (
    "mistral", {}, lambda f: add(f, "model.norm.weight", (16,), np.nan),
    "model.norm.weight holds values not finite",
  ),
  "whole numbers": (
    "mistral", {}, lambda f: add(f, "model.norm.weight", (16,), dtype=np.int32),
    "model.norm.weight holds int32",
  ),
  "another's tokenizer": (
    "llama", {}, lambda f: copy_tokenizer(f), "its network 61",
  ),
  "empty folder": ("llama", {}, lambda f: empty(f), "config.json"),
  "no config": ("llama", {}, lambda f: (f / "config.json").unlink(), "no file"),
  "broken config": (
    "llama", {}, lambda f: (f / "config.json").write_text("{"), "no JSON",
  ),
  "no weights": (
    "llama", {}, lambda f: (f / "model.safetensors").unlink(),
    "without a safetensors file",
  ),
  "a pickle": (
    "llama", {},
    lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    "pickle",
  ),
  "a lost shard": (
    "llama_bias", {},
    lambda f: (f / "model-00002-of-00003.safetensors").unlink(), "no file",
  ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_a_line_that_names_it(what, tmp_path):
  name, changes, act, words = REFUSED[what]
  folder = copied(name, tmp_path / "bad", lambda c: c.update(changes))
  if act:
    act(folder)
  with pytest.raises(UserError) as caught:
    kdjax.pretrained.load(folder)
  assert words in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
  ("where", "options", "words"),
  [
    ("nowhere", {}, "no folder"),
    (__file__, {}, "a file"),
    (FOLDER / "llama", {"dtype": "float8"}, "dtype"),
  ],
)
def test_refused_before_anything_is_read(where, options, words):
  with pytest.raises(UserError, match=words):
    kdjax.pretrained.load(where, **options)


def test_a_damaged_file_is_no_mistake_of_the_user(tmp_path):
  folder = copied("llama", tmp_path / "cut", lambda config: None)
  data = (folder / "model.safetensors").read_bytes()
  for bytes_left in (0, 5, 200, len(data) - 1):
    (folder / "model.safetensors").write_bytes(data[:bytes_left])
    with pytest.raises(StorageError, match="damaged or no safetensors"):
      kdjax.pretrained.load(folder)


def test_writing_keeps_what_is_there(tmp_path):
  pretrained = loaded("llama")
  (tmp_path / "mine.txt").write_text("text")
  with pytest.raises(UserError, match="holds something"):
    kdjax.pretrained.save(tmp_path, pretrained.network, pretrained.variables)
  assert [x.name for x in tmp_path.iterdir()] == ["mine.txt"]


def test_a_network_without_a_config_cannot_be_written(tmp_path):
  from kdjax.models import make_model

  network = kdjax.from_linen(make_model("mlp(3)", classes=2))
  with pytest.raises(UserError, match="config.json"):
    kdjax.pretrained.save(tmp_path / "new", network, {})
