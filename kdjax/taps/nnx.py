"""Taps for flax.nnx: the same texts, paths being attributes and list indices.

nnx has no interceptors, so the forward pass runs on a copy of the module's
structure that shares all its variables; there, the tapped modules are of
subclasses that record. The module itself is never touched.
"""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from flax import errors, nnx

from kdjax.core.errors import UserError
from kdjax.taps.attention import caught_weights
from kdjax.taps.grammar import (
  Tap,
  covers,
  covers_path,
  parse_taps,
  shorten_names,
)
from kdjax.taps.missing import CalledModules, gather_taps, not_reached

_RECORD = "kdjax_taps_record"
_PLAN = "kdjax_taps_plan"


class Record(nnx.Variable):
  """What passed through one module by "method:site", one value a call."""


class Order(NamedTuple):
  """What to do at a place: read it, or edit it with a function."""

  tap: Tap
  edit: Callable | None = None


def tapped(
  module: nnx.Module | Callable, taps: str | Iterable[str]
) -> Callable:
  """Makes a module, or one of its bound methods, also return features.

  Args:
    module: an nnx module, or for example `module.encode`.
    taps: what to read, see `kdjax.taps.grammar`; "layers/0" is the first of a
      list. None leaves the program as it is.

  Returns:
    A function of the module's arguments that returns (its output, features by
    tap). State such as running averages and random counters moves on as usual;
    what the forward pass *assigns* anew to the module is lost.

  Raises:
    UserError: when called for a tap that is not reached, with what there is.

  Example:
    >>> from flax import nnx
    >>> network = nnx.Sequential(
    ...   nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.Linear(3, 2, rngs=nnx.Rngs(1))
    ... )
    >>> output, feats = tapped(network, ["layers/0", "layers/1:in"])(jnp.ones((1, 4)))
    >>> {tap: value.shape for tap, value in feats.items()}
    {'layers/0': (1, 3), 'layers/1:in': (1, 3)}
  """
  patterns = parse_taps(taps)
  if not patterns:
    return lambda *args, **kwargs: (module(*args, **kwargs), {})
  copy = _bound(module)

  def run(*args, **kwargs):
    result, values, modules = copy.run(map(Order, patterns), args, kwargs)
    return result, gather_taps(patterns, values, modules)

  return run


def edited(
  module: nnx.Module | Callable, edits: Mapping[str, Callable[[Any], Any]]
) -> Callable:
  """Makes a module, or one of its bound methods, compute with changed features.

  Args:
    module: an nnx module, or for example `module.encode`.
    edits: by tap (`:in` or `:out`), the function whose result takes the value's
      place. Gradients flow through it.

  Returns:
    A function that takes and returns what the module does. `tapped(edited(...))`
    reads what the edits leave; an `:in` both edited and tapped is read before.

  Raises:
    UserError: for `:weights`, which can only be read; when called for a tap that
      is not reached, with what there is.

  Example:
    >>> from flax import nnx
    >>> network = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    >>> print(edited(network, {":out": jnp.zeros_like})(jnp.ones((1, 4))))
    [[0. 0.]]
  """
  orders = list(map(Order, parse_taps(edits), edits.values()))
  for order in orders:
    if order.tap.site == "weights":
      raise UserError(
        f"tap '{order.tap}': attention weights can be read, not edited"
      )
  copy = _bound(module)
  return copy._replace(orders=(*copy.orders, *orders)) if orders else module


class Listing:
  """What runs in a module. No dataclass: modules that carry it compare it.

  Attributes:
    taps: all outputs and attention weights, of transforms that keep their values
      inside as well.
    modules: those that ran, and their calls.
  """

  def __init__(self):
    self.taps: list[Tap] = []
    self.modules = CalledModules()


def listed(module: nnx.Module | Callable, listing: Listing) -> Callable:
  """Makes a module, or one of its bound methods, list what runs in it.

  Args:
    listing: what is added to when the function returned is called.

  Returns:
    A function that takes what the module does and returns (its output, {}).
  """
  network, name, _ = _bound(module)

  def run(*args, **kwargs):
    copy = nnx.clone(network, variables=False)
    for path, part in list(nnx.iter_modules(copy)):
      part.kdjax_listing, part.kdjax_path = listing, tuple(map(str, path))
      object.__setattr__(part, "__class__", _listed(type(part)))
    return getattr(copy, name)(*args, **kwargs), {}

  return run


@functools.cache
def _listed(kind: type) -> type:
  """Makes the subclass whose `__call__` and public methods list themselves."""

  def listing(name):
    original = getattr(kind, name)

    @functools.wraps(original)
    def method(self, *args, **kwargs):
      path, taps, modules = (
        self.kdjax_path,
        self.kdjax_listing.taps,
        self.kdjax_listing.modules,
      )
      tap = Tap(path, name, call=modules.calls.get((path, name), 0))
      modules.add(self, path, name)
      taps.append(tap)
      if name == "__call__" and isinstance(self, nnx.MultiHeadAttention):
        taps.append(tap._replace(site="weights"))
      return original(self, *args, **kwargs)

    return method

  def public(name):
    static = inspect.getattr_static(kind, name)
    return callable(getattr(kind, name)) and not isinstance(
      static, staticmethod | classmethod | type
    )

  names = {name for name in dir(kind) if not name.startswith("_")}
  names -= {*dir(nnx.Module)}
  names |= {"__call__"} & {*dir(kind)}
  return subclass(kind, {name: listing(name) for name in filter(public, names)})


