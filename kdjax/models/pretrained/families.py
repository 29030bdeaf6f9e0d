"""What a `config.json` of a language model says, as our decoder's switches.

A family is a `model_type` of transformers: the values that its files may leave
out, and what it differs in from a plain Llama. Old files have `rope_theta` and
`rope_scaling` where new ones have `rope_parameters`; both are read.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from kdjax.core.errors import UserError, unknown_name
from kdjax.models.pretrained.values import (
  activation,
  flag,
  mapping,
  number,
  whole,
)
from kdjax.models.rope import Rope, make_rope
from kdjax.models.transformer_config import Layer, TransformerConfig

Config = Mapping[str, Any]

_LLAMA = {
  "hidden_act": "silu",
  "rms_norm_eps": 1e-6,
  "rope_theta": 10_000.0,
  "tie_word_embeddings": False,
}
_QWEN = _LLAMA | {"max_window_layers": 28, "sliding_window": 4096}
_GEMMA = _LLAMA | {
  "attn_logit_softcapping": None,
  "final_logit_softcapping": None,
  "head_dim": 256,
  "hidden_act": "gelu_pytorch_tanh",
  "num_key_value_heads": 4,
  "query_pre_attn_scalar": 256,
  "sliding_window": 4096,
  "tie_word_embeddings": True,
}
# What a family's configs mean by what they leave out.
DEFAULTS = {
  "gpt2": {
    "hidden_act": "gelu_new",
    "rms_norm_eps": 1e-5,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
  },
  "llama": _LLAMA,
  "qwen2": _QWEN,
  "qwen3": _QWEN | {"head_dim": 128},
  "mistral": _LLAMA | {"num_key_value_heads": 8, "sliding_window": 4096},
  "gemma2": _GEMMA
  | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
  "gemma3_text": _GEMMA
  | {"rope_theta": 1_000_000.0, "sliding_window_pattern": 6},
  "smollm3": _LLAMA
  | {
    "no_rope_layer_interval": 4,
    "num_key_value_heads": 4,
    "rope_theta": 2_000_000.0,
    "tie_word_embeddings": True,
  },
  "olmo2": _LLAMA | {"rms_norm_eps": 1e-5},
  "phi3": _LLAMA
  | {"original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
}
# Where null says something else than nothing.
_NULLABLE = {
  "attn_logit_softcapping", "final_logit_softcapping", "sliding_window",
}  # fmt: skip
_OTHER_NAMES = {
  "activation_function": "hidden_act",
  "hidden_activation": "hidden_act",
  "layer_norm_epsilon": "rms_norm_eps",
  "n_embd": "hidden_size",
  "n_head": "num_attention_heads",
  "n_inner": "intermediate_size",
  "n_layer": "num_hidden_layers",
  "n_positions": "max_position_embeddings",
  "_sliding_window_pattern": "sliding_window_pattern",
}
# What would change the answers and is not computed here.
_REFUSED = ("add_cross_attention", "use_bidirectional_attention")


def decoder_config(config: Config) -> TransformerConfig:
  """Reads the switches of a decoder.

  Args:
    config: a config.json's values; its model_type is one of `DEFAULTS`.

  Raises:
    UserError: for a value that is missing, impossible, or of what the decoder
      does not compute.

  Example:
    >>> config = decoder_config({
    ...   "model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
    ...   "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 11,
    ...   "max_position_embeddings": 32,
    ... })
    >>> config.head_width, config.groups, len(config.layers)
    (2, 4, 2)
  """
  family = config["model_type"]
  values = {_OTHER_NAMES.get(key, key): x for key, x in config.items()}
  values = DEFAULTS[family] | {
    key: x for key, x in values.items() if x is not None or key in _NULLABLE
  }
  for name in _REFUSED:
    if values.get(name):
      raise UserError(f"{name} is {values[name]}; possible: false")
  built = _READERS[family](values)
  return dataclasses.replace(
    built,
    stored=json.dumps(dict(config), sort_keys=True),
    dtype=config.get("dtype") or config.get("torch_dtype") or "float32",
  )


def rope_settings(values: Config) -> Config:
  """What a config says of rotary positions, in files of today or of before."""
  return mapping(values, "rope_parameters") or mapping(values, "rope_scaling")


def ropes_by_type(values: Config, head_width: int) -> dict[str, Rope]:
  """Reads the rotary positions of each type of layer.

  Returns:
    Rope by "full_attention" and "sliding_attention".
  """
  settings = rope_settings(values)
  local = {"rope_theta": values.get("rope_local_base_freq")}
  nested = {"full_attention": settings, "sliding_attention": settings}
  if nested.keys() & settings.keys():
    nested = nested | {key: mapping(settings, key) for key in nested}
  elif local["rope_theta"]:
    nested["sliding_attention"] = local
  return {key: _rope(values, one, head_width) for key, one in nested.items()}


def layer_types(values: Config, default: Callable[[int], bool]) -> list[str]:
  """Returns each block's type of attention.

  Args:
    default: block's number -> whether it has a window, where no list says so.
  """
  depth = whole(values, "num_hidden_layers")
  names = "full_attention", "sliding_attention"
  types = values.get("layer_types") or [
    names[bool(default(i))] for i in range(depth)
  ]
  if not isinstance(types, list) or len(types) != depth:
    entries = len(types) if isinstance(types, list) else "no"
    raise UserError(
      f"layer_types has {entries} entries for {depth} num_hidden_layers"
    )
  for one in types:
    if one not in names:
      raise unknown_name("entry of layer_types", str(one), names)
  return types


def _rope(values: Config, settings: Config, head_width: int) -> Rope:
  shares = {"partial_rotary_factor": 1.0}
  for source in (values, settings):
    shares |= {key: source.get(key) or x for key, x in shares.items()}
  share = number(shares, "partial_rotary_factor")
  settings = {
    "rope_theta": number(values, "rope_theta"),
    **{key: x for key, x in settings.items() if x is not None},
  }
  number(settings, "rope_theta")
  length = values.get("original_max_position_embeddings")
  if length:
    settings["original_max_position_embeddings"] = length
  width = int(head_width * share)
  if not 1 <= width <= head_width or 2 * -(-width // 2) > head_width:
    raise UserError(
      f"partial_rotary_factor {share} of {head_width} features make no pairs"
    )
  return make_rope(
    width, settings, positions=whole(values, "max_position_embeddings")
  )


def _llama(
  values: Config,
  *,
  windows: str = "none",
  sliding: Callable[[int], bool] = lambda i: False,
  rotated: list | None = None,
  scale: float | None = None,
  **changes: Any,
) -> TransformerConfig:
  """Any family, as what differs from a Llama.

  Args:
    windows: which blocks have one: "none", "all", or those "typed" as sliding.
    sliding: block's number -> whether it does, where the config has no list.
    rotated: for each block, whether it has rotary positions.
    scale: of the scores; None for head_dim^-1/2.
    **changes: of `TransformerConfig`.
  """
  width = whole(values, "hidden_size")
  heads = whole(values, "num_attention_heads")
  if "head_dim" not in values and width % heads:
    raise UserError(
      f"num_attention_heads must divide hidden_size {width}, got {heads}"
    )
  values = {"num_key_value_heads": heads, "head_dim": width // heads, **values}
  groups = whole(values, "num_key_value_heads")
  if heads % groups:
    raise UserError(
      f"num_key_value_heads must divide the {heads} heads, got {groups}"
    )
  head_width = whole(values, "head_dim")
  types = layer_types(values, sliding)
  rotated = [True] * len(types) if rotated is None else rotated
  ropes = ropes_by_type(values, head_width) if any(rotated) else {}
  window = None
  if windows != "none" and values.get("sliding_window") is not None:
    window = whole(values, "sliding_window")
  biased = flag(values, "attention_bias")
  switches = {
    "activation": activation(values),
    "projection_bias": biased,
    "out_bias": biased,
    "mlp_bias": flag(values, "mlp_bias"),
    "tied": flag(values, "tie_word_embeddings"),
  }
  return TransformerConfig(
    vocabulary=whole(values, "vocab_size"),
    width=width,
    layers=tuple(
      Layer(
        window if windows == "all" or kind == "sliding_attention" else None,
        ropes[kind] if turned else None,
        head_width**-0.5 if scale is None else scale,
      )
      for kind, turned in zip(types, rotated, strict=True)
    ),
    heads=heads,
    groups=groups,
    head_width=head_width,
    mlp=whole(values, "intermediate_size"),
    positions=whole(values, "max_position_embeddings"),
    epsilon=number(values, "rms_norm_eps"),
    **switches | changes,
  )


def _gpt2(values: Config) -> TransformerConfig:
  width, depth = (
    whole(values, name) for name in ("hidden_size", "num_hidden_layers")
  )
  values = {"intermediate_size": 4 * width, **values}
  for name in ("head_dim", "num_key_value_heads"):
    values.pop(name, None)
  config = _llama(
    values,
    rotated=[False] * depth,
    scale=None if values["scale_attn_weights"] else 1.0,
    learned_positions=True,
    centred=True,
    norm_bias=True,
    projection_bias=True,
    out_bias=True,
    mlp_bias=True,
    gated=False,
  )
  if not values.get("scale_attn_by_inverse_layer_idx"):
    return config
  layers = tuple(
    dataclasses.replace(layer, scale=layer.scale / (i + 1))
    for i, layer in enumerate(config.layers)
  )
  return dataclasses.replace(config, layers=layers)


def _qwen(values: Config, **changes: Any) -> TransformerConfig:
  windowed = flag(values, "use_sliding_window")
  first = whole(values, "max_window_layers", least=0)
  return _llama(
    values,
    windows="typed" if windowed else "none",
    sliding=lambda i: windowed and i >= first,
    **changes,
  )


def _gemma(values: Config, **changes: Any) -> TransformerConfig:
  return _llama(
    values,
    windows="typed",
    scale=number(values, "query_pre_attn_scalar") ** -0.5,
    norms="both",
    norm_offset=1.0,
    embedding_scale=float(whole(values, "hidden_size")) ** 0.5,
    score_cap=_cap(values, "attn_logit_softcapping"),
    logit_cap=_cap(values, "final_logit_softcapping"),
    **changes,
  )


def _gemma3(values: Config) -> TransformerConfig:
  every = whole(values, "sliding_window_pattern")
  values = {"rope_local_base_freq": 10_000.0, **values}
  return _gemma(values, head_norm="head", sliding=lambda i: (i + 1) % every > 0)


def _smollm3(values: Config) -> TransformerConfig:
  depth = whole(values, "num_hidden_layers")
  every = whole(values, "no_rope_layer_interval")
  rotated = values.get("no_rope_layers") or [
    (i + 1) % every > 0 for i in range(depth)
  ]
  if not isinstance(rotated, list) or len(rotated) < depth:
    entries = len(rotated) if isinstance(rotated, list) else "no"
    raise UserError(
      f"no_rope_layers has {entries} entries for {depth} num_hidden_layers"
    )
  windowed = flag(values, "use_sliding_window")
  return _llama(
    values,
    windows="typed" if windowed else "none",
    sliding=lambda i: windowed and not rotated[i],
    rotated=rotated[:depth],
  )


def _phi3(values: Config) -> TransformerConfig:
  settings = rope_settings(values)
  kind = settings.get("rope_type") or settings.get("type")
  if kind in ("su", "yarn"):  # what longrope was called
    values = values | {"rope_parameters": {**settings, "rope_type": "longrope"}}
  return _llama(values, windows="all")


def _cap(values: Config, name: str) -> float | None:
  return None if values.get(name) is None else number(values, name)


_READERS: dict[str, Callable[[Config], TransformerConfig]] = {
  "gpt2": _gpt2,
  "llama": _llama,
  "qwen2": lambda values: _qwen(values, projection_bias=True, out_bias=False),
  "qwen3": lambda values: _qwen(values, head_norm="head"),
  "mistral": lambda values: _llama(values, windows="all"),
  "gemma2": lambda values: _gemma(values, sliding=lambda i: i % 2 == 0),
  "gemma3_text": _gemma3,
  "smollm3": _smollm3,
  "olmo2": lambda values: _llama(values, norms="post", head_norm="whole"),
  "phi3": _phi3,
}
