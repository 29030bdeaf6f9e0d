"""Networks as kdjax calls them, whatever they are written in."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import errors

from kdjax.core.arguments import (
  check_function,
  check_kind,
  check_text,
  misfit,
)
from kdjax.core.errors import UserError
from kdjax.taps import linen
from kdjax.taps.calling import (
  class_of,
  default_call,
  linear_layer,
  nameless,
)
from kdjax.taps.decoding import Decoding, decoding_of
from kdjax.taps.grammar import parse_taps


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
    collections: variables as their owner has them -> by collection.
    native: variables by collection -> as their owner has them; for nnx what
      `nnx.update(module, ...)` takes.
    module: the linen module that it was made of, where that can be compared;
      else None.
    decoding: how it reads on with a cache; None where it has none.
  """

  init: Callable[[Any, Any], Any]
  apply: Callable[..., tuple[Any, dict[str, Any], Any]]
  classifier: Callable[[Any], dict | None]
  rows: Callable[[Any, Any], list[linen.Row]]
  collections: Callable[[Any], dict[str, Any]] = dict
  native: Callable[[Any], Any] = dict
  module: Any = None
  decoding: Decoding | None = None


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
      module's own, of which only the outputs come back; **kw goes on to it. A
      single input comes without its name, several are a mapping.
    classifier: path of the linear layer that ends the network, "encoder/out". A
      module that has an `output_layer(params)` says itself which that is.

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
    raise misfit("module", "a linen module", module)
  _check_call(call, classifier)
  try:
    hash((module, call))
  except TypeError:
    network = _from_linen.__wrapped__(module, call, classifier)
    return network._replace(module=None)
  return _from_linen(module, call, classifier)


def from_nnx(
  module: Any,
  *,
  call: Callable | None = None,
  classifier: str | None = None,
) -> tuple[Network, Any]:
  """Makes a network of an nnx module, and takes its arrays out of it.

  The module is called as `from_linen` calls one, in the mode of its `train()` or
  `eval()`. It is never touched: `nnx.update(module, variables)` brings it what
  was learned.

  Args:
    module: any nnx module.
    call: call(apply, variables, inputs, *, train, **kw) -> outputs, for a module
      that is called otherwise or gives more than its logits.
    classifier: path of the linear layer that ends the network, "layers/2".

  Returns:
    The network and its variables by collection: "params" (nnx.Param),
    "batch_stats" (nnx.BatchStat), and others by the type of nnx variable. The
    state of random streams is none of them: while it trains, a network draws
    from the `rngs` that `apply` gets; the same network in linen draws the same.
    `init` gives the same variables, whatever the key.

  Raises:
    UserError: for what is no nnx module; when called, for inputs that
      `__call__` does not take, for outputs that are not one array, and for
      variables of another module, with names and shapes.

  Example:
    >>> from flax import nnx
    >>> module = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    >>> network, variables = from_nnx(module)
    >>> logits, features, _ = network.apply(variables, jnp.ones((2, 4)))
    >>> logits.shape, variables["params"]["kernel"].shape
    ((2, 3), (4, 3))
    >>> nnx.update(module, jax.tree.map(jnp.zeros_like, variables))
    >>> print(module.kernel.sum())
    0.0
  """
  # Linen alone does without it.
  from flax import nnx

  from kdjax.taps import nnx_network
  from kdjax.taps.nnx_variables import Variables, by_collection

  if not isinstance(module, nnx.Module):
    raise misfit("module", "an nnx module", module)
  _check_call(call, classifier)
  structure, variables = nnx_network.take_apart(module)
  lists = variables.lists
  init, apply, rows = nnx_network.functions_of(
    module, structure, variables, call
  )
  return (
    Network(
      init,
      apply,
      lambda variables: linear_layer(variables["params"], classifier),
      rows,
      by_collection,
      lambda collections: Variables(collections, lists),
    ),
    variables,
  )


def from_apply(apply: Callable, *, init: Callable | None = None) -> Network:
  """Makes a network of a pure function, whatever it was written in.

  Args:
    apply: apply(variables, inputs, *, train, rngs) -> outputs, or (outputs,
      variables) where something moves on in training. `variables` are arrays by
      collection, {"params": what is trained, ...: what moves on}; or any other
      tree of arrays, all of which is trained. `inputs` are an array, or arrays
      by name; a single one comes without its name.
    init: (key, inputs) -> variables; None where they are always given.

  Returns:
    The network. It has no taps and no classifier: methods that need features say
    so.

  Raises:
    UserError: for what is no function; when called, for taps; for a tuple that is not (outputs,
      variables); for variables to be drawn where there is no `init`.

  Example:
    >>> def logits(variables, inputs, *, train, rngs):
    ...   return inputs @ variables["params"]["kernel"]
    >>> network = from_apply(logits)
    >>> variables = {"params": {"kernel": jnp.ones((4, 3))}}
    >>> network.apply(variables, jnp.ones((2, 4)))[0].shape
    (2, 3)
  """
  check_function("apply", apply)
  if init is not None:
    check_function("init", init)
  return _from_apply(apply, init)


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
    UserError: for what is no network, and one that shows no taps, see
      `from_apply`.

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
  check_kind("network", network, "network")
  if not all(hasattr(x, "shape") for x in jax.tree.leaves(inputs)):
    raise misfit("inputs", "an array, or arrays by name", inputs)
  return network.rows(network.collections(variables), inputs)


