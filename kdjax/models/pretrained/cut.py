"""Students that are cut out of a language model: some of its blocks, or parts of them.

What of a network is not a block (embeddings, the last norm, the output layer) is
copied too, and so is the tokenizer. Everything that its config says block by block,
such as windows and rotary positions, follows the block.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core import checks, spec
from kdjax.core.arguments import misfit
from kdjax.core.errors import UserError
from kdjax.models.pretrained.architectures import architecture_of, config_of
from kdjax.models.pretrained.importance import scores_of
from kdjax.models.pretrained.load import (
  NOTES,
  STORED_DTYPES,
  Pretrained,
  network_of,
)
from kdjax.models.pretrained.tensors import Tensor, shapes_of
from kdjax.models.pretrained.width import (
  Size,
  Width,
  check_size,
  kept_places,
  narrowed_config,
  narrowed_parameters,
  sizes_of,
)
from kdjax.models.transformer_config import Layer, TransformerConfig

# What configs call the number of blocks.
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers")
# What they say block by block.
_LISTS = ("layer_types", "no_rope_layers")
_STAGE = re.compile(r"stage_(\d+)")


class Cut(NamedTuple):
  """Which blocks are kept, and how much of their width.

  Attributes:
    text: as it was written.
    blocks: number of blocks -> those that are kept, in order.
    width: what of them; all by default.
  """

  text: str
  blocks: Callable[[int], tuple[int, ...]]
  width: Width = Width()


def layers(count: int) -> Callable[[int], tuple[int, ...]]:
  """So many blocks, evenly spread, the first and the last among them.

  Example:
    >>> layers(6)(30), layers(1)(30)
    ((0, 6, 12, 17, 23, 29), (0,))
  """
  checks.whole_number("count", count)
  gaps = max(count - 1, 1)

  def blocks(depth: int) -> tuple[int, ...]:
    if count > depth:
      raise UserError(f"layers({count}): there are {depth} blocks")
    # Rounded to the nearest, halves up.
    return tuple(
      (2 * i * (depth - 1) + gaps) // (2 * gaps) for i in range(count)
    )

  return blocks


def every(step: int) -> Callable[[int], tuple[int, ...]]:
  """The first block, and every so many blocks another one.

  Example:
    >>> every(2)(5), every(3)(5)
    ((0, 2, 4), (0, 3))
  """
  checks.whole_number("step", step)
  return lambda depth: tuple(range(0, depth, step))


def blocks(numbers: list[int]) -> Callable[[int], tuple[int, ...]]:
  """The blocks of these numbers, which begin at 0 and increase.

  Example:
    >>> blocks([0, 3, 5])(6)
    (0, 3, 5)
  """
  listed = isinstance(numbers, list | tuple) and len(numbers) > 0
  for number in numbers if listed else ():
    checks.whole_number("a number", number, least=0)
  if not listed or list(numbers) != sorted(set(numbers)):
    raise ValueError(
      f"takes a list of increasing numbers, such as [0, 3, 5], got {numbers!r}"
    )

  def kept(depth: int) -> tuple[int, ...]:
    if numbers[-1] >= depth:
      raise UserError(
        f"blocks: there is no block {numbers[-1]}, the last one of {depth} is"
        f" {depth - 1}"
      )
    return tuple(numbers)

  return kept


def width(
  depth: spec.Spec | None = None,
  *,
  mlp: Size = None,
  heads: Size = None,
  hidden: Size = None,
) -> tuple[Callable[[int], tuple[int, ...]], Width]:
  """Parts of each block, or of those that another cut keeps.

  Example:
    >>> width(spec.parse("every(2)"), mlp=0.5)[0](5)
    (0, 2, 4)
  """
  sizes = {"mlp": mlp, "heads": heads, "hidden": hidden}
  for name, size in sizes.items():
    check_size(name, size)
  if set(sizes.values()) == {None}:
    raise ValueError("says what is kept of mlp, heads or hidden, as mlp=0.5")
  if depth is None:
    return every(1), Width(**sizes)
  if not isinstance(depth, spec.Spec):
    raise ValueError(f"takes a cut such as layers(6) first, got {depth!r}")
  return spec.build("cut", depth, _DEPTH_CUTS), Width(**sizes)


_DEPTH_CUTS = {"layers": layers, "every": every, "blocks": blocks}
CUTS = _DEPTH_CUTS | {"width": width}


def read_cut(which: str | spec.Spec) -> Cut:
  """Reads which blocks are kept, and what of them.

  Args:
    which: "layers(6)" for six that are evenly spread, first and last included;
      "every(2)" for blocks 0, 2, 4, ...; "blocks([0, 3, 5])" for those;
      "width(mlp=0.5, heads=0.5, hidden=0.5)" for shares, or whole numbers, of each
      block, and "width(layers(6), mlp=0.5)" of those.

  Raises:
    UserError: for what is none of these.

  Example:
    >>> read_cut("layers(3)").blocks(12)
    (0, 6, 11)
  """
  parsed = spec.parse(which) if isinstance(which, str) else which
  made = spec.build("cut", parsed, CUTS)
  return Cut(str(which), *(made if isinstance(made, tuple) else (made,)))


def cut(
  pretrained: Pretrained,
  which: str | Cut,
  *,
  inputs: Mapping[str, Any] | None = None,
) -> Pretrained:
  """Makes a student of some blocks of a pretrained network, or of parts of them.

  Args:
    pretrained: of `load`, a decoder or encoder; a decoder for parts of blocks.
    which: as `read_cut` takes it, or what that returns.
    inputs: texts, {"tokens": (B, T), "mask": (B, T)}, by which it is told what
      matters least of a block; None to tell by the weights alone.

  Returns:
    A network of these blocks alone with copies of their weights, its config and
    the same tokenizer: `save` writes it as transformers loads it.

  Raises:
    UserError: for a cut that is none, blocks that are not there, and blocks that
      compute otherwise in another place; for widths that the network cannot have.
  """
  if not isinstance(pretrained, Pretrained):
    raise misfit("pretrained", "what kdjax.pretrained.load returns", pretrained)
  which = which if isinstance(which, Cut) else read_cut(which)
  module = pretrained.network.module
  config = config_of(module)
  depth = next(name for name in _DEPTHS if name in config)
  blocks = which.blocks(config[depth])
  narrower = which.width != Width()
  if narrower:
    sizes = _sizes(module, which)
  config |= _lists_by_block(config, _layers(module), blocks)
  config |= {depth: len(blocks)}
  architecture = architecture_of(config)
  student = architecture.build(config)
  params = kept_parameters(pretrained.variables["params"], blocks)
  _check_student(student, module, params, blocks, which)
  config[STORED_DTYPES] = _kept_dtypes(
    config.get(STORED_DTYPES, {}),
    architecture.table(student),
    architecture.table(module),
    blocks,
  )
  params = jax.tree.map(jnp.copy, params)
  if narrower:
    own = student.config
    scores = scores_of(
      pretrained.network, pretrained.variables["params"], inputs
    )
    kept = [kept_places(module.config, sizes, scores)[i] for i in blocks]
    params = narrowed_parameters(params, own, kept)
    config = narrowed_config(config, own, sizes)
  return Pretrained(
    network_of(architecture.build(config)),
    {**pretrained.variables, "params": params},
    {name: x for name, x in config.items() if name not in NOTES},
    pretrained.tokenizer,
  )


def _sizes(module: nn.Module, which: Cut) -> dict[str, int]:
  """How much is kept of a decoder's width; encoders have none that is cut."""
  config, family = (
    getattr(module, "config", None),
    config_of(module)["model_type"],
  )
  if not isinstance(config, TransformerConfig) or not hasattr(module, "decode"):
    raise UserError(
      f"{which.text}: {family} is no decoder; only blocks of it can be left out"
    )
  sizes = sizes_of(which.width, config)
  # So transformers reads it, with longrope at least.
  if family == "phi3" and sizes["hidden"] != sizes["heads"] * config.head_width:
    raise UserError(
      f"{which.text}: a head of phi3 is as wide as the hidden state by the number of"
      " heads; cut heads and hidden by one share, or neither"
    )
  return sizes


