"""Networks of nnx modules: the module's structure, and its arrays apart."""

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from flax import nnx

from kdjax.core.errors import UserError
from kdjax.taps.calling import default_call, nameless
from kdjax.taps.linen import Row, rows_of
from kdjax.taps.nnx import Changed, Listing, listed, tapped
from kdjax.taps.nnx_layers import forbid_streams, key_streams, show_layers
from kdjax.taps.nnx_variables import (
  Place,
  Variables,
  gather,
  lists_in,
  places_in,
  raw,
  spread,
)


class Structure(NamedTuple):
  """What a module is without the arrays that a network learns.

  Attributes:
    name: of its class.
    graphdef: its modules and settings.
    constants: by path, the state of its random streams, and what is no array.
    places: where its arrays are.
  """

  name: str
  graphdef: Any
  constants: dict[tuple, Any]
  places: tuple[Place, ...]

  def module(self, variables: Any, train: bool, rngs: Any) -> nnx.Module:
    """Makes the module of variables, in a mode, for one forward pass."""
    values = self.constants | spread(self.places, variables, self.name)
    module = nnx.merge(self.graphdef, nnx.from_flat_state(values.items()))
    (module.train if train else module.eval)()
    if rngs:
      key_streams(module, rngs)
    elif train:
      forbid_streams(module)
    if train:
      show_layers(module)
    return module


def take_apart(module: nnx.Module) -> tuple[Structure, Variables]:
  """Separates a module's structure from its arrays."""
  graphdef, state = nnx.split(module)
  values = {path: raw(leaf) for path, leaf in nnx.to_flat_state(state)}
  places = places_in(state)
  paths = {place.path for place in places}
  constants = {p: value for p, value in values.items() if p not in paths}
  structure = Structure(type(module).__name__, graphdef, constants, places)
  return structure, Variables(gather(places, values), lists_in(places))


def functions_of(
  module: nnx.Module,
  structure: Structure,
  variables: Variables,
  call: Callable | None,
) -> tuple[Callable, Callable, Callable]:
  """Makes the functions of a network: init, apply and rows.

  Args:
    structure: the module's.
    variables: its arrays, for `init` while somebody else has them.
    call: as `from_nnx` takes it.
  """
  call = call or default_call(type(module))
  # References would keep the arrays of a large teacher twice.
  module, start = weakref.ref(module), weakref.ref(variables)

  def init(key, inputs):
    if start() is not None:
      return start()
    if module() is not None:
      return take_apart(module())[1]
    raise UserError(
      f"the {structure.name} that from_nnx took is gone, and its arrays with it:"
      " say which variables"
    )

  def run(tap, variables, inputs, train, rngs):
    copies = []

    def outputs_alone(variables, *args, rngs=None, method="__call__", **kwargs):
      copy = structure.module(variables, train, rngs)
      takes = inspect.signature(getattr(copy, method)).parameters
      if "rngs" in takes:
        kwargs["rngs"] = rngs and nnx.Rngs(rngs)
      outputs, features = tap(Changed(copy, method))(*args, **kwargs)
      copies.append((copy, features))
      return outputs

    kwargs = {} if rngs is None else {"rngs": rngs}
    outputs = call(
      outputs_alone, variables, nameless(inputs), train=train, **kwargs
    )
    return outputs, *copies[-1]

  def apply(
    variables: Any,
    inputs: Any,
    *,
    taps: str | Sequence[str] = (),
    train: bool = False,
    rngs: Mapping[str, jax.Array] | None = None,
  ) -> tuple[Any, dict[str, Any], Any]:
    outputs, copy, features = run(
      lambda method: tapped(method, taps), variables, inputs, train, rngs
    )
    if train:
      variables = _moved(structure.places, copy, variables)
    return outputs, features, variables

  def rows(variables: Any, inputs: Any) -> list[Row]:
    def shapes_of(taps):
      """Leaves out what a transform keeps inside, such as a cell in a scan."""
      try:
        return jax.eval_shape(
          lambda *args: apply(*args, taps=taps)[1], variables, inputs
        )
      except Exception:
        half = len(taps) // 2
        halves = (taps[:half], taps[half:]) if half else ()
        return {tap: x for part in halves for tap, x in shapes_of(part).items()}

    listing = Listing()
    jax.eval_shape(
      lambda *args: run(lambda m: listed(m, listing), *args, False, None)[0],
      variables,
      inputs,
    )
    return rows_of(shapes_of([*map(str, listing.taps)]), listing.modules)

  return init, apply, rows


def _moved(
  places: tuple[Place, ...], module: nnx.Module, variables: Any
) -> Any:
  """Returns the variables with the collections as a forward pass left them."""
  values = dict(nnx.to_flat_state(nnx.state(module)))
  others = [place for place in places if place.collection != "params"]
  updates = gather(
    others, {place.path: raw(values[place.path]) for place in others}
  )
  updates = {**variables, **updates, "params": variables["params"]}
  if isinstance(variables, Variables):
    return Variables(updates, lists_in(places))
  return updates