class Changed(NamedTuple):
  """A module's method with edits; called as the method is.

  Attributes:
    network: the module.
    method: the name of the method.
    orders: the edits.
  """

  network: nnx.Module
  method: str
  orders: tuple[Order, ...] = ()

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    if not self.orders:
      return getattr(self.network, self.method)(*args, **kwargs)
    return self.run((), args, kwargs)[0]

  def run(
    self, reads: Iterable[Order], args: tuple, kwargs: dict
  ) -> tuple[Any, dict[Tap, Any], CalledModules]:
    orders = (*self.orders, *reads)
    copy = _watching(self.network, orders)
    try:
      result = getattr(copy, self.method)(*args, **kwargs)
    except TypeError as error:
      # A scan whose carry grows by what is recorded.
      if _RECORD not in str(error):
        raise
      taps = shorten_names(str(order.tap) for order in orders)
      raise UserError(
        f"of the taps {taps} one runs under nnx.scan or another transform that"
        " keeps its values inside"
      ) from None
    values, modules = _recorded(copy)
    for tap, _ in self.orders:
      if not any(covers(tap._replace(site="calls"), call) for call in values):
        raise not_reached(tap, modules)
    return result, values, modules


def _bound(module: nnx.Module | Callable) -> Changed:
  if isinstance(module, Changed):
    return module
  if isinstance(module, nnx.Module):
    return Changed(module, "__call__")
  owner = getattr(module, "__self__", None)
  if not isinstance(owner, nnx.Module):
    raise TypeError(
      "taps need an nnx module or a bound method of one, got"
      f" {type(module).__name__}"
    )
  return Changed(owner, module.__name__)


def _watching(network: nnx.Module, orders: Iterable[Order]) -> nnx.Module:
  """Copies the structure, shares the variables, and has the copy record."""
  orders = tuple(dict.fromkeys(orders))
  copy = nnx.clone(network, variables=False)
  for path, module in list(nnx.iter_modules(copy)):
    here = tuple(
      order
      for order in orders
      if covers_path(order.tap.path, tuple(map(str, path)))
      and callable(getattr(type(module), order.tap.method, None))
    )
    if here:
      setattr(module, _PLAN, here)
      setattr(module, _RECORD, Record({}))
      methods = frozenset(order.tap.method for order in here)
      object.__setattr__(module, "__class__", _watched(type(module), methods))
  return copy


@functools.cache
def _watched(kind: type, methods: frozenset[str]) -> type:
  """Makes the subclass whose methods record; one each, as nnx keeps them all."""

  def watched(name):
    original = getattr(kind, name)

    @functools.wraps(original)
    def method(self, *args, **kwargs):
      call = functools.partial(original, self, **kwargs)
      return _run(self, name, call, args)

    return method

  return subclass(kind, {name: watched(name) for name in methods})


def subclass(kind: type, methods: Mapping[str, Callable]) -> type:
  """Makes a class of the same name with some methods of its own."""
  return types.new_class(
    kind.__name__,
    (kind,),
    {"pytree": getattr(kind, "_pytree__is_pytree", True)},
    lambda body: body.update(methods),
  )


def _run(module: nnx.Module, name: str, call: Callable, args: tuple) -> Any:
  """Carries out a method and the orders for it."""
  orders = [
    order for order in getattr(module, _PLAN) if order.tap.method == name
  ]
  number = len(getattr(module, _RECORD).get_value().get(f"{name}:calls", ()))
  edits = [o for o in orders if o.edit and o.tap.call == number]
  sites = {order.tap.site: order.tap for order in orders if not order.edit}
  entries = [o.tap for o in (*edits, *orders) if o.tap.site == "in"]
  if entries and not args:
    raise UserError(
      f"tap '{entries[0]}': the module is called without positional input"
    )
  if entries:
    _record(module, name, "in", args[0], sites)
  for order in edits:
    if order.tap.site == "in":
      args = (order.edit(args[0]), *args[1:])
  if "weights" in sites and isinstance(module, nnx.MultiHeadAttention):
    with caught_weights(module, sites["weights"], False) as weights:
      result = call(*args)
    _record(module, name, "weights", weights[-1], sites)
  else:
    result = call(*args)
  for order in edits:
    if order.tap.site == "out":
      result = order.edit(result)
  _record(module, name, "out", result, sites)
  _record(module, name, "calls", (), {"calls"})
  return result


def _record(module, name, site, value, tapped_sites) -> None:
  if site not in tapped_sites:
    return
  record, key = getattr(module, _RECORD), f"{name}:{site}"
  values = record.get_value()
  try:
    record.set_value({**values, key: (*values.get(key, ()), value)})
  except errors.TraceContextError:
    raise UserError(
      f"a {type(module).__name__} that is tapped runs inside a jax transform that"
      " closes over it; pass the module as an argument of the nnx transform"
    ) from None


def _recorded(copy: nnx.Module) -> tuple[dict[Tap, Any], CalledModules]:
  values, modules = {}, CalledModules()
  for path, module in nnx.iter_modules(copy):
    path = tuple(map(str, path))
    if callable(module):
      modules.kinds[path] = type(module).__name__
    if not hasattr(module, _RECORD):
      continue
    for order in getattr(module, _PLAN):
      modules.calls[path, order.tap.method] = 0
    for key, record in getattr(module, _RECORD).get_value().items():
      method, site = key.split(":")
      if site == "calls":
        modules.calls[path, method] = len(record)
      values |= {
        Tap(path, method, site, call): value
        for call, value in enumerate(record)
      }
  return values, modules
