"""Networks that compute otherwise than they were written: bfloat16, remat.

The one place where a network's precision is chosen. Linen's layers compute in
the widest type that they meet, so that it is enough to narrow parameters and
images at the door, and to widen what comes out; networks need no `dtype`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

NARROW = "bfloat16"


@dataclasses.dataclass(frozen=True, eq=False)
class PrecisionWrapper:
  """Stands in for a linen module: takes and returns what that does.

  Inside, parameters and images are `dtype`, so layers are; batch statistics
  stay float32, normalisations reduce in float32 as linen's do, and classifiers
  (`head...`) keep float32 weights, and so give logits of full precision. What
  comes out, features and collections included, is float32, and so are the
  gradients of the parameters, which are narrowed inside.

  Attributes:
    network: the module.
    dtype: "float32" or "bfloat16".
    remat: whether the blocks of stages are computed again for the gradient.
  """

  network: nn.Module
  dtype: str = "float32"
  remat: bool = False

  def init(self, *args: Any, **kwargs: Any) -> Any:
    return self.network.init(*args, **kwargs)

  def init_with_output(self, *args: Any, **kwargs: Any) -> Any:
    return self.network.init_with_output(*args, **kwargs)

  def apply(self, variables: Mapping, *args: Any, **kwargs: Any) -> Any:
    paths = blocks(variables["params"]) if self.remat else set()
    if self.dtype == NARROW:
      params = cast_params(variables["params"])
      variables, args = {**variables, "params": params}, _narrow(args)
    with nn.intercept_methods(_again(paths)):
      found = self.network.apply(variables, *args, **kwargs)
    return _widen(found) if self.dtype == NARROW else found


def with_precision(
  network: nn.Module | PrecisionWrapper,
  *,
  dtype: str = "float32",
  remat: bool = False,
) -> nn.Module | PrecisionWrapper:
  """Makes a network compute in a type, and forget what it can compute again.

  Args:
    remat: whether the blocks of stages are computed again for the gradient.

  Returns:
    What stands in for the module; the module itself where nothing changes.
  """
  if isinstance(network, PrecisionWrapper):
    network = network.network
  if dtype == "float32" and not remat:
    return network
  return PrecisionWrapper(network, dtype, remat)


def like(network: nn.Module | PrecisionWrapper, other: nn.Module) -> Any:
  """Makes a network compute as another one does.

  Example:
    >>> like(PrecisionWrapper(None, "bfloat16"), nn.Dense(3)).dtype
    'bfloat16'
  """
  if not isinstance(network, PrecisionWrapper):
    return other
  return with_precision(other, dtype=network.dtype, remat=network.remat)


def cast_params(params: Mapping) -> dict:
  """Returns a network's parameters in bfloat16, those of classifiers aside.

  Example:
    >>> params = {"stage_0": jnp.ones(2), "head": jnp.ones(2)}
    >>> {name: str(x.dtype) for name, x in cast_params(params).items()}
    {'stage_0': 'bfloat16', 'head': 'float32'}
  """
  return {
    name: tree if name.startswith("head") else _narrow(tree)
    for name, tree in params.items()
  }


def blocks(params: Mapping) -> set[tuple[str, ...]]:
  """Lists the parts of a network between which values are worth keeping.

  Returns:
    Paths of the blocks of each stage; of the stage itself where it has none.

  Example:
    >>> sorted(blocks({"stage_0": {"block_0": {}, "block_1": {}}, "stage_1": {}}))
    [('stage_0', 'block_0'), ('stage_0', 'block_1'), ('stage_1',)]
  """
  found = set()
  for name, tree in params.items():
    if name == "backbone":
      found |= {(name, *path) for path in blocks(tree)}
    if name.startswith("stage_"):
      inner = {(name, part) for part in tree if part.startswith("block_")}
      found |= inner or {(name,)}
  return found


def _again(paths: set[tuple[str, ...]]) -> Callable:
  """Makes an interceptor that computes modules again for their gradient."""
  active = set()

  def intercept(next_function, args, kwargs, context):
    module = context.module
    # The call inside the checkpoint comes by here again: `active` knows.
    if (
      context.method_name != "__call__"
      or module.path not in paths
      or module.path in active
    ):
      return next_function(*args, **kwargs)
    active.add(module.path)
    try:
      again = nn.remat(lambda module, *args: module(*args, **kwargs))
      return again(module, *args)
    finally:
      active.remove(module.path)

  return intercept


def _narrow(tree: Any) -> Any:
  return _convert(tree, jnp.float32, jnp.bfloat16)


def _widen(tree: Any) -> Any:
  return _convert(tree, jnp.bfloat16, jnp.float32)


def _convert(tree: Any, old: Any, new: Any) -> Any:
  def one(x):
    return x.astype(new) if getattr(x, "dtype", None) == old else x

  return jax.tree.map(one, tree)
