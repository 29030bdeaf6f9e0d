"""What a config beside published weights says, held to the model they go into.

Two networks may have tensors of the same names and shapes and compute different
things: another activation, other heads, a blurred pooling, images turned on
their side. The weights alone don't show it; config.json of timm and Hugging Face
often does.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn

from kdjax.core.errors import UserError
from kdjax.models.statistics import NAMED
from kdjax.models.vit import ViT

# The same network under the name of whoever has trained it.
_TRAINERS = ("tv_", "gluon_", "ssl_", "swsl_")
_VIT = re.compile(
  r"(?:vit|deit)_(?P<size>[a-z]+)(?P<distilled>_distilled)?_(?:patch)?"
  r"(?P<patch>\d+)(?:_\d+)?(?:_(?:in21k|miil|sam|dino|augreg|orig))?"
)
_SIZES = {"ti": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}
_WIDTHS = {"tiny": 192, "small": 384, "base": 768, "large": 1024, "huge": 1280}
# Arguments of timm's models that are compared here, seen in the tensors' shapes,
# or of no effect on the answers of a trained network.
_HARMLESS = {
  "act_layer", "attn_drop_rate", "block", "channels", "depth", "drop_path_rate",
  "drop_rate", "embed_dim", "global_pool", "img_size", "in_chans", "layers",
  "mlp_ratio", "num_classes", "num_heads", "patch_size", "pos_drop_rate",
  "proj_drop_rate", "qkv_bias", "weight_init", "zero_init_last",
}  # fmt: skip


class Facts(NamedTuple):
  """What a config says; None where it says nothing.

  Attributes:
    architecture: the library's name of the network.
    family: Hugging Face's kind of network.
    activation: in lower case.
    heads: of each attention.
    image_size: (H, W) that it was shown.
    channels: of these images.
    classes: number of classes.
    class_names: in their order.
    pooling: what becomes of the last map, or of the last tokens.
    epsilon: added to variances by the layer normalisations.
    normalise: as the option of our models.
    others: arguments of timm's that our models have nothing for.
  """

  architecture: str | None = None
  family: str | None = None
  activation: str | None = None
  heads: int | None = None
  image_size: tuple[int, ...] | None = None
  channels: int | None = None
  classes: int | None = None
  class_names: tuple[str, ...] | None = None
  pooling: str | None = None
  epsilon: float | None = None
  normalise: str | tuple | None = None
  others: Mapping[str, Any] = {}


def read(config: Mapping[str, Any]) -> Facts:
  """Reads a config of timm or Hugging Face."""
  arguments = _mapping(config.get("model_args"))
  preprocessing = _mapping(config.get("pretrained_cfg"))
  every = {**preprocessing, **config, **arguments}
  size = arguments.get("img_size") or config.get("image_size")
  size = size or (preprocessing.get("input_size") or ())[1:]
  names = _class_names(every)
  return Facts(
    architecture=_first(config, "architecture", "arch", "model_name"),
    family=config.get("model_type"),
    activation=_activation(_first(every, "hidden_act", "act_layer")),
    heads=_first(every, "num_attention_heads", "num_heads"),
    image_size=_pair(size),
    channels=_first(every, "num_channels", "in_chans"),
    classes=_first(every, "num_classes", "num_labels")
    or (len(names) if names else None),
    class_names=names,
    pooling=_first(every, "global_pool"),
    epsilon=_first(every, "layer_norm_eps"),
    normalise=_statistics(every),
    others={
      name: value
      for name, value in arguments.items()
      if name not in _HARMLESS and value is not None
    },
  )


def check(
  facts: Facts, name: str, module: nn.Module, image_shape: Sequence[int]
) -> None:
  """Refuses weights whose config is of another network.

  Args:
    name: of the model that they shall fill, such as "resnet18".
    image_shape: (H, W, D) of its images.
  """
  pairs = [
    ("classes", facts.classes, module.classes),
    ("channels", facts.channels, image_shape[-1]),
    *_compared(facts, name, module, image_shape),
  ]
  differing = [
    f"{property_name} {_as_text(published)}, the model has {_as_text(ours)}"
    for property_name, published, ours in pairs
    if published is not None and published != ours
  ]
  if differing:
    raise UserError(
      f"its config says {'; '.join(differing)}; a config of another file is to"
      " be moved away"
    )


def options(facts: Facts, module: nn.Module) -> dict[str, Any]:
  """Returns what a config says of a network, as options of our maker.

  Returns:
    Options by name; none for what it does not say.
  """
  settings = {}
  if facts.normalise is not None:
    settings["normalise"] = facts.normalise
  if facts.epsilon is not None and isinstance(module, ViT):
    settings["epsilon"] = facts.epsilon
  return settings


def _compared(
  facts: Facts, name: str, module: nn.Module, image_shape: Sequence[int]
) -> Iterator[tuple[str, Any, Any]]:
  """(what, what the config says, what the model has), where they may differ."""
  transformer = isinstance(module, ViT)
  if facts.architecture is not None:
    same = (_is_vit if transformer else _is_called)(facts, name, module)
    ours = facts.architecture if same else name
    yield "architecture", facts.architecture, ours
  if transformer:
    yield "images of", facts.image_size, tuple(image_shape[:2])
    yield "heads", facts.heads, module.heads
    if facts.family not in ("vit", "deit", "timm_wrapper"):
      yield "model_type", facts.family, "vit"
  pooling = ("token", "tok") if transformer else ("avg", "fast")
  if facts.pooling and facts.pooling not in pooling:
    yield "global_pool", facts.pooling, pooling[0]
  yield "activation", facts.activation, "gelu" if transformer else "relu"
  for argument, value in facts.others.items():
    yield argument, value, "nothing of this name"


def _is_called(facts: Facts, name: str, module: nn.Module) -> bool:
  del module
  architecture = (
    facts.architecture.lower().partition(".")[0].removesuffix("_v1b")
  )
  for trainer in _TRAINERS:
    architecture = architecture.removeprefix(trainer)
  return architecture == name


def _is_vit(facts: Facts, name: str, module: ViT) -> bool:
  del name
  match = _VIT.fullmatch(facts.architecture.lower().partition(".")[0])
  if not match:
    return False
  size = _SIZES.get(match["size"], match["size"])
  return (
    module.width == _WIDTHS.get(size, module.width)
    and module.patch == int(match["patch"])
    and module.distilled == bool(match["distilled"])
  )


def _mapping(value: Any) -> Mapping[str, Any]:
  return value if isinstance(value, dict) else {}


def _first(values: Mapping[str, Any], *names: str) -> Any:
  return next((values[x] for x in names if values.get(x) is not None), None)


def _activation(value: Any) -> str | None:
  """'nn.GELU' and 'gelu' are the same."""
  return None if value is None else str(value).rpartition(".")[2].lower()


def _pair(size: Any) -> tuple[int, ...] | None:
  if isinstance(size, dict):
    size = [size.get("height"), size.get("width")]
  if isinstance(size, int):
    size = [size, size]
  return tuple(size) if size else None


def _class_names(values: Mapping[str, Any]) -> tuple[str, ...] | None:
  """Hugging Face's or timm's list; none of stand-ins such as LABEL_0."""
  names = _first(values, "label_names", "id2label")
  if isinstance(names, dict):
    by_number = {int(key): str(name) for key, name in names.items()}
    names = [by_number[key] for key in sorted(by_number)]
  if not names or all(re.fullmatch(r"(LABEL_)?\d+", str(x)) for x in names):
    return None
  return tuple(map(str, names))


def _statistics(values: Mapping[str, Any]) -> str | tuple | None:
  """The mean and deviation that images were standardised with."""
  if values.get("do_normalize") is False:
    return None
  mean = _first(values, "image_mean", "mean")
  deviation = _first(values, "image_std", "std")
  if not isinstance(mean, list) or not isinstance(deviation, list):
    return None
  statistics = tuple(map(float, mean)), tuple(map(float, deviation))
  for name, constants in NAMED.items():
    same = [part * (3 // len(part)) for part in constants]
    if [*statistics] == same:
      return name
  return statistics


def _as_text(value: Any) -> str:
  if isinstance(value, tuple) and all(isinstance(x, int) for x in value):
    return " x ".join(map(str, value))
  return str(value)
