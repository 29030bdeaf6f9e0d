"""How a network is called: what its `__call__` wants, and what it may answer."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from kdjax.core.calling import arguments
from kdjax.core.errors import UserError

# The names that a train flag goes by, and whether they say its opposite.
FLAGS = {
  "train": False,
  "training": False,
  "deterministic": True,
  "use_running_average": True,
}


def default_call(kind: type) -> Callable:
  """Makes the `call` of a module that is called as its `__call__` says.

  Args:
    kind: the module's class.

  Returns:
    call(apply, variables, inputs, *, train, **kw): a single input positionally,
    several by name; the train flag under the name that it has, if any.
  """
  takes = inspect.signature(kind.__call__)
  names = [name for name in takes.parameters if name != "self"]
  flags = {name: inverse for name, inverse in FLAGS.items() if name in names}

  def call(apply, variables, inputs, *, train, **kw):
    args, by_name = arguments(inputs)
    modes = {name: train != inverse for name, inverse in flags.items()}
    keys = dict.fromkeys({"rngs"} & takes.parameters.keys())
    try:
      takes.bind(None, *args, **{**keys, **modes, **by_name})
    except TypeError as error:
      raise _misfit(kind, names, inputs, error) from None
    outputs = apply(variables, *args, **by_name, **modes, **kw)
    return one_array(kind.__name__, outputs, inputs)

  return call


def class_of(module: Any) -> type:
  """Returns the class whose `__call__` says how a module is called.

  Args:
    module: a linen module, or what stands in for its attribute `network`.
  """
  while not isinstance(module, nn.Module) and hasattr(module, "network"):
    module = module.network
  return type(module)


def linear_layer(params: Any, path: str | None) -> dict | None:
  """Finds the linear layer that ends a network.

  Args:
    params: the network's parameters, nested by name.
    path: the layer's, such as "encoder/out"; None for none.

  Returns:
    {"kernel": (D, C), "bias": (C,)}; None where there is no such layer.

  Example:
    >>> layer = linear_layer({"out": {"kernel": jnp.ones((4, 3))}}, "out")
    >>> {name: value.shape for name, value in layer.items()}
    {'kernel': (4, 3), 'bias': (3,)}
  """
  layer = params
  for name in path.split("/") if path else ():
    layer = layer.get(name) if isinstance(layer, Mapping) else None
  if path is None or not isinstance(layer, Mapping):
    return None
  kernel, bias = layer.get("kernel"), layer.get("bias")
  if getattr(kernel, "ndim", None) != 2:
    return None
  return {
    "kernel": kernel,
    "bias": jax.numpy.zeros(kernel.shape[1]) if bias is None else bias,
  }


def nameless(inputs: Any) -> Any:
  """Returns a single input without its name, and several as they are."""
  args, by_name = arguments(inputs)
  return args[0] if args else by_name


def one_array(owner: str, outputs: Any, inputs: Any = None) -> Any:
  """Returns outputs that are one array, and says how to pick one of several.

  Args:
    owner: whose outputs they are.
    inputs: what it was called with.
  """
  if hasattr(outputs, "shape"):
    return outputs
  shapes = jax.tree.map(lambda x: getattr(x, "shape", x), outputs)
  pick = f"[{next(iter(outputs))!r}]" if isinstance(outputs, Mapping) else "[0]"
  stars = "**" * isinstance(inputs, Mapping)
  raise UserError(
    f"{owner} gives a {type(outputs).__name__}, {shapes}, where one array is"
    " needed; pick it with call=lambda apply, variables, inputs, *, train, **kw:"
    f" apply(variables, {stars}inputs, **kw){pick}, or return all of it there for"
    " a task with several heads"
  )


def _misfit(
  kind: type, names: list[str], inputs: Any, error: TypeError
) -> UserError:
  several = isinstance(inputs, Mapping) and len(inputs) > 1
  inputs_text = f"the inputs {', '.join(inputs)}" if several else "one input"
  unknown = [name for name in inputs if name not in names] if several else ()
  near = difflib.get_close_matches("".join(unknown[:1]), names, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  return UserError(
    f"{kind.__name__} cannot be called with {inputs_text}: {error}{hint} It takes:"
    f" {', '.join(names)}. Where it is to be called otherwise, say so with call="
  )
