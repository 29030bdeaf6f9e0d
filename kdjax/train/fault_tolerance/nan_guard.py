"""Steps whose loss or gradient is not finite: they stop a run, or do not count.

A step is bad if its loss, or a number of the state that it leaves behind, is
not finite: a gradient that is not finite leaves traces there. Every scheme is
guarded in the same way, member by member.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.errors import DivergedError
from kdjax.core.method import Method
from kdjax.train.devices.collectives import pmax
from kdjax.train.epoch import Epoch
from kdjax.train.gradients import parts_of
from kdjax.train.schemes.scheme import Layout, Scheme
from kdjax.train.state import TrainState


class Guarded(NamedTuple):
  """A scheme's state, and what bad steps it met.

  Attributes:
    own: the state.
    lost: steps that did not count, int32.
    strikes: int32, of "skip" the bad steps in a row until now, of "rewind" how
      often the scheme went back.
  """

  own: Any
  lost: jax.Array
  strikes: jax.Array


def guard(scheme: Scheme, policy: str, patience: int) -> Scheme:
  """Lets a scheme outlive bad steps.

  With "skip" a bad step changes nothing at all: parameters, optimiser,
  statistics and the step that schedules read stay, and its metrics do not
  count. The states have the same form under all policies, so that a stopped
  training can go on under another one.

  Args:
    patience: bad steps in a row after which strikes are not forgiven any more.

  Returns:
    The scheme; its state is `Guarded`.
  """
  step = partial(_on_own, scheme.step)
  if policy == "skip":
    apart = scheme.layout is not None
    step = partial(_skipping, scheme.step, apart, patience)
  return scheme._replace(
    create=lambda *arguments, **options: Guarded(
      scheme.create(*arguments, **options), jnp.int32(0), jnp.int32(0)
    ),
    step=step,
    network=lambda state: scheme.network(state.own),
    all_networks=scheme.all_networks
    and (lambda state: scheme.all_networks(state.own)),
    layout=scheme.layout and _guarded_layout(scheme.layout),
  )


def finite_epochs(
  follow: Callable[[Epoch | None], Iterator[Epoch]],
  start: Epoch | None,
  *,
  policy: str,
  patience: int,
  initial: Callable[[], Mapping[str, Any]],
  advice: str,
) -> Iterator[Epoch]:
  """Follows a training of guarded schemes; all that it yields is finite.

  With "rewind" a member that left the finite numbers takes up the state of the
  portion before, and goes on behind the steps of the bad one; the others keep
  what they learnt. This costs a second copy of the states.

  Args:
    follow: where to go on, or None -> what `loop.train` yields from there.
    start: where to go on; None for the beginning.
    patience: of "skip", how many bad steps in a row end the training; of
      "rewind", how many bad portions of a member.
    initial: () -> the states that the training starts from.

  Yields:
    The epochs and portions, one by one.
  """
  last, again = start, True
  while again:
    again = False
    for epoch in follow(last):
      bad = _bad_members(epoch)
      if any(one.any() for one in bad.values()) and policy == "rewind":
        epoch, again = _gone_back(epoch, last, bad, initial), True
        bad = {}
      _check(epoch, last, bad, patience, advice)
      if policy == "rewind":
        last = epoch._replace(states=jax.tree.map(jnp.copy, epoch.states))
      else:
        # Its memory is not ours: only where the training stands is read.
        last = epoch
      yield epoch
      if again:
        break


def lost_steps(epoch: Epoch) -> dict[str, list[int]]:
  """Says how many steps of each member did not count so far."""
  return {
    name: np.asarray(state.lost).tolist()
    for name, state in epoch.states.items()
  }


def _skipping(
  step, apart, patience, state: Guarded, method, *arguments, **options
):
  """Takes a step, and takes it back if it was bad."""
  if isinstance(state.own, TrainState) and state.own.step.ndim == 0:
    inner_state, metrics, fine = _held_back(
      step, state.own, method, *arguments, **options
    )
  else:
    inner_state, metrics = step(state.own, method, *arguments, **options)
    fine = jnp.isfinite(metrics["loss"][0]) & _finite(inner_state)
    axis_name = options.get("axis_name")
    if apart and axis_name is not None:
      # Devices that hold different networks would not agree otherwise.
      fine = ~pmax(~fine, axis_name)
    inner_state = jax.tree.map(partial(jnp.where, fine), inner_state, state.own)
  metrics = jax.tree.map(lambda x: jnp.where(fine, x, 0), metrics)
  forgiven = fine & (state.strikes < patience)
  strikes = jnp.where(forgiven, 0, state.strikes + ~fine)
  return Guarded(inner_state, state.lost + ~fine, strikes), metrics


def _held_back(step, state: TrainState, method, *arguments, **options):
  """A step of a single network, whose optimiser sees a bad gradient first.

  To choose between old and new parameters where these are computed costs next
  to nothing; afterwards, another pass over all that the optimiser keeps.
  """
  watched = state.replace(
    tx=_careful(state.tx), opt_state=(state.opt_state, jnp.array(True))
  )
  new, metrics = step(watched, _telling(method), *arguments, **options)
  opt_state, fine = new.opt_state
  pairs = {
    name: (getattr(new, name), getattr(state, name))
    for name in ("step", "collections", "method_state")
  }
  rest = {
    name: jax.tree.map(partial(jnp.where, fine), *pair)
    for name, pair in pairs.items()
  }
  return (
    new.replace(tx=state.tx, opt_state=opt_state, **rest),
    metrics,
    fine,
  )


def _careful(optimizer: optax.GradientTransformation):
  """Notes in its state whether a gradient is finite; else it does not move."""

  def update(gradient, state, params=None):
    fine = _finite(gradient)
    updates, new = optimizer.update(gradient, state[0], params)
    updates = jax.tree.map(lambda x: jnp.where(fine, x, 0), updates)
    new = jax.tree.map(partial(jnp.where, fine), new, state[0])
    return updates, (new, fine)

  return optax.GradientTransformation(optimizer.init, update)


def _telling(method: Method) -> Method:
  """A loss that is not finite has a gradient that is not, on all devices."""

  def parts(params, state, inputs):
    losses, state, metrics = parts_of(method)(params, state, inputs)
    return (
      {
        name: loss * jnp.where(jnp.isfinite(loss), 1.0, jnp.nan)
        for name, loss in losses.items()
      },
      state,
      metrics,
    )

  return method._replace(parts=parts)


def _on_own(step, state: Guarded, *arguments, **options):
  inner_state, metrics = step(state.own, *arguments, **options)
  return state._replace(own=inner_state), metrics


def _guarded_layout(layout: Layout) -> Layout:
  """Lays the state as its scheme does, and the counts on every device."""

  def spread(state, devices):
    counts = jax.tree.map(
      lambda x: jnp.broadcast_to(x, (devices, *x.shape)), state[1:]
    )
    return Guarded(layout.spread(state.own, devices), *counts)

  def collect(state):
    counts = jax.tree.map(lambda x: x[0], state[1:])
    return Guarded(layout.collect(state.own), *counts)

  def exchange(state, step, axis_name):
    return state._replace(own=layout.exchange(state.own, step, axis_name))

  return layout._replace(spread=spread, collect=collect, exchange=exchange)


def _floats(tree) -> tuple:
  return tuple(
    leaf
    for leaf in jax.tree.leaves(tree)
    if leaf.size and jnp.issubdtype(leaf.dtype, jnp.floating)
  )


def _finite(tree) -> jax.Array:
  """Whether all sums of columns are finite: a product is the fastest pass."""
  total = jnp.float32(0.0)
  for x in _floats(tree):
    rows = x.reshape(x.shape[0] if x.ndim else 1, -1).astype(jnp.float32)
    total += jnp.sum(jnp.ones(len(rows)) @ rows)
  return jnp.isfinite(total)


@jax.jit
def _finite_members(leaf: jax.Array) -> jax.Array:
  """(M,); a program a shape compiles faster than one of all leaves."""
  rest = tuple(range(1, leaf.ndim))
  return jnp.isfinite(leaf.astype(jnp.float32).sum(rest))


def _bad_members(epoch: Epoch) -> dict[str, np.ndarray]:
  """By arm, which members (M,) left the finite numbers."""
  finite = {
    name: np.all(jax.device_get([*map(_finite_members, _floats(state))]), 0)
    for name, state in epoch.states.items()
  }
  return {
    name: ~members | ~np.isfinite(epoch.sums[name]["loss"][0])
    for name, members in finite.items()
  }


def _gone_back(epoch, last, bad, initial) -> Epoch:
  """The end of a portion as if its bad members had not taken part in it."""
  before = initial() if last is None else last.states
  steps = epoch.step - (0 if last is None else last.step)
  states, sums = dict(epoch.states), dict(epoch.sums)
  for name, members in bad.items():
    old = before[name]
    old = old._replace(lost=old.lost + steps, strikes=old.strikes + 1)
    states[name] = _mixed(members, old, states[name])
    within = last is not None and not last.ended
    sums_before = last.sums[name] if within else None
    sums_before = sums_before or jax.tree.map(np.zeros_like, sums[name])
    sums[name] = jax.tree.map(
      np.asarray, _mixed(members, sums_before, sums[name])
    )
  return epoch._replace(states=states, sums=sums)


def _mixed(members: np.ndarray, old, new):
  """Takes what is old for some members (M,), and what is new for the others."""

  def one(old, new):
    mask = members.reshape(-1, *[1] * (np.ndim(new) - 1))
    return jnp.where(mask, old, new)

  return jax.tree.map(one, old, new)


def _check(epoch, last, bad, patience, advice) -> None:
  first = 0 if last is None else last.step
  where = f"in epoch {epoch.number}, steps {first} to {epoch.step - 1}"
  for name, state in epoch.states.items():
    if name in bad and bad[name].any():
      raise DivergedError(
        f"the loss or the weights of the {name} are not finite {where}; {advice}"
      )
    strikes = int(np.max(np.asarray(state.strikes)))
    if strikes >= patience:
      raise DivergedError(
        f"the loss of the {name} is not finite, again, {where}: --nan_patience"
        f"={patience} is used up; {advice}"
      )
