"""Networks as kdjax calls them, whatever they are written in."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
from flax import errors

from kdjax.core.errors import UserError
from kdjax.taps import linen
from kdjax.taps.calling import default_call, linear_layer


class Network(NamedTuple):
  """A network is three pure functions, and one that lists what can be tapped.

  `inputs` are an array, or arrays by name; `variables` are arrays by collection,
  {"params": what is trained, ...: what moves on while it is trained}.

  Attributes:
    init: (key, inputs) -> variables.
    apply: (variables, inputs, *, taps=(), train=False, rngs=None) -> (outputs,
      features by tap, variables). With train=False the variables are those that
      came; with train=True their collections have moved on.
    classifier: variables -> the linear layer that ends it, {"kernel": (D, C),
      "bias": (C,)}, or None.
    rows: (variables, inputs) -> what can be tapped, see `describe`.
  """

  init: Callable[[Any, Any], Any]
  apply: Callable[..., tuple[Any, dict[str, Any], Any]]
  classifier: Callable[[Any], dict | None]
  rows: Callable[[Any, Any], list[linen.Row]]


def from_linen(
  module: nn.Module,
  *,
  call: Callable | None = None,
  classifier: str | None = "head",
) -> Network:
  """Makes a network of a linen module.

  By default the module is called as its `__call__` wants: a batch with one input
  hands it over positionally, one with several by name; `train`, `training`,
  `deterministic` and `use_running_average` are set where they are arguments.

  Args:
    module: any linen module; nothing of kdjax needs to be in it.
    call: call(apply, variables, inputs, *, train, **kw) -> outputs, for a module
      that is called otherwise or gives more than its logits. `apply` is the
      module's own, of which only the outputs come back; **kw goes on to it.
    classifier: path of the linear layer that ends the network, "encoder/out".

  Returns:
    The network. Equal modules give equal networks, so that a program that was
    compiled for one serves the other.

  Raises:
    UserError: for what is no linen module; when called, for inputs that
      `__call__` does not take, for outputs that are not one array, and for
      variables that are not the module's.

  Example:
    >>> network = from_linen(nn.Dense(3), classifier=None)
    >>> variables = network.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> logits, features, _ = network.apply(variables, jnp.ones((2, 4)))
    >>> logits.shape, features
    ((2, 3), {})
  """
  if isinstance(module, type) or not hasattr(module, "apply"):
    raise UserError(f"from_linen takes a linen module, got {_words(module)}")
  try:
    hash((module, call))
  except TypeError:
    return _from_linen.__wrapped__(module, call, classifier)
  return _from_linen(module, call, classifier)


def describe(network: Network, variables: Any, inputs: Any) -> list[linen.Row]:
  """Lists what can be tapped in a network, without computing anything.

  Args:
    network: from `from_linen` or `from_nnx`.
    variables: its variables; shapes (jax.ShapeDtypeStruct) do.
    inputs: an array, or arrays by name; shapes do.

  Returns:
    Every module's output and all attention weights, in the order of execution:
    tap, shape, dtype, and the module's type.

  Raises:
    UserError: for a network that shows no taps, see `from_apply`.

  Example:
    >>> network = from_linen(nn.Sequential([nn.Dense(3), nn.Dense(2)]))
    >>> images = jnp.ones((1, 4))
    >>> variables = network.init(jax.random.key(0), images)
    >>> for row in describe(network, variables, images):
    ...   print(*row)
    :out (1, 2) float32 Sequential
    layers_0 (1, 3) float32 Dense
    layers_1 (1, 2) float32 Dense
  """
  return network.rows(variables, inputs)


@functools.cache
def _from_linen(module, call, classifier) -> Network:
  call = call or default_call(type(module))

  def init(key, inputs):
    made = []

    def outputs_alone(_, *args, **kwargs):
      outputs, variables = module.init_with_output(key, *args, **kwargs)
      made.append(variables)
      return outputs

    call(outputs_alone, {}, inputs, train=False)
    return made[-1]

  def run(variables, inputs, *, train=False, mutable=False, **rngs):
    collections = {}

    def outputs_alone(variables, *args, **kwargs):
      result = module.apply(variables, *args, mutable=mutable, **kwargs)
      if mutable is False:
        return result
      outputs, moved = result
      collections.update(moved)
      return outputs

    try:
      outputs = call(outputs_alone, variables, inputs, train=train, **rngs)
    except errors.FlaxError as error:
      raise UserError(
        f"{type(module).__name__}: {_without_link(error)}"
      ) from error
    return outputs if mutable is False else (outputs, collections)

  def apply(
    variables: Any,
    inputs: Any,
    *,
    taps: str | Sequence[str] = (),
    train: bool = False,
    rngs: dict | None = None,
  ) -> tuple[Any, dict[str, Any], Any]:
    tapped = linen.tapped(run, taps)
    kwargs = {} if rngs is None else {"rngs": rngs}
    if not train:
      outputs, features = tapped(variables, inputs, train=False, **kwargs)
      return outputs, features, variables
    moving = [name for name in variables if name != "params"]
    (outputs, collections), features = tapped(
      variables, inputs, train=True, mutable=moving, **kwargs
    )
    return outputs, features, {**variables, **collections}

  return Network(
    init,
    apply,
    lambda variables: linear_layer(variables["params"], classifier),
    lambda variables, inputs: linen.describe(run, variables, inputs),
  )


def _words(module: Any) -> str:
  if isinstance(module, type):
    return f"a class; give what it makes: {module.__name__}(...)"
  kind = type(module)
  nnx = any(base.__module__.startswith("flax.nnx") for base in kind.__mro__)
  return f"{kind.__name__}, which from_nnx takes" if nnx else kind.__name__


def _without_link(error: errors.FlaxError) -> str:
  """Flax ends its errors with the address of a page about them."""
  return str(error).split(" (https://")[0]
