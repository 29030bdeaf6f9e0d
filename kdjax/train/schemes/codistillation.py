"""Online co-distillation: peers on their own devices, seldom in touch.

Each device owns some of the peers, or a group of devices one of them. A peer
learns on its own batches from the labels and from the others' old weights,
which answer on its own batch. Only every so many steps do devices exchange the
weights: that is all that they tell each other.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.method import Metrics
from kdjax.train.devices.collectives import Axis, Group
from kdjax.train.forward import forward
from kdjax.train.loader import join_orders, repeat_batches
from kdjax.train.schemes.mutual import check_peers, first_peer
from kdjax.train.schemes.peers import (
  create_peers,
  from_several,
  others,
  peer_keys,
)
from kdjax.train.schemes.registry import register
from kdjax.train.schemes.scheme import Layout, Scheme
from kdjax.train.state import TrainState, variables
from kdjax.train.step import take_step


class Correspondents(NamedTuple):
  """Peers, and what they last heard of each other.

  Attributes:
    own: states of the peers of this device, (local peers, ...).
    stale: variables of all peers at the last exchange, (peers, ...).
  """

  own: TrainState
  stale: dict[str, Any]


# Before their first exchange peers have nothing to say.
@register(
  "codistillation",
  objective="ce:1 + kd:after(0.1)",
  shared="ce + kd:after(0.1)",
)
def codistillation(
  *, peers: int = 2, every: int = 50, same_batches: bool = False
) -> Scheme:
  """Makes a scheme: networks teach each other by weights of some steps ago.

  loss_p = method averaged over all others q,  teacher: q as it was at the last
  exchange, answering on p's batch as a trained network does (no dropout,
  running statistics)

  Steps 0, every, 2 * every, ... begin with an exchange. Until the second one
  the others are untrained, so "ce:1 + kd(temperature=1):after(0.1)" waits for a
  tenth of the training, as the published burn-in does.
  The first peer starts as a student alone with that seed does, sees its
  batches, and is measured. Cost: `peers` trainings, each with peers - 1 more
  forward passes a step.

  Args:
    peers: how many networks, >= 2: a multiple or a divisor of the number of
      devices.
    every: steps from one exchange to the next, >= 1.
    same_batches: whether all peers see the batches of the first.

  Returns:
    The scheme; its state is `Correspondents`, laid over the devices.

  Raises:
    ValueError: for numbers that are too small.

  Example:
    >>> codistillation(peers=2, every=10).layout.parts
    2

  Source:
    Anil, Pereyra, Passos, Ormandi, Dahl, Hinton 2018, arXiv:1804.03235.
  """
  check_peers(peers)
  if type(every) is not int or every < 1:
    raise ValueError(f"every must be a whole number >= 1, got {every}")
  if not isinstance(same_batches, bool):
    raise ValueError(f"same_batches must be True or False, got {same_batches}")
  show = repeat_batches if same_batches else join_orders
  return Scheme(
    create=partial(_create, peers),
    step=partial(_step, peers),
    network=lambda state: first_peer(variables(state.own)),
    roles=tuple(f"peer_{p}" for p in range(peers)),
    all_networks=lambda state: variables(state.own),
    adapt_loader=partial(show, times=peers),
    layout=Layout(
      parts=peers,
      spread=partial(_spread, peers),
      collect=partial(_collect, peers),
      exchange=partial(_exchange, peers, every),
    ),
  )


def owners(peers: int, devices: int) -> np.ndarray:
  """Lays peers over devices, in order.

  Args:
    devices: how many; one divides the other.

  Returns:
    (devices, local peers) which peers each device owns.
  """
  if devices <= peers:
    return np.arange(peers).reshape(devices, -1)
  return np.repeat(np.arange(peers), devices // peers)[:, None]


def _create(
  peers, network, method, optimizer, *, teacher=None, head=None, **arguments
) -> Correspondents:
  del teacher, head
  state = create_peers(network, method, optimizer, peers=peers, **arguments)
  return Correspondents(state, variables(state))


def _step(
  peers,
  state,
  method,
  batch,
  teacher=None,
  *,
  rng,
  head=None,
  axis_name=None,
  **options,
) -> tuple[Correspondents, Metrics]:
  """One step of this device's peers; the metrics are the first peer's."""
  del teacher, head
  local_peers, within = _here(peers, axis_name)
  batch_pieces = jax.tree.map(
    lambda x: x.reshape(len(local_peers), -1, *x.shape[1:]), batch
  )

  def one(student, number, key, batch):
    those = jnp.asarray(others(peers))[number]
    stale = jax.tree.map(lambda x: x[those], state.stale)

    def show(peer):
      network, task = student.network, student.task
      return forward(network, peer, batch, method.teacher_taps, task)[0]

    outputs = jax.vmap(show)(stale)
    return take_step(
      student,
      from_several(method),
      batch,
      jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), outputs),
      rng=key,
      axis_name=within,
      head=jax.vmap(student.network.classifier)(stale),
      **options,
    )

  keys = peer_keys(rng, peers)[local_peers]
  new, metrics = jax.vmap(one)(state.own, local_peers, keys, batch_pieces)
  metrics = first_peer(metrics)
  if axis_name is not None:
    metrics = first_peer(jax.lax.all_gather(metrics, axis_name))
  return state._replace(own=new), metrics


def _here(peers: int, axis_name: str | None) -> tuple[jax.Array, Axis]:
  """This device's peers, and the devices that share their batch."""
  if axis_name is None:
    return jnp.arange(peers), None
  devices = jax.lax.axis_size(axis_name)
  table = owners(peers, devices)
  local_peers = jnp.asarray(table)[jax.lax.axis_index(axis_name)]
  if devices <= peers:
    return local_peers, None
  groups = np.arange(devices).reshape(peers, -1).tolist()
  return local_peers, Group(axis_name, tuple(map(tuple, groups)))


def _exchange(peers, every, state, step, axis_name) -> Correspondents:
  """Every so many steps everyone hears of everyone; axes (members, peers)."""

  def tell(state):
    current = variables(state.own)
    if axis_name is not None:
      current = jax.lax.all_gather(current, axis_name, axis=1, tiled=True)
    return state._replace(stale=_each_once(peers, current))

  return jax.lax.cond(step % every == 0, tell, lambda state: state, state)


def _each_once(peers: int, tree):
  """Drops the copies of peers that several devices own; axes (members, ...)."""
  return jax.tree.map(lambda x: x[:, :: x.shape[1] // peers], tree)


def _spread(peers: int, state: Correspondents, devices: int) -> Correspondents:
  table = owners(peers, devices)
  return Correspondents(
    jax.tree.map(lambda x: jnp.moveaxis(x[:, table], 1, 0), state.own),
    jax.tree.map(
      lambda x: jnp.broadcast_to(x, (devices, *x.shape)), state.stale
    ),
  )


def _collect(peers: int, state: Correspondents) -> Correspondents:
  def join(x):
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])

  return Correspondents(
    _each_once(peers, jax.tree.map(join, state.own)),
    jax.tree.map(lambda x: x[0], state.stale),
  )
