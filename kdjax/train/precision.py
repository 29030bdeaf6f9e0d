"""Networks that compute otherwise than they were written: bfloat16, remat.

The one place where a network's precision is chosen. Linen's layers compute in
the widest type that they meet, so that it is enough to narrow parameters and
images as they come in, and to widen what comes out; networks need no `dtype`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.arguments import misfit
from kdjax.taps.network import Network, from_linen


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
    narrow = self.dtype != "float32"
    if narrow:
      params = cast_params(variables["params"], self.dtype)
      variables = {**variables, "params": params}
      # Inputs by name are among the keywords.
      args, kwargs = _convert((args, kwargs), jnp.float32, self.dtype)
    with nn.intercept_methods(_again(paths)):
      result = self.network.apply(variables, *args, **kwargs)
    return _convert(result, self.dtype, jnp.float32) if narrow else result


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
    >>> import flax.linen as nn
    >>> like(PrecisionWrapper(None, "bfloat16"), nn.Dense(3)).dtype
    'bfloat16'
  """
  if not isinstance(network, PrecisionWrapper):
    return other
  return with_precision(other, dtype=network.dtype, remat=network.remat)


def as_network(module: nn.Module | PrecisionWrapper | Network) -> Network:
  """Makes a network of what the runner trains.

  Args:
    module: a linen module, or what stands in for one; a network is returned as
      it is.
  """
  if isinstance(module, Network):
    return module
  if isinstance(module, PrecisionWrapper):
    classifier = from_linen(module.network).classifier
    return from_linen(module)._replace(classifier=classifier)
  return from_linen(module)


def full_precision(module: nn.Module | PrecisionWrapper) -> Network:
  """Makes a network that computes in float32, whatever it learned in."""
  return as_network(with_precision(module))


def float_dtype(dtype: Any) -> Any:
  """Reads a floating type.

  Raises:
    UserError: for what is none.

  Example:
    >>> float_dtype("bfloat16")
    dtype(bfloat16)
  """
  try:
    read = jnp.dtype(dtype)
  except TypeError:
    read = None
  if read is None or not jnp.issubdtype(read, jnp.floating):
    raise misfit("dtype", "a floating type, such as 'bfloat16'", dtype)
  return read


@functools.cache  # equal networks are one in compiled programs
def in_precision(network: Network, dtype: Any) -> Network:
  """Makes a network compute in a type, as `PrecisionWrapper` does.

  Args:
    dtype: of parameters and inputs inside, such as "bfloat16"; float32 changes
      nothing.
  """
  dtype = jnp.dtype(dtype)
  if dtype == jnp.float32:
    return network

  def apply(variables, inputs, **options):
    exact_layers = kept_layers(network, variables)
    params = cast_params(variables["params"], dtype, exact_layers=exact_layers)
    outputs, features, updates = network.apply(
      {**variables, "params": params},
      _convert(inputs, jnp.float32, dtype),
      **options,
    )
    results = _convert(
      (outputs, features, {**updates, "params": ()}), dtype, jnp.float32
    )
    return *results[:2], {**results[2], "params": variables["params"]}

  return network._replace(apply=apply)


def kept_layers(network: Network, variables: Mapping) -> tuple:
  """Returns the arrays of the layer that ends a network."""
  layer = network.classifier(variables)
  return tuple((layer or {}).values())


def cast_params(
  params: Mapping, dtype: Any = jnp.bfloat16, *, exact_layers: tuple = ()
) -> dict:
  """Returns a network's parameters in a type, those of classifiers aside.

  Args:
    exact_layers: arrays that stay as they are, beside the layers `head...`.

  Example:
    >>> params = {"head": jnp.ones(2), "stage_0": jnp.ones(2)}
    >>> {name: str(x.dtype) for name, x in cast_params(params).items()}
    {'head': 'float32', 'stage_0': 'bfloat16'}
  """
  stays = {id(x) for x in exact_layers}

  def one(path, x):
    head = (
      str(getattr(path[0], "key", "")).startswith("head") if path else False
    )
    return x if head or id(x) in stays else _convert(x, jnp.float32, dtype)

  return jax.tree_util.tree_map_with_path(one, params)


def blocks(params: Mapping) -> set[tuple[str, ...]]:
  """Lists the parts of a network between which values are worth keeping.

  Returns:
    Paths of the blocks of each stage; of the stage itself where it has none.

  Example:
    >>> sorted(blocks({"stage_0": {"block_0": {}, "block_1": {}}, "stage_1": {}}))
    [('stage_0', 'block_0'), ('stage_0', 'block_1'), ('stage_1',)]
  """
  paths = set()
  for name, tree in params.items():
    if name == "backbone":
      paths |= {(name, *path) for path in blocks(tree)}
    if name.startswith("stage_"):
      inner = {(name, part) for part in tree if part.startswith("block_")}
      paths |= inner or {(name,)}
  return paths


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
      again = nn.remat(_at_once(lambda module, *args: module(*args, **kwargs)))
      return again(module, *args)
    finally:
      active.remove(module.path)

  return intercept


def _at_once(call: Callable) -> Callable:
  """Has processors finish a block's gradients before those of the one before it.

  They order a program freely, and would keep what is computed again of several
  blocks until they come to the gradients of their weights. What stands inside a
  conditional is done as a whole; behind the barrier XLA cannot see that it always
  holds. Both branches are the same: a module may change any of its variables.
  """

  def at_once(module, *args):
    # Of sequences alone: convolutions inside a conditional are many times slower.
    if jax.default_backend() != "cpu" or [jnp.ndim(x) for x in args[:1]] != [3]:
      return call(module, *args)
    holds = jax.lax.optimization_barrier(True)
    return nn.cond(holds, call, call, module, *args)

  return at_once


def _convert(tree: Any, old: Any, new: Any) -> Any:
  def one(x):
    return x.astype(new) if getattr(x, "dtype", None) == old else x

  return jax.tree.map(one, tree)