def _check_call(call: Any, classifier: Any) -> None:
  if call is not None:
    check_function("call", call)
  if classifier is not None:
    check_text("classifier", classifier)


@functools.cache
def _from_linen(module, call, classifier) -> Network:
  call = call or default_call(class_of(module))

  def init(key, inputs):
    results = []
    inputs = nameless(inputs)

    def outputs_alone(_, *args, **kwargs):
      outputs, variables = module.init_with_output(key, *args, **kwargs)
      results.append(variables)
      return outputs

    call(outputs_alone, {}, inputs, train=False)
    return results[-1]

  def run(variables, inputs, *, train=False, mutable=False, **rngs):
    collections = {}
    inputs = nameless(inputs)

    def outputs_alone(variables, *args, **kwargs):
      result = module.apply(variables, *args, mutable=mutable, **kwargs)
      if mutable is False:
        return result
      outputs, updates = result
      collections.update(updates)
      return outputs

    def outputs_of(rngs):
      return call(outputs_alone, variables, inputs, train=train, **rngs)

    try:
      try:
        outputs = outputs_of(rngs)
      except errors.InvalidRngError:
        if not rngs:
          raise
        outputs = outputs_of({"rngs": _with_fallback(**rngs)})
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
    run_tapped = linen.tapped(run, taps)
    kwargs = {} if rngs is None else {"rngs": rngs}
    if not train:
      outputs, features = run_tapped(variables, inputs, train=False, **kwargs)
      return outputs, features, variables
    moving = [name for name in variables if name != "params"]
    (outputs, collections), features = run_tapped(
      variables, inputs, train=True, mutable=moving, **kwargs
    )
    return outputs, features, {**variables, **collections}

  output_layer = getattr(module, "output_layer", None)
  layer = output_layer or functools.partial(linear_layer, path=classifier)
  return Network(
    init,
    apply,
    lambda variables: layer(variables["params"]),
    lambda variables, inputs: linen.describe(run, variables, inputs),
    _by_collection,
    module=module,
    decoding=decoding_of(module),
  )


def _by_collection(variables: Any) -> dict[str, Any]:
  """Refuses what cannot be a linen module's."""
  named = isinstance(variables, Mapping)
  if not named or (variables and "params" not in variables):
    raise misfit(
      "variables", 'arrays by collection, {"params": ..., ...}', variables
    )
  return dict(variables)


@functools.cache
def _from_apply(function, init) -> Network:
  def start(key, inputs):
    if init is None:
      raise UserError(
        "from_apply(..., init=None) draws no variables: give some"
      )
    return init(key, nameless(inputs))

  def apply(variables, inputs, *, taps=(), train=False, rngs=None):
    if parse_taps(taps):
      raise _no_taps(f" ({taps!r})")
    native = _native(variables)
    result = function(native, nameless(inputs), train=train, rngs=rngs)
    if not isinstance(result, tuple):
      return result, {}, variables
    outputs, updates = result if len(result) == 2 else (None, None)
    if updates is native or (not train and isinstance(updates, Mapping)):
      return outputs, {}, variables
    if not isinstance(updates, Mapping) or not updates.keys() <= {*variables}:
      raise UserError(
        f"the function of from_apply gives a tuple of {len(result)}; it may give"
        " outputs, or (outputs, variables), the variables by collection as it got"
        ' them, {"params": ..., "batch_stats": ...}'
      )
    return outputs, {}, {**variables, **updates, "params": variables["params"]}

  def rows(variables, inputs):
    raise _no_taps("")

  return Network(
    start, apply, lambda variables: None, rows, _collections, _native
  )


# Marks variables that were a tree of parameters and nothing else.
_BARE = "bare"


def _collections(variables: Any) -> dict[str, Any]:
  if isinstance(variables, Mapping) and "params" in variables:
    return dict(variables)
  return {"params": variables, _BARE: {}}


def _native(variables: Any) -> Any:
  bare = isinstance(variables, Mapping) and _BARE in variables
  return variables["params"] if bare else variables


def _no_taps(what: str) -> UserError:
  return UserError(
    f"nothing can be tapped{what} in a network from from_apply, which is a"
    " function; from_linen and from_nnx make networks that can be"
  )


def _with_fallback(rngs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Adds the key from which linen draws for streams of any other name."""
  return {"params": jax.random.fold_in(next(iter(rngs.values())), 1), **rngs}


def _without_link(error: errors.FlaxError) -> str:
  """Flax ends its errors with the address of a page about them."""
  return str(error).split(" (https://")[0]
