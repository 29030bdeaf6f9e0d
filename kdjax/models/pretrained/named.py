"""Encoders by name: published ones as specs that build them again, and cut ones."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn

from kdjax.core.errors import UserError
from kdjax.core.spec import Spec
from kdjax.models.bert import Bert
from kdjax.models.bert_sizes import DETAILS, bert
from kdjax.models.masked_bert import MaskedBert, masked_bert
from kdjax.models.modernbert import ModernBert
from kdjax.models.pretrained.architectures import config_of
from kdjax.models.pretrained.encoders import DEFAULTS, modernbert_module
from kdjax.models.registry import register

# What a config.json calls the sizes that have a name of ours.
_SIZES = {
  "vocabulary": "vocab_size",
  "width": "hidden_size",
  "depth": "num_hidden_layers",
  "heads": "num_attention_heads",
  "mlp": "intermediate_size",
  "positions": "max_position_embeddings",
}
# What changes how it computes, by the names of its config.json.
_SETTINGS = (
  *(name for name in DEFAULTS["modernbert"] if name != "classifier_pooling"),
  "attention_bias",
  "classifier_bias",
  "global_rope_theta",
  "hidden_activation",
  "layer_types",
  "local_rope_theta",
  "mlp_bias",
  "norm_bias",
  "rope_parameters",
  "rope_scaling",
)


@register("modernbert")
def modernbert(
  *,
  classes: int,
  vocabulary: int = 50368,
  width: int = 768,
  depth: int = 22,
  heads: int | None = None,
  mlp: int | None = None,
  positions: int = 8192,
  pool: str = "cls",
  **settings: Any,
) -> ModernBert:
  """Makes a ModernBERT encoder; the defaults are ModernBERT-base.

  Args:
    classes: number of classes; 0 leaves the head off and returns embeddings.
    vocabulary: number of token ids.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block; None for one for every 64 of the width, one
      where it is narrower.
    mlp: hidden units of a block's gated layers; None for 1.5 times the width.
    positions: greatest number of tokens.
    pool: "cls" (the first token's state) or "mean" (of the real tokens).
    **settings: further ones by the names of a config.json, such as
      `local_attention`.

  Returns:
    The module: token ids (B, T) and their mask -> logits (B, classes).

  Raises:
    UserError: for sizes and settings that it cannot have.

  Example:
    >>> modernbert(classes=2, width=128, depth=3).config.heads
    2

  Source:
    Warner et al. 2024, arXiv:2412.13663.
  """
  if unknown := sorted(set(settings) - set(_SETTINGS)):
    raise UserError(
      f"modernbert has no setting {unknown[0]!r}; possible:"
      f" {', '.join(sorted(_SETTINGS))}"
    )
  sizes = {
    "vocabulary": vocabulary,
    "width": width,
    "depth": depth,
    "heads": max(width // 64, 1) if heads is None else heads,
    "mlp": width * 3 // 2 if mlp is None else mlp,
    "positions": positions,
  }
  config = {"model_type": "modernbert", "classifier_pooling": pool, **settings}
  config |= {_SIZES[name]: value for name, value in sizes.items()}
  return modernbert_module(config).clone(classes=classes)


def spec_of(module: nn.Module) -> Spec:
  """Writes an encoder as the spec that builds it again, `classes` left to the run.

  Args:
    module: BERT, RoBERTa, DistilBERT or ModernBERT, of `load` or of a maker.

  Raises:
    UserError: for another module, and for settings that no spec says.

  Example:
    >>> print(spec_of(bert(classes=3, width=128, depth=2)))
    bert(width=128, depth=2, heads=2, mlp=512)
  """
  if isinstance(module, Bert):
    return _written(
      bert, {name: getattr(module, name) for name in (*_names(bert), *DETAILS)}
    )
  if isinstance(module, MaskedBert):
    body = module.body
    values = {name: getattr(body, name) for name in _names(masked_bert)}
    return _written(masked_bert, values)
  if not isinstance(module, ModernBert):
    raise UserError(f"{type(module).__name__} is no encoder that has a name")
  config = config_of(module)
  values = {name: config[key] for name, key in _SIZES.items()}
  values |= {"pool": module.pool}
  values |= {
    name: config[name] for name in _SETTINGS if config.get(name) is not None
  }
  written = _written(modernbert, values)
  again = modernbert(classes=module.classes, **dict(written.kwargs))
  if _computes(again) != _computes(module):
    raise UserError(
      "modernbert: its config.json has settings that are not known"
    )
  return written


def with_blocks(module: nn.Module, blocks: Sequence[int]) -> nn.Module:
  """Makes the encoder that has some blocks of another one.

  Args:
    module: BERT, RoBERTa, DistilBERT or ModernBERT.
    blocks: which of its blocks, in order.

  Raises:
    UserError: for another module, and for blocks that compute otherwise in another
      place.

  Example:
    >>> with_blocks(bert(classes=3, width=64, depth=6), (0, 2, 5)).depth
    3
  """
  if isinstance(module, Bert):
    return module.clone(depth=len(blocks))
  if isinstance(module, MaskedBert):
    return module.clone(body=module.body.clone(depth=len(blocks)))
  values = dict(spec_of(module).kwargs) | {"depth": len(blocks)}
  layers = module.config.layers
  names = "full_attention", "sliding_attention"
  values["layer_types"] = [names[layers[i].window is not None] for i in blocks]
  # The first block alone has no norm before its attention.
  if 0 in blocks[1:] or blocks[0] != 0:
    raise UserError("modernbert: the first block stays the first; keep block 0")
  return modernbert(classes=module.classes, **values)


def _computes(module: ModernBert) -> tuple:
  plain = module.clone(config=None, parent=None)
  return plain, {**vars(module.config), "stored": ""}


def _names(maker: Callable) -> list[str]:
  return [
    name
    for name, one in inspect.signature(maker).parameters.items()
    if name != "classes" and one.kind == one.KEYWORD_ONLY
  ]


def _written(maker: Callable, values: Mapping[str, Any]) -> Spec:
  """The spec of a maker with the values that are not its defaults."""
  parameters = inspect.signature(maker).parameters
  defaults = {name: one.default for name, one in parameters.items()}
  defaults |= {
    name: Bert.__dataclass_fields__[name].default for name in DETAILS
  }
  kept = tuple(
    (name, value)
    for name, value in values.items()
    if name not in defaults or defaults[name] != value
  )
  return Spec(maker.__name__, (), kept)
