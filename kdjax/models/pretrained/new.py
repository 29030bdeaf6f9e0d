"""Decoders of the published families in sizes of one's own, to be trained from the start."""

from typing import Any

from kdjax.core.errors import unknown_name
from kdjax.models.bert import check_sizes
from kdjax.models.decoder import Decoder
from kdjax.models.pretrained import families
from kdjax.models.registry import register

# What transformers calls a family's decoder.
CLASSES = {
  "gpt2": "GPT2LMHeadModel",
  "llama": "LlamaForCausalLM",
  "qwen2": "Qwen2ForCausalLM",
  "qwen3": "Qwen3ForCausalLM",
  "mistral": "MistralForCausalLM",
  "gemma2": "Gemma2ForCausalLM",
  "gemma3_text": "Gemma3ForCausalLM",
  "smollm3": "SmolLM3ForCausalLM",
  "olmo2": "Olmo2ForCausalLM",
  "phi3": "Phi3ForCausalLM",
}
_GPT2_NAMES = {
  "hidden_size": "n_embd",
  "intermediate_size": "n_inner",
  "max_position_embeddings": "n_positions",
  "num_attention_heads": "n_head",
  "num_hidden_layers": "n_layer",
}
_GPT2_LACKS = ("head_dim", "num_key_value_heads", "rms_norm_eps", "rope_theta")


def new_config(family: str, values: dict[str, Any]) -> dict[str, Any]:
  """Writes a decoder's config.json that did not come with weights.

  Args:
    family: a model_type.
    values: by the names that most families have; what is left out is the
      family's own.

  Returns:
    config.json's values, which transformers reads too.

  Example:
    >>> new_config("gpt2", {"hidden_size": 8, "vocab_size": 5})["n_embd"]
    8
  """
  defaults = families.DEFAULTS[family]
  stated = ("rope_theta", "tie_word_embeddings")
  values = {
    name: defaults[name] for name in stated if name in defaults
  } | values
  if "gemma" in family:
    values = {"query_pre_attn_scalar": values.get("head_dim")} | values
  if family == "gpt2":
    values = {
      _GPT2_NAMES.get(name, name): value
      for name, value in values.items()
      if name not in _GPT2_LACKS
    }
  names = {"model_type": family, "architectures": [CLASSES[family]]}
  # Else they are those of the family's published tokenizers.
  ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
  return names | ends | values | {"dtype": "float32"}


@register("decoder")
def decoder(
  *,
  classes: int,
  family: str = "llama",
  width: int = 128,
  depth: int = 4,
  heads: int = 4,
  groups: int | None = None,
  mlp: int | None = None,
  positions: int = 1024,
  tied: bool = True,
) -> Decoder:
  """Makes a decoder of a published family; `pretrained.save` writes it as theirs.

  Args:
    classes: size of the vocabulary, which is what the model reads and predicts.
    family: a model_type, such as "gpt2", "llama", "qwen3" or "gemma3_text".
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block.
    groups: heads of keys and values, each of which serves heads / groups queries;
      None for as many as heads.
    mlp: hidden units of a block's dense layers; None for 4 times the width, and
      with a gate, as all but GPT-2 have, 8/3 of it rounded up to eights.
    positions: greatest number of tokens; binding where positions are learned.
    tied: the output layer is the token embedding.

  Returns:
    The module: token ids (B, T) -> logits (B, T, classes).

  Raises:
    ValueError: for a size below 1, heads that do not divide the width, or groups
      that do not divide the heads.
    UserError: for an unknown family.

  Example:
    >>> model = decoder(classes=11, width=8, depth=1, heads=2)
    >>> model.config.mlp, model.config.head_width
    (24, 4)
  """
  if family not in families.DEFAULTS:
    raise unknown_name("family", str(family), families.DEFAULTS)
  if mlp is None:
    mlp = 4 * width if family == "gpt2" else -(-width // 3) * 8
  groups = heads if groups is None else groups
  check_sizes(
    width=width,
    heads=heads,
    dropout=0,
    classes=classes,
    depth=depth,
    groups=groups,
    mlp=mlp,
    positions=positions,
  )
  if heads % groups or (family == "gpt2" and heads != groups):
    raise ValueError(f"{family} has no {groups} groups of {heads} heads")
  if not isinstance(tied, bool):
    raise ValueError(f"tied must be True or False, got {tied!r}")
  return Decoder(
    families.decoder_config(
      new_config(
        family,
        {
          "vocab_size": classes,
          "hidden_size": width,
          "intermediate_size": mlp,
          "num_hidden_layers": depth,
          "num_attention_heads": heads,
          "num_key_value_heads": groups,
          "head_dim": width // heads,
          "max_position_embeddings": positions,
          "rms_norm_eps": families.DEFAULTS[family]["rms_norm_eps"],
          "tie_word_embeddings": tied,
        },
      )
    )
  )