def _layers(module: nn.Module) -> tuple[Layer, ...]:
  """What blocks differ in; () where they do not."""
  return getattr(getattr(module, "config", None), "layers", ())


def _lists_by_block(
  config: Mapping[str, Any], layers: Sequence[Layer], blocks: Sequence[int]
) -> dict[str, list]:
  """What a config says of the kept blocks one by one.

  Where it has a rule in a list's place, such as every sixth block, the list is
  written out.
  """
  windows = [layer.window is not None for layer in layers]
  turned = [layer.rope is not None for layer in layers]
  lists = {}
  if len({*windows}) > 1:
    names = "full_attention", "sliding_attention"
    lists["layer_types"] = [names[window] for window in windows]
  if len({*turned}) > 1:
    lists["no_rope_layers"] = [*map(int, turned)]
  lists |= {name: config[name] for name in _LISTS if config.get(name)}
  return {name: [values[i] for i in blocks] for name, values in lists.items()}


def kept_parameters(
  params: Mapping[str, Any], blocks: Sequence[int]
) -> dict[str, Any]:
  """The kept blocks' parameters, renumbered, with those of no block."""
  beside = {name: x for name, x in params.items() if "stage_" not in name}
  stages = {
    f"stage_{place}": params[f"stage_{block}"]
    for place, block in enumerate(blocks)
  }
  return beside | stages


def _check_student(student, module, params, blocks, which) -> None:
  """Refuses blocks that are others in the student than they were."""
  expected = shapes_of(student)["params"]
  layers = _layers(module)
  same_layers = [layers[i] for i in blocks if layers] == [*_layers(student)]
  if same_layers and jax.tree.map(jnp.shape, params) == jax.tree.map(
    jnp.shape, expected
  ):
    return
  raise UserError(
    f"{which.text}: blocks {', '.join(map(str, blocks))} of this network compute"
    " otherwise in another place, which no config.json can say; keep its first"
    " blocks, in their places"
  )


def _kept_dtypes(
  dtypes: Mapping[str, str],
  table: Sequence[Tensor],
  former: Sequence[Tensor],
  blocks: Sequence[int],
) -> dict[str, str]:
  """What the kept blocks' tensors are stored in, by their new names."""
  sources = {one.targets: one.source for one in former}
  names = {"*": "*"}
  for one in table:
    targets = tuple(
      _STAGE.sub(lambda m: f"stage_{blocks[int(m[1])]}", path)
      for path in one.targets
    )
    names[one.source] = sources[targets]
  return {new: dtypes[old] for new, old in names.items() if old in dtypes}
