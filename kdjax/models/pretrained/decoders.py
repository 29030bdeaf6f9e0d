"""What transformers calls the parts of its decoders, family by family."""

from kdjax.models.pretrained.tensors import Tensor, embedding, linear, norm
from kdjax.models.transformer_config import TransformerConfig

# What stands before the names of the body, but not of the head, in files.
PREFIXES = {"gpt2": "transformer."}
PREFIX = "model."


def decoder_table(family: str, config: TransformerConfig) -> list[Tensor]:
  """Returns the table of a decoder's published tensors.

  Args:
    family: the config's model_type.

  Example:
    >>> from kdjax.models.transformer_config import Layer
    >>> layers = (Layer(None, None, 1.0),)
    >>> config = TransformerConfig(9, 8, layers, 4, 2, 2, 16, 32)
    >>> [one.source for one in decoder_table("llama", config)][:2]
    ['model.embed_tokens.weight', 'model.norm.weight']
  """
  body = _gpt2 if family == "gpt2" else _llama_like
  prefix = PREFIXES.get(family, PREFIX)
  table = [
    one._replace(source=prefix + one.source) for one in body(family, config)
  ]
  if not config.tied:
    table += linear("lm_head", "head", bias=False)
  return table


def _llama_like(family: str, config: TransformerConfig) -> list[Tensor]:
  table = [embedding("embed_tokens", "stem/tokens")]
  table += norm("norm", "norm", bias=False)
  blocks = _phi3_block if family == "phi3" else _plain_block
  for i in range(len(config.layers)):
    source, target = f"layers.{i}.", f"stage_{i}/"
    table += [
      one._replace(
        source=source + one.source,
        targets=tuple(target + path for path in one.targets),
      )
      for one in [*blocks(config), *_norms(config)]
    ]
  return table


def _plain_block(config: TransformerConfig) -> list[Tensor]:
  table = []
  for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value")):
    table += linear(
      f"self_attn.{theirs}_proj",
      f"attention/{ours}",
      bias=config.projection_bias,
    )
    if config.head_norm and theirs != "v":
      table += norm(
        f"self_attn.{theirs}_norm", f"attention/{ours}/norm", bias=False
      )
  table += _out(config)
  for theirs, ours in (
    ("gate", "gate"),
    ("up", "dense_0"),
    ("down", "dense_1"),
  ):
    table += linear(f"mlp.{theirs}_proj", f"mlp/{ours}", bias=config.mlp_bias)
  return table


def _phi3_block(config: TransformerConfig) -> list[Tensor]:
  projections = [f"attention/{part}" for part in ("query", "key", "value")]
  return [
    *linear("self_attn.qkv_proj", projections, bias=config.projection_bias),
    *_out(config),
    *linear(
      "mlp.gate_up_proj", ["mlp/gate", "mlp/dense_0"], bias=config.mlp_bias
    ),
    *linear("mlp.down_proj", "mlp/dense_1", bias=config.mlp_bias),
  ]


def _out(config: TransformerConfig) -> list[Tensor]:
  return linear(
    "self_attn.o_proj", "attention/out", bias=config.out_bias, inputs=2
  )


# By where normalisations stand; "post_attention_layernorm" means two things.
_NORMS = {
  "pre": {"input": "norm_0", "post_attention": "norm_1"},
  "post": {
    "post_attention": "norm_0_after",
    "post_feedforward": "norm_1_after",
  },
  "both": {
    "input": "norm_0",
    "post_attention": "norm_0_after",
    "pre_feedforward": "norm_1",
    "post_feedforward": "norm_1_after",
  },
}


def _norms(config: TransformerConfig) -> list[Tensor]:
  table = []
  for theirs, ours in _NORMS[config.norms].items():
    table += norm(f"{theirs}_layernorm", ours, bias=False)
  return table


def _gpt2(family: str, config: TransformerConfig) -> list[Tensor]:
  del family
  table = [embedding("wte", "stem/tokens"), embedding("wpe", "stem/positions")]
  table += norm("ln_f", "norm", bias=True)
  for i in range(len(config.layers)):
    source, target = f"h.{i}", f"stage_{i}"
    projections = [
      f"{target}/attention/{part}" for part in ("query", "key", "value")
    ]
    table += [
      *norm(f"{source}.ln_1", f"{target}/norm_0", bias=True),
      *norm(f"{source}.ln_2", f"{target}/norm_1", bias=True),
      *_conv1d(f"{source}.attn.c_attn", projections),
      *_conv1d(f"{source}.attn.c_proj", f"{target}/attention/out", inputs=2),
      *_conv1d(f"{source}.mlp.c_fc", f"{target}/mlp/dense_0"),
      *_conv1d(f"{source}.mlp.c_proj", f"{target}/mlp/dense_1"),
    ]
  return table


def _conv1d(source, targets, inputs=1) -> list[Tensor]:
  """GPT-2's linear layers are (inputs, outputs), as ours."""
  return linear(source, targets, bias=True, inputs=inputs, outputs_first=False)
