"""What a step is: who learns from whom.

A method says *what* is matched; a scheme says who shows it. The plain one is a
student that learns from the teacher of its arm, if there is one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.train.devices import placement as on_devices
from kdjax.train.state import create_state, variables
from kdjax.train.step import take_step


class Layout(NamedTuple):
  """How a state that the devices do not share is laid over them.

  Attributes:
    parts: how many parts it has; devices own equal shares of them, or equal
      groups of devices one part each.
    spread: (state of all members (M, ...), number of devices) -> the same with
      a leading axis of devices.
    collect: its inverse.
    exchange: (one device's state of all members, step, name of the axis of
      devices) -> state: what devices tell each other before a step.
  """

  parts: int
  spread: Callable[[Any, int], Any]
  collect: Callable[[Any], Any]
  exchange: Callable[[Any, Any, str | None], Any]


class Scheme(NamedTuple):
  """Who learns from whom: pure functions of a state.

  Attributes:
    create: the arguments of `create_state` -> the state at step 0.
    step: the arguments of `take_step` -> (state, metrics).
    network: state -> variables of the network that is measured.
    roles: what all networks are called that learn together; () for one alone.
    all_networks: state -> variables of these, with a leading axis (roles,).
    adapt_loader: the arm's loader -> what the scheme is shown of it; None for
      the loader itself.
    layout: how the state lies over devices; None where all hold the same.
    averages: whether the network that is measured is an average of weights
      over time.
    asks: whether a step asks the teacher itself, of inputs that it makes: it is
      then handed the Teacher in the place of its outputs.
    other_views: whether who teaches sees another view of an example than who
      learns from it.
  """

  create: Callable[..., Any]
  step: Callable[..., tuple[Any, Any]]
  network: Callable[[Any], dict]
  roles: tuple[str, ...] = ()
  all_networks: Callable[[Any], dict] | None = None
  adapt_loader: Callable[[Any], Any] | None = None
  layout: Layout | None = None
  averages: bool = False
  asks: bool = False
  other_views: bool = False


OFFLINE = Scheme(create_state, take_step, variables)


def _by_host(x: Any, shape: Callable[[tuple], tuple]) -> Any:
  """Reshapes on the host, of PRNG keys the numbers that they are."""
  if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
    numbers = np.asarray(jax.random.key_data(x))
    numbers = numbers.reshape(*shape(x.shape), numbers.shape[-1])
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(x))
  return np.asarray(x).reshape(shape(x.shape))


_BY_MEMBERS = Layout(
  parts=1,
  spread=lambda state, devices: jax.tree.map(
    lambda x: _by_host(x, lambda shape: (devices, -1, *shape[1:])), state
  ),
  collect=lambda state: jax.tree.map(
    lambda x: _by_host(x, lambda shape: (-1, *shape[2:])), state
  ),
  exchange=lambda state, step, axis_name: state,
)


def in_pieces(scheme: Scheme, pieces: int) -> Scheme:
  """Lets a scheme look at its batches piece by piece, see `take_step`.

  Args:
    scheme: who learns; `OFFLINE`, if there is more than one piece.
  """
  if pieces == 1:
    return scheme
  if scheme is not OFFLINE:
    raise ValueError("networks that learn together see whole batches")
  return scheme._replace(step=partial(take_step, pieces=pieces))


def by_members(scheme: Scheme) -> Scheme:
  """Gives each device members of its own, and the others nothing to tell it.

  Args:
    scheme: who learns; the devices do not share its state already.

  Returns:
    The scheme; the members are a multiple of the devices.
  """
  return scheme._replace(layout=_BY_MEMBERS)


def lay_out(
  arms: Mapping[str, Any],
  states: Mapping[str, Any],
  devices: Sequence[jax.Device],
) -> dict[str, Any]:
  """Puts states on devices: a copy on each, or as their schemes lay them.

  Returns:
    The states, those with a layout with a leading axis of devices.
  """
  placed_states = {}
  for name, state in states.items():
    layout = arms[name].scheme.layout
    if layout is None:
      placed_states[name] = on_devices.replicate(state, devices)
    else:
      placed_states[name] = on_devices.lay(
        layout.spread(state, len(devices)), devices
      )
  return placed_states


def bring_back(
  arms: Mapping[str, Any],
  states: Mapping[str, Any],
  devices: Sequence[jax.Device],
) -> dict[str, Any]:
  """Undoes `lay_out`.

  Returns:
    The states of all members, by arm, a copy on each device.
  """
  placed_states = dict(states)
  for name, arm in arms.items():
    if arm.scheme.layout is not None:
      parts = on_devices.whole(states[name], devices)
      placed_states[name] = on_devices.replicate(
        arm.scheme.layout.collect(parts), devices
      )
  return placed_states
