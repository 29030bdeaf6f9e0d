"""What a GGUF file says of its network, as a config.json.

A file says of what architecture it is and gives sizes; whatever is the same in every
network of an architecture it leaves to the program that reads it. The values are
those of llama.cpp.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.errors import UserError, unknown_name
from kdjax.models.pretrained.new import new_config
from kdjax.models.pretrained.values import whole

# Fields by name, as the package gguf reads them.
Fields = Mapping[str, Any]


class Family(NamedTuple):
  """How an architecture of GGUF becomes a `model_type`.

  Attributes:
    model_type: of transformers.
    interleaved: rotary positions turn neighbouring features of queries and keys,
      whose weights are permuted for it; else features half a head apart.
    offset: what the scales of normalisations are too large by.
  """

  model_type: str
  interleaved: bool = False
  offset: float = 0.0


# By GGUF's names of architectures.
FAMILIES = {
  "gpt2": Family("gpt2"),
  "llama": Family("llama", interleaved=True),
  "qwen2": Family("qwen2"),
  "qwen3": Family("qwen3"),
  "gemma2": Family("gemma2", offset=1.0),
  "gemma3": Family("gemma3_text", offset=1.0),
  "smollm3": Family("smollm3", interleaved=True),
  "olmo2": Family("olmo2"),
  "phi3": Family("phi3"),
}
# config.json's names, and GGUF's behind the architecture's.
_SIZES = {
  "hidden_size": "embedding_length",
  "intermediate_size": "feed_forward_length",
  "num_hidden_layers": "block_count",
  "num_attention_heads": "attention.head_count",
  "max_position_embeddings": "context_length",
}
_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
# The largest Gemmas, by number of blocks, scale scores by the width of a head as
# if heads shared the hidden size.
_LARGEST_GEMMAS = {"gemma2": 46, "gemma3": 62}
# Tensors that are settings: divisors of rotary frequencies.
ROPE_FACTORS = "rope_freqs.weight"
SHORT_FACTORS = "rope_factors_short.weight"
LONG_FACTORS = "rope_factors_long.weight"
ROPE_TENSORS = (ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS)


def family_of(fields: Fields) -> Family:
  """Finds the family of a file.

  Raises:
    UserError: for an architecture that is not known.
  """
  name = fields.get("general.architecture")
  if name not in FAMILIES:
    raise unknown_name("architecture", str(name), FAMILIES)
  return FAMILIES[name]


def gguf_config(
  fields: Fields, tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Writes the config.json of a file's network.

  Args:
    fields: its values by name.
    tensors: its arrays by GGUF's names.

  Raises:
    UserError: for an architecture that is not known, a field that is missing, or
      a setting that its network does not have here.
  """
  family, name = family_of(fields), fields["general.architecture"]
  settings = {
    key.removeprefix(f"{name}."): _plain(value)
    for key, value in fields.items()
    if key.startswith(f"{name}.")
  }
  if missing := [x for x in _SIZES.values() if x not in settings]:
    raise UserError(f"there is no {name}.{missing[0]}")
  if "token_embd.weight" not in tensors:
    raise UserError("there is no tensor token_embd.weight")
  values = {theirs: settings[ours] for theirs, ours in _SIZES.items()}
  values |= _attention(name, values, settings)
  values |= _windows(name, settings)
  values |= _scaling(name, values, settings, tensors)
  values |= {
    "vocab_size": len(tensors["token_embd.weight"]),
    "rope_theta": settings.get("rope.freq_base", 10_000.0),
    "rms_norm_eps": _epsilon(name, settings),
    "tie_word_embeddings": "output.weight" not in tensors,
  }
  for theirs, ours in _IDS.items():
    values[theirs] = fields.get(f"tokenizer.ggml.{ours}_token_id")
  kind = family.model_type
  if kind == "llama":
    biases = {"attention_bias": "attn_q", "mlp_bias": "ffn_up"}
    values |= {key: f"blk.0.{x}.bias" in tensors for key, x in biases.items()}
    # Mistral's files call themselves so.
    kind = "mistral" if values.get("sliding_window") else kind
  return new_config(kind, values)


def _plain(value: Any) -> Any:
  """A number as it was before it was stored in 32 bits, such as 1e-05."""
  return float(str(np.float32(value))) if isinstance(value, float) else value


def _epsilon(name: str, settings: Fields) -> float:
  for key in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
    if f"attention.{key}" in settings:
      return settings[f"attention.{key}"]
  raise UserError(f"there is no {name}.attention.layer_norm_rms_epsilon")


def _attention(name: str, values: Fields, settings: Fields) -> dict[str, Any]:
  heads, width = (
    whole(values, x) for x in ("num_attention_heads", "hidden_size")
  )
  turned = settings.get("rope.dimension_count")
  head_width = settings.get("attention.key_length")
  if head_width is None:
    partial = name == "phi3" or not turned
    head_width = width // heads if partial else turned
  if settings.get("attention.value_length", head_width) != head_width:
    raise UserError("keys and values of different width are not computed here")
  more = {}
  if turned and turned != head_width:
    more["partial_rotary_factor"] = turned / head_width
  if "gemma" in name:
    largest = values["num_hidden_layers"] == _LARGEST_GEMMAS[name]
    more["query_pre_attn_scalar"] = width // heads if largest else head_width
    for ours in ("attn", "final"):
      cap = settings.get(f"{ours}_logit_softcapping")
      more |= {f"{ours}_logit_softcapping": cap} if cap else {}
  groups = settings.get("attention.head_count_kv", heads)
  return {"head_dim": head_width, "num_key_value_heads": groups} | more


