"""Decoders cut narrower: fewer neurons, attention heads and entries of a state.

What matters least is left out, block by block; entries of the hidden state are the
same in all blocks, which add to it. Heads go in whole groups where that comes out
even, else as many from each group, so that those that stay share keys and values as
before. What norms divide by is mended, so that to leave out entries that are 0
changes nothing.

  Muralidharan et al. 2024, arXiv:2407.14679 (Minitron), scores by activations; Xia et
  al. 2023, arXiv:2310.06694, cut to a target's sizes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError
from kdjax.models.pretrained.importance import Scores
from kdjax.models.transformer_config import TransformerConfig

# What the axes of a layer's parameters are.
_AXES = {
  ("tokens", "embedding"): (None, "hidden"),
  ("query", "kernel"): ("hidden", "heads", None),
  ("query", "bias"): ("heads", None),
  ("key", "kernel"): ("hidden", "groups", None),
  ("key", "bias"): ("groups", None),
  ("value", "kernel"): ("hidden", "groups", None),
  ("value", "bias"): ("groups", None),
  ("out", "kernel"): ("heads", None, "hidden"),
  ("out", "bias"): ("hidden",),
  ("gate", "kernel"): ("hidden", "mlp"),
  ("gate", "bias"): ("mlp",),
  ("dense_0", "kernel"): ("hidden", "mlp"),
  ("dense_0", "bias"): ("mlp",),
  ("dense_1", "kernel"): ("mlp", "hidden"),
  ("dense_1", "bias"): ("hidden",),
  ("head", "kernel"): ("hidden", None),
}
Size = int | float | None


class Width(NamedTuple):
  """How much of a decoder's width is kept: a share, a whole number, or all (None).

  Attributes:
    mlp: neurons of the dense layers of a block.
    heads: attention heads of a block.
    hidden: entries of the hidden state.
  """

  mlp: Size = None
  heads: Size = None
  hidden: Size = None


def check_size(name: str, size: Any) -> None:
  """Refuses what is neither a share nor a number of what there is.

  Raises:
    ValueError: names it.
  """
  is_number = isinstance(size, int | float) and not isinstance(size, bool)
  whole = is_number and isinstance(size, int) and size >= 1
  share = is_number and isinstance(size, float) and 0 < size <= 1
  if size is not None and not whole and not share:
    raise ValueError(
      f"{name} must be a share in (0, 1], such as 0.5, or how many as a whole"
      f" number, got {size!r}"
    )


def sizes_of(width: Width, config: TransformerConfig) -> dict[str, int]:
  """Finds how many of everything are kept.

  Returns:
    By "mlp", "heads", "groups" and "hidden".

  Raises:
    UserError: for more than there are, and for what the family cannot have.

  Example:
    >>> from kdjax.models.transformer_config import Layer
    >>> config = TransformerConfig(9, 8, (Layer(None, None, 1.0),), 8, 2, 2, 16, 32)
    >>> sizes_of(Width(mlp=0.5, heads=0.5), config)
    {'mlp': 8, 'heads': 4, 'groups': 1, 'hidden': 8}
  """
  heads, groups = config.heads, config.groups
  each = heads // groups
  even = {*range(each, heads + 1, each), *range(groups, heads + 1, groups)}
  kept = _count("heads", width.heads, heads, sorted(even))
  sizes = {
    "mlp": _count("mlp", width.mlp, config.mlp, range(1, config.mlp + 1)),
    "heads": kept,
    "groups": groups if kept % each else kept // each,
    "hidden": _count(
      "hidden", width.hidden, config.width, range(1, config.width + 1)
    ),
  }
  if sizes["hidden"] < config.width and config.centred:
    raise UserError(
      f"width: hidden={width.hidden}: the network's norms subtract the mean of all"
      " entries, which is another one of some; possible: mlp"
    )
  if kept < heads and (config.centred or config.head_norm == "whole"):
    why = (
      "its config says no width of a head, which follows from how many there are"
      if config.centred
      else "its queries are normalised over all heads together"
    )
    raise UserError(f"width: heads={width.heads}: {why}; possible: mlp")
  return sizes


def _count(name: str, size: Size, whole: int, possible: Sequence[int]) -> int:
  if size is None:
    return whole
  if isinstance(size, float):
    # Of two that are equally near the larger one.
    return min(possible, key=lambda x: (abs(x - size * whole), -x))
  if size > whole:
    raise UserError(f"width: {name}={size}: there are {whole}")
  if size not in possible:
    raise UserError(
      f"width: {name}={size}: groups of heads that share keys and values stay alike;"
      f" possible: {', '.join(map(str, possible))}"
    )
  return size


def kept_places(
  config: TransformerConfig, sizes: Mapping[str, int], scores: Scores
) -> list[dict[str, np.ndarray]]:
  """Says what each block keeps: places by "mlp", "heads", "groups" and "hidden"."""
  hidden = _largest(scores.hidden, sizes["hidden"])
  each = config.heads // config.groups
  kept_each = sizes["heads"] // sizes["groups"]
  places = []
  for mlp, heads in zip(scores.mlp, scores.heads, strict=True):
    by_group = np.square(heads).reshape(config.groups, each)
    groups = _largest(by_group.sum(axis=1), sizes["groups"])
    own = [g * each + _largest(by_group[g], kept_each) for g in groups]
    places.append({
      "mlp": _largest(mlp, sizes["mlp"]),
      "heads": np.concatenate(own),
      "groups": groups,
      "hidden": hidden,
    })  # fmt: skip
  return places


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
  return np.sort(np.argsort(-scores, kind="stable")[:count])


def narrowed_parameters(
  params: Mapping[str, Any],
  config: TransformerConfig,
  places: Sequence[Mapping[str, np.ndarray]],
) -> Any:
  """Takes what is kept of a decoder's parameters.

  Args:
    config: the decoder's.
    places: of `kept_places`, by block.
  """
  larger = math.sqrt(config.width / len(places[0]["hidden"]))
  scaled = config.embedding_scale != 1

  def one(path, x):
    names = tuple(key.key for key in path)
    block = int(names[0][6:]) if names[0].startswith("stage_") else 0
    of_state = names[-1] == "scale" and names[-3:-2] not in (
      ("query",),
      ("key",),
    )
    for axis, kind in enumerate(
      ("hidden",) if of_state else _AXES.get(names[-2:], ())
    ):
      if kind is not None and len(places[block][kind]) < x.shape[axis]:
        x = jnp.take(x, places[block][kind], axis=axis)
    if larger == 1:
      return x
    # A tied embedding that is scaled by the root of the width is its own output
    # layer's too: the last norm makes up for that.
    if scaled and names[-1] == "embedding":
      return _times(x, larger)
    if of_state and not (names[0] == "norm" and scaled and config.tied):
      return _times(x, larger, config.norm_offset)
    return x

  return jax.tree_util.tree_map_with_path(one, params)


def _times(x: jax.Array, factor: float, offset: float = 0.0) -> jax.Array:
  return ((jnp.float32(x) + offset) * factor - offset).astype(x.dtype)


def narrowed_config(
  config: Mapping[str, Any], old: TransformerConfig, sizes: Mapping[str, int]
) -> dict[str, Any]:
  """Writes the sizes into a config.json's values.

  Args:
    old: what was read of them.
  """
  new = dict(config)
  mlp_name = (
    "n_inner" if config["model_type"] == "gpt2" else "intermediate_size"
  )
  if sizes["mlp"] != old.mlp:
    new[mlp_name] = sizes["mlp"]
  if (sizes["heads"], sizes["hidden"]) != (old.heads, old.width):
    new |= {
      "num_attention_heads": sizes["heads"],
      "num_key_value_heads": sizes["groups"],
      "head_dim": old.head_width,
      "hidden_size": sizes["hidden"],
    }
  if sizes["hidden"] != old.width and old.head_norm is None:
    # Squares are divided by fewer entries. The heads' norms have the same one.
    new["rms_norm_eps"] = old.epsilon * old.width / sizes["hidden"]
  return new
