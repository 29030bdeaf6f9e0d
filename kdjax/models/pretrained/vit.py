"""What torchvision, timm and Hugging Face call the parts of a ViT."""

from collections.abc import Collection
from typing import Any, NamedTuple

from kdjax.models.pretrained.layouts import (
  TABLES,
  Entry,
  Names,
  convolution_entries,
  dense_entries,
  heads_bias,
  heads_kernel,
  joined_heads_kernel,
  norm_entries,
  same,
)
from kdjax.models.vit import ViT


class Dialect(NamedTuple):
  """One library's names.

  Attributes:
    stem: name by parameter of our stem; "patches" is a layer.
    block: before every name of a block, with a place for its number.
    parts: name by layer of our block, without the projections.
    projections: (name of kernels, name of biases), one pair for query, key and
      value together or three pairs.
    norm: the last normalisation.
    heads: name by classifier.
  """

  stem: dict[str, str]
  block: str
  parts: dict[str, str]
  projections: tuple[tuple[str, str], ...]
  norm: str
  heads: dict[str, str]


TIMM = Dialect(
  stem={
    "class_token": "cls_token",
    "distillation_token": "dist_token",
    "positions": "pos_embed",
    "patches": "patch_embed.proj",
  },
  block="blocks.{}.",
  parts={
    "norm_0": "norm1",
    "attention/out": "attn.proj",
    "norm_1": "norm2",
    "mlp/dense_0": "mlp.fc1",
    "mlp/dense_1": "mlp.fc2",
  },
  projections=(("attn.qkv.weight", "attn.qkv.bias"),),
  norm="norm",
  heads={"head": "head", "head_dist": "head_dist"},
)

TORCHVISION = Dialect(
  stem={
    "class_token": "class_token",
    "distillation_token": "distillation_token",
    "positions": "encoder.pos_embedding",
    "patches": "conv_proj",
  },
  block="encoder.layers.encoder_layer_{}.",
  parts={
    "norm_0": "ln_1",
    "attention/out": "self_attention.out_proj",
    "norm_1": "ln_2",
    "mlp/dense_0": "mlp.0",
    "mlp/dense_1": "mlp.3",
  },
  projections=(
    ("self_attention.in_proj_weight", "self_attention.in_proj_bias"),
  ),
  norm="encoder.ln",
  heads={"head": "heads.head", "head_dist": "heads.head_dist"},
)


def _triple(
  pattern: str, names: Collection[str]
) -> tuple[tuple[str, str], ...]:
  layers = [pattern.format(name) for name in names]
  return tuple((f"{layer}.weight", f"{layer}.bias") for layer in layers)


# Files have the first names; modules of transformers 5 show the second.
HUGGING_FACE_FILE = Dialect(
  stem={
    "class_token": "embeddings.cls_token",
    "distillation_token": "embeddings.distillation_token",
    "positions": "embeddings.position_embeddings",
    "patches": "embeddings.patch_embeddings.projection",
  },
  block="encoder.layer.{}.",
  parts={
    "norm_0": "layernorm_before",
    "attention/out": "attention.output.dense",
    "norm_1": "layernorm_after",
    "mlp/dense_0": "intermediate.dense",
    "mlp/dense_1": "output.dense",
  },
  projections=_triple("attention.attention.{}", ("query", "key", "value")),
  norm="layernorm",
  heads={"head": "classifier", "head_dist": "distillation_classifier"},
)
HUGGING_FACE_MODULE = HUGGING_FACE_FILE._replace(
  block="layers.{}.",
  parts={
    "norm_0": "layernorm_before",
    "attention/out": "attention.o_proj",
    "norm_1": "layernorm_after",
    "mlp/dense_0": "mlp.fc1",
    "mlp/dense_1": "mlp.fc2",
  },
  projections=_triple("attention.{}_proj", "qkv"),
)


