"""Deep mutual learning: peers teach each other on the same batches.

All peers answer, each learns from the labels and from what the others answered,
and all take their step at once. Nobody is trained before.
"""

from functools import partial

import jax

from kdjax.core.method import Metrics
from kdjax.train.forward import train_forward
from kdjax.train.schemes.peers import (
  create_peers,
  from_several,
  of_others,
  peer_keys,
)
from kdjax.train.schemes.registry import register
from kdjax.train.schemes.scheme import Scheme
from kdjax.train.state import TrainState, variables
from kdjax.train.step import take_step


@register("mutual", objective="ce:1 + kd:1")
def mutual(*, peers: int = 2) -> Scheme:
  """Makes a scheme: networks teach each other on the same batches.

  loss_p = method averaged over all others q,  teacher q, student p

  which with "ce:1 + kd(temperature=1):1" is the published
  CE_p + mean_q KL(p_q || p_p). The others' answers are those of the training
  (dropout, batch statistics) and constants.

  The first peer starts as a student alone with that seed does, and is the one
  that is measured. Cost: `peers` trainings.

  Args:
    peers: how many networks, >= 2.

  Returns:
    The scheme; its state is a TrainState with a leading axis (peers,).

  Raises:
    ValueError: for fewer than two.

  Example:
    >>> mutual(peers=3).roles
    ('peer_0', 'peer_1', 'peer_2')

  Source:
    Zhang, Xiang, Hospedales, Lu 2018, arXiv:1706.00384.
  """
  check_peers(peers)
  return Scheme(
    create=partial(_create, peers),
    step=partial(_step, peers),
    network=lambda state: first_peer(variables(state)),
    roles=tuple(f"peer_{p}" for p in range(peers)),
    all_networks=variables,
  )


def check_peers(peers: int) -> None:
  """Raises a ValueError unless there is somebody to learn from.

  Example:
    >>> check_peers(2)
  """
  if type(peers) is not int or peers < 2:
    raise ValueError(f"peers must be a whole number >= 2, got {peers}")


def first_peer(tree):
  """Returns what belongs to the first of several peers.

  Example:
    >>> print(first_peer(jnp.arange(3)))
    0
  """
  return jax.tree.map(lambda x: x[0], tree)


def _create(
  peers, network, method, optimizer, *, teacher=None, head=None, **arguments
) -> TrainState:
  del teacher, head
  return create_peers(network, method, optimizer, peers=peers, **arguments)


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
) -> tuple[TrainState, Metrics]:
  """One step of all peers; the metrics are the first one's."""
  del teacher, head
  keys = peer_keys(rng, peers)

  def show(state, key):
    values = variables(state)
    outputs, *_ = train_forward(
      state.network,
      values,
      batch,
      method.teacher_taps,
      state.task,
      key=key,
      axis_name=axis_name,
    )
    return outputs, state.network.classifier(values)

  def one(state, key, outputs, head):
    return take_step(
      state,
      from_several(method),
      batch,
      outputs,
      rng=key,
      head=head,
      axis_name=axis_name,
      **options,
    )

  # Everyone answers before anyone moves.
  outputs_of_others = of_others(*jax.vmap(show)(state, keys))
  state, metrics = jax.vmap(one)(state, keys, *outputs_of_others)
  return state, first_peer(metrics)