def _windows(name: str, settings: Fields) -> dict[str, Any]:
  """Windows, and which blocks have one where a file says so."""
  # 0 says that there is none.
  window = settings.get("attention.sliding_window") or None
  pattern = settings.get("attention.sliding_window_pattern")
  if window and name not in ("llama", "gemma2", "gemma3", "phi3"):
    raise UserError(f"{name} with a sliding window is not computed here")
  if window is None:
    return {"sliding_window": None} if name == "phi3" else {}
  values = {"sliding_window": window}
  if pattern is not None:
    depth = settings["block_count"]
    if not isinstance(pattern, list):
      pattern = [(i + 1) % pattern > 0 for i in range(depth)]
    kinds = "full_attention", "sliding_attention"
    values["layer_types"] = [kinds[bool(one)] for one in pattern]
  if (theta := settings.get("rope.freq_base_swa")) is not None:
    values["rope_local_base_freq"] = theta
  return values


def _scaling(
  name: str,
  values: Fields,
  settings: Fields,
  tensors: Mapping[str, np.ndarray],
) -> dict[str, Any]:
  """How rotary frequencies are scaled."""
  kind = settings.get("rope.scaling.type", "none")
  original = settings.get("rope.scaling.original_context_length")
  factors_by_name = {
    x: tensors[x] for x in (SHORT_FACTORS, LONG_FACTORS) if x in tensors
  }
  if len(factors_by_name) == 2:
    longest = values["max_position_embeddings"]
    original = original or longest
    scaling = _longrope(
      factors_by_name[SHORT_FACTORS], factors_by_name[LONG_FACTORS], original
    )
    attention = settings.get("rope.scaling.attn_factor")
    if attention is not None and not math.isclose(
      attention, _length_factor(longest, original), rel_tol=1e-6
    ):
      scaling["attention_factor"] = attention
    more = {"original_max_position_embeddings": original}
    return {"rope_scaling": scaling} | (more if name == "phi3" else {})
  if ROPE_FACTORS in tensors:
    theta = settings.get("rope.freq_base", 10_000.0)
    factors = tensors[ROPE_FACTORS]
    scaling = _llama3(factors, theta) or _longrope(
      factors, factors, values["max_position_embeddings"], attention_factor=1.0
    )
    return {"rope_scaling": scaling}
  if kind in ("none", "longrope"):
    return {}
  if kind not in ("linear", "yarn"):
    raise unknown_name("rope.scaling.type", str(kind), ("linear", "yarn"))
  scaling = {"rope_type": kind, "factor": settings.get("rope.scaling.factor")}
  if kind == "yarn":
    scaling["original_max_position_embeddings"] = original
    for ours in ("beta_fast", "beta_slow"):
      if (value := settings.get(f"rope.scaling.yarn_{ours}")) is not None:
        scaling[ours] = value
  return {"rope_scaling": scaling}


def _longrope(short, long, original: int, **more: float) -> dict[str, Any]:
  return {
    "rope_type": "longrope",
    "short_factor": [_plain(float(x)) for x in short],
    "long_factor": [_plain(float(x)) for x in long],
    "original_max_position_embeddings": original,
    **more,
  }


def _length_factor(longest: int, original: int) -> float:
  """What longrope multiplies rotated features by where nothing else is said."""
  grown = longest / original
  return math.sqrt(1 + math.log(grown) / math.log(original)) if grown > 1 else 1


def _llama3(factors: np.ndarray, theta: float) -> dict[str, Any] | None:
  """The settings that Llama 3's divisors come from; None for other divisors.

  Slow frequencies are divided by one factor, fast ones by 1, with a ramp between
  that tells the length at which they were trained.
  """
  factor, share = float(factors.max()), np.arange(len(factors)) / len(factors)
  waves = 2 * math.pi * theta**share
  ramp = np.flatnonzero((factors > 1) & (factors < factor))
  if factor <= 1 or not len(ramp):
    return None
  low, high, one = 1.0, 4.0, ramp[0]
  smooth = (1 / float(factors[one]) - 1 / factor) / (1 - 1 / factor)
  length = round(float(waves[one]) * (smooth * (high - low) + low))
  smooth = np.clip((length / waves - low) / (high - low), 0, 1)
  expected = 1 / ((1 - smooth) / factor + smooth)
  if not np.allclose(factors, expected, rtol=1e-4):
    return None
  return {
    "rope_type": "llama3",
    "factor": factor,
    "low_freq_factor": low,
    "high_freq_factor": high,
    "original_max_position_embeddings": length,
  }