def entries(module: ViT, names: Collection[str]) -> list[Entry]:
  """Returns the table of a vision transformer.

  Args:
    names: the tensors in the file, from which the library is recognised.

  Example:
    >>> from kdjax.models.vit import vit
    >>> module = vit(depth=1, classes=2)
    >>> len(entries(module, {"patch_embed.proj.weight"}))
    24
  """
  dialect = _dialect(module, set(names))
  stem = dialect.stem
  tokens = ["class_token", "distillation_token"][: 1 + module.distilled]
  table = [
    Entry(stem[name], f"params/stem/{name}", same)
    for name in (*tokens, "positions")
  ]
  table += convolution_entries(stem["patches"], "stem/patches", bias=True)
  for i in range(module.depth):
    table += _block_entries(dialect, i)
  table += norm_entries(dialect.norm, "norm")
  for head in ("head", "head_dist")[: 1 + module.distilled]:
    table += dense_entries(dialect.heads[head], head)
  return table


def _block_entries(dialect: Dialect, number: int) -> list[Entry]:
  prefix, table = dialect.block.format(number), []
  for part, name in dialect.parts.items():
    source, target = prefix + name, f"stage_{number}/{part}"
    if part.startswith("norm"):
      table += norm_entries(source, target)
    elif part == "attention/out":
      table += dense_entries(source, target, joined_heads_kernel)
    else:
      table += dense_entries(source, target)
  together = len(dialect.projections) == 1
  for i, projection in enumerate(("query", "key", "value")):
    kernel, bias = dialect.projections[0 if together else i]
    part = (i, 3) if together else (0, 1)
    target = f"params/stage_{number}/attention/{projection}"
    table += [
      Entry(prefix + kernel, f"{target}/kernel", heads_kernel, part),
      Entry(prefix + bias, f"{target}/bias", heads_bias, part),
    ]
  return table


def _dialect(module: ViT, names: set[str]) -> Dialect:
  if "patch_embed.proj.weight" in names:
    return TIMM
  if "conv_proj.weight" in names:
    # Files from before torchvision 0.13, the published ones among them.
    old = any(".mlp.linear_1." in name for name in names)
    parts = {"mlp/dense_0": "mlp.linear_1", "mlp/dense_1": "mlp.linear_2"}
    return TORCHVISION._replace(
      parts=TORCHVISION.parts | (parts if old else {})
    )
  patches = "embeddings.patch_embeddings.projection.weight"
  for prefix in ("", "vit.", "deit."):
    if prefix + patches in names:
      return _hugging_face(module, names, prefix)
  raise ValueError(
    "this is no vision transformer of torchvision, timm or Hugging Face:"
    " there is no conv_proj.weight, patch_embed.proj.weight or"
    f" [vit. or deit.]{patches}"
  )


def _hugging_face(module: ViT, names: set[str], prefix: str) -> Dialect:
  heads = HUGGING_FACE_FILE.heads
  if module.distilled:
    heads = heads | {"head": "cls_classifier"}
  if f"{heads['head']}.weight" not in names:
    raise ValueError(
      f"the file has no {heads['head']}.weight: a teacher needs its classifier"
    )
  old = any(name.startswith(f"{prefix}encoder.layer.") for name in names)
  dialect = HUGGING_FACE_FILE if old else HUGGING_FACE_MODULE
  return dialect._replace(
    stem={key: prefix + name for key, name in dialect.stem.items()},
    block=prefix + dialect.block,
    norm=prefix + dialect.norm,
    heads=heads,
  )


def options(module: ViT, names: Collection[str]) -> dict[str, Any]:
  """Returns what a published ViT was built with, where that is certain.

  Some of timm's and Hugging Face's were trained with "imagenet", others with
  "half", and the file does not say; DeiT's and torchvision's are certain.
  """
  settings = {}
  if any("embeddings.patch_embeddings." in name for name in names):
    settings["epsilon"] = 1e-12
  deit = module.distilled or any(name.startswith("deit.") for name in names)
  if deit or "conv_proj.weight" in names:
    settings["normalise"] = "imagenet"
  return settings


TABLES[ViT] = Names(entries, options)
