"""Makes tests/models/golden/language_models: tiny networks with transformers' answers.

  pip install torch transformers==5.24.0 && python tests/models/pretrained/make_language_models.py

Every weight is random. Beside config.json and the weights each folder has
answers.npz: tokens, mask, logits, the last hidden states and, of decoders, greedy
continuations of two prompts.
"""

import json
import pathlib
import shutil
import zlib

import numpy as np
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
DECODER = {
  "vocab_size": 61, "hidden_size": 16, "intermediate_size": 24,
  "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
  "pad_token_id": 0,
}  # fmt: skip
ENCODER = {
  "vocab_size": 61, "hidden_size": 16, "intermediate_size": 24,
  "num_hidden_layers": 2, "num_attention_heads": 4,
  "max_position_embeddings": 24, "num_labels": 3, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {
  "vocab_size": 61, "n_embd": 16, "n_head": 4, "n_positions": 48,
  "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
DISTIL = {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4}
SPECIAL = {
  "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip


def rope(kind, theta=1e4, **values):
  return {"rope_type": kind, "rope_theta": theta, **values}


LLAMA3 = rope(
  "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
  original_max_position_embeddings=16,
)  # fmt: skip
YARN = rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=16)
LONGROPE = rope(
  "longrope", partial_rotary_factor=0.5, factor=2.0,
  short_factor=[1.0, 1.5], long_factor=[1.0, 4.0],
)  # fmt: skip
LINEAR_GLOBAL = {
  "full_attention": rope("linear", 1e6, factor=8.0),
  "sliding_attention": rope("default"),
}
# name: (model_type, what is not as above, how it is stored).
CASES = {
  "gpt2": ("gpt2", {"n_layer": 3, "n_inner": 20}, "f32"),
  "gpt2_scaled": (
    "gpt2",
    {
      "n_layer": 2, "n_head": 2, "scale_attn_by_inverse_layer_idx": True,
      "tie_word_embeddings": False, "activation_function": "relu",
    },
    "bf16",
  ),
  "llama": (
    "llama",
    {"head_dim": 6, "rope_parameters": LLAMA3, "tie_word_embeddings": False},
    "bf16",
  ),
  "llama_old": (
    "llama",
    {"rope_parameters": LLAMA3, "tie_word_embeddings": False},
    "old",
  ),
  "llama_bias": (
    "llama",
    {
      "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
      "num_key_value_heads": 4, "rope_parameters": rope("linear", 1e5, factor=3.0),
    },
    "shards",
  ),
  "llama_yarn": ("llama", {"rope_parameters": YARN}, "f16"),
  "qwen2": (
    "qwen2",
    {
      "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
      "rope_parameters": rope("default", 1e6), "tie_word_embeddings": True,
    },
    "bare",
  ),
  "qwen3": (
    "qwen3", {"head_dim": 6, "rope_parameters": rope("default", 1e6)}, "bf16",
  ),
  "mistral": ("mistral", {"sliding_window": 5, "head_dim": 10}, "f32"),
  "gemma2": (
    "gemma2",
    {
      "head_dim": 6, "query_pre_attn_scalar": 11, "sliding_window": 4,
      "attn_logit_softcapping": 3.0, "final_logit_softcapping": 25.0,
    },
    "bf16",
  ),
  "gemma3_text": (
    "gemma3_text",
    {
      "num_hidden_layers": 7, "head_dim": 6, "query_pre_attn_scalar": 9,
      "sliding_window": 4, "rope_parameters": LINEAR_GLOBAL,
    },
    "bf16",
  ),
  "smollm3": (
    "smollm3", {"num_hidden_layers": 4, "no_rope_layer_interval": 2}, "f32",
  ),
  "olmo2": ("olmo2", {"rope_parameters": rope("default", 5e5)}, "bf16"),
  "phi3": (
    "phi3",
    {
      "num_attention_heads": 2, "num_key_value_heads": 1,
      "rope_parameters": LONGROPE, "sliding_window": 6,
      "original_max_position_embeddings": 40,
    },
    "bf16",
  ),
  "bert": ("bert", {"type_vocab_size": 2}, "shards"),
  "roberta": ("roberta", {"type_vocab_size": 1, "pad_token_id": 1}, "bf16"),
  "distilbert": ("distilbert", DISTIL, "f32"),
  "modernbert": (
    "modernbert",
    {"num_hidden_layers": 4, "local_attention": 4, **SPECIAL},
    "bf16",
  ),
  "modernbert_mean": (
    "modernbert",
    {
      "num_hidden_layers": 3, "local_attention": 6, "classifier_pooling": "mean",
      "global_attn_every_n_layers": 2, "norm_bias": True, "mlp_bias": True,
      "attention_bias": True, "classifier_bias": True, **SPECIAL,
    },
    "f32",
  ),
}  # fmt: skip
DTYPES = {"bf16": torch.bfloat16, "old": torch.bfloat16, "f16": torch.float16}


def build(name, kind, options, stored):
  """The network in float32, with numbers that its storage holds exactly."""
  encoder = "bert" in kind
  values = ENCODER if encoder else GPT2 if kind == "gpt2" else DECODER
  values = values | options
  config = transformers.CONFIG_MAPPING[kind](**values)
  auto = transformers.AutoModelForCausalLM
  if encoder:
    auto = transformers.AutoModelForSequenceClassification
  model = auto.from_config(config, attn_implementation="eager").eval()
  random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
  for path, weight in model.named_parameters():
    matrix = weight.ndim > 1
    centre = 0.0 if matrix or "bias" in path or "gemma" in kind else 1.0
    noise = torch.randn(weight.shape, generator=random)
    new = centre + noise * (0.4 if matrix else 0.2)
    weight.data = new.to(DTYPES.get(stored, torch.float32)).float()
  model.tie_weights()
  return model


@torch.no_grad()
def answers(model, name):
  decoder = hasattr(model, "lm_head")
  random = np.random.default_rng(zlib.crc32(name.encode()))
  tokens = random.integers(3, 61, (3, 11))
  mask = np.arange(11)[None] < np.array([[11], [8], [3]])
  tokens[~mask] = model.config.pad_token_id or 0
  out = model(
    input_ids=torch.tensor(tokens),
    attention_mask=torch.tensor(mask).long(),
    output_hidden_states=True,
  )
  made = {
    "tokens": tokens.astype(np.int32),
    "mask": mask,
    "logits": out.logits.numpy(),
    "last_hidden": out.hidden_states[-1].numpy(),
  }
  for i, length in enumerate((7, 3) if decoder else ()):
    prompt = torch.tensor(tokens[i : i + 1, :length])
    longer = model.generate(
      prompt, max_new_tokens=12, do_sample=False, eos_token_id=None,
      pad_token_id=0,
    )  # fmt: skip
    made[f"prompt_{i}"] = tokens[i, :length].astype(np.int32)
    made[f"greedy_{i}"] = longer[0, length:].numpy().astype(np.int32)
  return made


def write(folder, model, stored):
  dtype = DTYPES.get(stored, torch.float32)
  size = "12KB" if stored == "shards" else "1GB"
  (model.model if stored == "bare" else model).to(dtype).save_pretrained(
    folder, max_shard_size=size
  )
  (folder / "generation_config.json").unlink(missing_ok=True)
  path = folder / "config.json"
  config = json.loads(path.read_text())
  if stored == "bare":
    config["architectures"] = [type(model).__name__]
  if stored == "old":
    settings = config.pop("rope_parameters")
    config["rope_theta"] = settings.pop("rope_theta")
    config |= {"rope_scaling": settings, "torch_dtype": config.pop("dtype")}
  path.write_text(json.dumps(config, indent=1) + "\n")


def main():
  for name, (kind, options, stored) in CASES.items():
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model = build(name, kind, options, stored)
    made = answers(model, name)
    write(folder, model, stored)
    np.savez_compressed(folder / "answers.npz", **made)
    print(name, float(np.abs(made["logits"]).max()))


if __name__ == "__main__":
  main()
