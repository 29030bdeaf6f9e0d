"""Students that are cut out of a language model: some of its blocks, copied.

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
from kdjax.models.pretrained.load import (
  NOTES,
  STORED_DTYPES,
  Pretrained,
  network_of,
)
from kdjax.models.pretrained.tensors import Tensor
from kdjax.models.transformer_config import Layer

# What configs call the number of blocks.
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers")
# What they say block by block.
_LISTS = ("layer_types", "no_rope_layers")
_STAGE = re.compile(r"stage_(\d+)")


class Cut(NamedTuple):
  """Which blocks are kept.

  Attributes:
    text: as it was written.
    blocks: number of blocks -> those that are kept, in order.
  """

  text: str
  blocks: Callable[[int], tuple[int, ...]]


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


CUTS = {"layers": layers, "every": every, "blocks": blocks}


def read_cut(which: str | spec.Spec) -> Cut:
  """Reads which blocks are kept.

  Args:
    which: "layers(6)" for six that are evenly spread, first and last included;
      "every(2)" for blocks 0, 2, 4, ...; "blocks([0, 3, 5])" for those.

  Raises:
    UserError: for what is none of these.

  Example:
    >>> read_cut("layers(3)").blocks(12)
    (0, 6, 11)
  """
  parsed = spec.parse(which) if isinstance(which, str) else which
  return Cut(str(which), spec.build("cut", parsed, CUTS))


def cut(pretrained: Pretrained, which: str | Cut) -> Pretrained:
  """Makes a student of some blocks of a pretrained network.

  Args:
    pretrained: of `load`, a decoder or encoder.
    which: as `read_cut` takes it, or what that returns.

  Returns:
    A network of these blocks alone with copies of their weights, its config and
    the same tokenizer: `save` writes it as transformers loads it.

  Raises:
    UserError: for a cut that is none, blocks that are not there, and blocks that
      compute otherwise in another place.
  """
  if not isinstance(pretrained, Pretrained):
    raise misfit("pretrained", "what kdjax.pretrained.load returns", pretrained)
  which = which if isinstance(which, Cut) else read_cut(which)
  module = pretrained.network.module
  config = config_of(module)
  depth = next(name for name in _DEPTHS if name in config)
  blocks = which.blocks(config[depth])
  config |= _lists_by_block(config, _layers(module), blocks)
  config |= {depth: len(blocks)}
  architecture = architecture_of(config)
  student = architecture.build(config)
  params = _kept_parameters(pretrained.variables["params"], blocks)
  _check_student(student, module, params, blocks, which)
  config[STORED_DTYPES] = _kept_dtypes(
    config.get(STORED_DTYPES, {}),
    architecture.table(student),
    architecture.table(module),
    blocks,
  )
  return Pretrained(
    network_of(architecture.build(config)),
    {**pretrained.variables, "params": jax.tree.map(jnp.copy, params)},
    {name: x for name, x in config.items() if name not in NOTES},
    pretrained.tokenizer,
  )


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


def _kept_parameters(
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
  ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  expected = jax.eval_shape(student.init, jax.random.key(0), ids)["params"]
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
