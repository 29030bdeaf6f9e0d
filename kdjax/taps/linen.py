"""Taps for flax.linen: through method interceptors and a private collection.

Values leave the network as variables that were sown, so that jit, grad, vmap,
pmap, nn.remat and nn.jit treat them as any other output. Whatever of this a
network shows beside its output is read off by `tapped` and never seen by others.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from kdjax.core.errors import UserError
from kdjax.taps.attention import caught_weights, is_stock
from kdjax.taps.collection import (
  COLLECTION,
  mark_modules,
  take_sown,
  with_collection,
)
from kdjax.taps.grammar import (
  Tap,
  covers,
  covers_path,
  parse_tap,
  parse_taps,
)
from kdjax.taps.missing import CalledModules, gather_taps, hidden, not_reached

_numbers = itertools.count()


class Row(NamedTuple):
  """One place of a network that can be tapped.

  Attributes:
    tap: its text.
    shape: the shape of the array there, a tuple of them where it is several.
    dtype: its type.
    module: the type of the module.
  """

  tap: str
  shape: tuple
  dtype: str
  module: str


def tapped(apply_fn: Callable, taps: str | Iterable[str]) -> Callable:
  """Makes a network's `apply` also return features.

  Args:
    apply_fn: a linen module's `apply`, or a function that passes all on to one.
    taps: what to read, see `kdjax.taps.grammar`; nothing leaves the program as is.

  Returns:
    A function of the same arguments that returns (what apply_fn returns,
    features by tap). Globs give one feature a match.

  Raises:
    UserError: here for text that is no tap; when called for a tap that is not
      reached, with what there is.

  Example:
    >>> network = nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(2)])
    >>> variables = network.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> apply = tapped(network.apply, ["layers_0", "layers_2:in"])
    >>> logits, feats = apply(variables, jnp.ones((1, 4)))
    >>> {tap: value.shape for tap, value in feats.items()}
    {'layers_0': (1, 3), 'layers_2:in': (1, 3)}
  """
  patterns = parse_taps(taps)
  if not patterns:
    return lambda *args, **kwargs: (apply_fn(*args, **kwargs), {})
  paths = [tap.path for tap in patterns]
  token = " ".join([COLLECTION, *sorted(map(str, patterns))])

  def apply(variables, *args, mutable=False, **kwargs):
    modules = CalledModules()

    def is_tapped(tap):
      return any(covers(pattern._replace(call=0), tap) for pattern in patterns)

    with _around_others(_reader(is_tapped, modules)):
      result, collections = apply_fn(
        mark_modules(variables, paths),
        *args,
        mutable=with_collection(mutable, token),
        **kwargs,
      )
    sown, collections = take_sown(collections, "read")
    result = result if mutable is False else (result, collections)
    return result, gather_taps(patterns, sown, modules)

  return apply


def edited(
  apply_fn: Callable, edits: Mapping[str, Callable[[Any], Any]]
) -> Callable:
  """Makes a network's `apply` compute with changed features.

  Args:
    apply_fn: a linen module's `apply`, or a function that passes all on to one.
    edits: by tap (`:in` or `:out`), the function whose result takes the value's
      place. Gradients flow through it.

  Returns:
    A function that takes and returns what apply_fn does. `tapped(edited(...))`
    reads what the edits leave; an `:in` both edited and tapped is read before.

  Raises:
    UserError: here for text that is no tap, or `:weights`, which can only be
      read; when called for a tap that is not reached, with what there is.

  Example:
    >>> network = nn.Sequential([nn.Dense(3), nn.Dense(2, use_bias=False)])
    >>> variables = network.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> apply = edited(network.apply, {"layers_0": jnp.zeros_like})
    >>> print(apply(variables, jnp.ones((1, 4))))
    [[0. 0.]]
  """
  functions = dict(zip(parse_taps(edits), edits.values(), strict=True))
  if not functions:
    return apply_fn
  for tap in functions:
    if tap.site == "weights":
      raise UserError(f"tap '{tap}': attention weights can be read, not edited")
  # Unlike taps, equal edits cannot be told by their text.
  name = f"edit{next(_numbers)}"
  token = f"{COLLECTION} {name}"
  paths = [tap.path for tap in functions]

  def apply(variables, *args, mutable=False, **kwargs):
    modules = CalledModules()
    with _around_others(_editor(functions, name, modules)):
      result, collections = apply_fn(
        mark_modules(variables, paths),
        *args,
        mutable=with_collection(mutable, token),
        **kwargs,
      )
    counts, collections = take_sown(collections, name)
    for pattern in functions:
      count = pattern._replace(site="count")
      if not any(covers(count, tap) for tap in counts):
        raise not_reached(pattern, modules)
    return result if mutable is False else (result, collections)

  return apply


def describe(
  apply_fn: Callable, variables: Any, *args: Any, **kwargs: Any
) -> list[Row]:
  """Lists what can be tapped, without computing anything.

  Args:
    apply_fn: a linen module's `apply`.
    variables: as apply_fn takes them; shapes (jax.ShapeDtypeStruct) do.
    *args: further arguments of apply_fn, arrays or shapes.
    **kwargs: likewise.

  Returns:
    Every module's output and all attention weights, in the order of execution.

  Example:
    >>> network = nn.Sequential([nn.Dense(3), nn.Dense(2)])
    >>> images = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    >>> variables = jax.eval_shape(network.init, jax.random.key(0), images)
    >>> for row in describe(network.apply, variables, images):
    ...   print(*row)
    :out (1, 2) float32 Sequential
    layers_0 (1, 3) float32 Dense
    layers_1 (1, 2) float32 Dense
  """
  leaves, tree = jax.tree.flatten((variables, args, kwargs))
  arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")}
  modules = CalledModules()

  def public(tap):
    has_name = tap.method.isidentifier() and not tap.method.startswith("_")
    return tap.site != "in" and (has_name or tap.method == "__call__")

  def run(arrays):
    arguments = [arrays.get(i, leaf) for i, leaf in enumerate(leaves)]
    variables, args, kwargs = jax.tree.unflatten(tree, arguments)
    mutable = kwargs.pop("mutable", False)
    token = f"{COLLECTION} listing {next(_numbers)}"
    with _around_others(_reader(public, modules, everything=True)):
      _, collections = apply_fn(
        mark_modules(variables, ()),
        *args,
        mutable=with_collection(mutable, token),
        **kwargs,
      )
    sown, _ = take_sown(collections, "read")
    return {str(tap): value for tap, value in sown.items()}

  return rows_of(jax.eval_shape(run, arrays), modules)


def rows_of(values: Mapping[str, Any], modules: CalledModules) -> list[Row]:
  """Makes rows of shapes by tap, in the order of execution."""
  order = {path: i for i, path in enumerate(modules.kinds)}
  places = [
    (order.get(parse_tap(text).path, len(order)), text) for text in values
  ]
  return [_row(text, values[text], modules) for _, text in sorted(places)]


def _row(text: str, value: Any, modules: CalledModules) -> Row:
  leaves = jax.tree.leaves(value)
  shapes = tuple(leaf.shape for leaf in leaves)
  alone = hasattr(value, "shape")
  return Row(
    text,
    value.shape if alone else shapes,
    ", ".join(str(leaf.dtype) for leaf in leaves),
    modules.kinds.get(parse_tap(text).path, "Module"),
  )


def _reader(
  is_tapped: Callable[[Tap], bool],
  modules: CalledModules,
  *,
  everything: bool = False,
) -> Callable:
  """Makes the interceptor that sows the values that are wanted."""

  def read(module, tap, value):
    if not is_tapped(tap):
      return
    visible = module.scope.is_mutable_collection(COLLECTION)
    if everything and not (visible and _is_arrays(value)):
      return
    if not visible:
      raise hidden(tap, COLLECTION)
    module.sow(COLLECTION, f"{tap.method}:read:{tap.site}", value)

  def intercept(call, args, context, outermost):
    module, path, method = (
      context.module,
      context.module.path,
      context.method_name,
    )
    if outermost:
      modules.add(module, path, method)
    weights = Tap(path, method, "weights")
    if is_stock(context.orig_method) and is_tapped(weights):
      with caught_weights(module, weights, everything) as all_weights:
        result = call(*args)
      for value in all_weights:
        read(module, weights, value)
    else:
      result = call(*args)
    if outermost:
      entry = Tap(path, method, "in")
      if is_tapped(entry):
        read(module, entry, _first(args, entry))
      read(module, Tap(path, method), result)
    return result

  return _interceptor(intercept)


def _editor(
  functions: Mapping[Tap, Callable], name: str, modules: CalledModules
) -> Callable:
  """Makes the interceptor that changes values on their way."""

  def intercept(call, args, context, outermost):
    module, path, method = (
      context.module,
      context.module.path,
      context.method_name,
    )
    if not outermost:
      return call(*args)
    modules.add(module, path, method)
    here = [
      (tap, function)
      for tap, function in functions.items()
      if tap.method == method and covers_path(tap.path, path)
    ]
    if not here:
      return call(*args)
    if not module.scope.is_mutable_collection(COLLECTION):
      raise hidden(here[0][0], COLLECTION)
    # The count is a variable, not a Python number, so that nn.jit, which keeps
    # the trace of the first call, traces the second call anew.
    count = f"{method}:{name}:count"
    number = len(module.get_variable(COLLECTION, count, ()))
    for tap, function in here:
      if tap.site == "in" and tap.call == number:
        args = (function(_first(args, tap)), *args[1:])
    result = call(*args)
    module.sow(COLLECTION, count, ())
    for tap, function in here:
      if tap.site == "out" and tap.call == number:
        result = function(result)
    return result

  return _interceptor(intercept)


@contextlib.contextmanager
def _around_others(interceptor: Callable) -> Iterator[None]:
  """Registers an interceptor around those that are no taps.

  What replaces a layer's computation, as training does with dropout and batch
  normalisation, never calls the interceptors inside it, and those that came first
  are outside.
  """
  # `nn.intercept_methods` would put it inside all others: it can only append.
  stack = nn.module._global_interceptor_stack._storage
  ours = [i for i, one in enumerate(stack) if hasattr(one, "is_tap")]
  interceptor.is_tap = True
  stack.insert(max(ours, default=-1) + 1, interceptor)
  try:
    yield
  finally:
    stack.remove(interceptor)


def _interceptor(intercept: Callable) -> Callable:
  """Tells a method's own call from those that only carry it out.

  `super().__call__` and the inside of a lifted class run under the same path and
  name again; the caller sees one call.
  """
  active = set()

  def run(next_function, args, kwargs, context):
    module = context.module
    if module.scope is None or context.method_name == "setup":
      return next_function(*args, **kwargs)
    here = (module.path, context.method_name)
    outermost = here not in active
    active.add(here)
    try:
      call = functools.partial(next_function, **kwargs)
      return intercept(call, args, context, outermost)
    finally:
      if outermost:
        active.remove(here)

  return run


def _first(args: tuple, tap: Tap) -> Any:
  if not args:
    raise UserError(
      f"tap '{tap}': the module is called without positional input"
    )
  return args[0]


def _is_arrays(value: Any) -> bool:
  return all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(value))
