"""What of a student and its method an optimiser does not move at a step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.method import Frozen
from kdjax.taps.network import Network


def what_is_frozen(
  frozen: Mapping[str, Frozen], params: Any, network: Network
) -> Any:
  """Says of every parameter whether it is frozen, as a tree like theirs.

  Args:
    frozen: what `Method.frozen` says at a step.
    params: see `Objective`.
    network: the student, which knows where its classifier lies.
  """
  still = _spread(frozen, params)
  if not frozen.get("classifier", False):
    return still
  layer = network.classifier({"params": params["network"]}) or {}
  classifier = {id(x) for x in layer.values()}
  return jax.tree.map(
    lambda stop, x: True if id(x) in classifier else stop, still, params
  )


def stopped(params: Any, frozen: Mapping[str, Frozen], network: Network) -> Any:
  """Takes the gradient from what is frozen, see `what_is_frozen`."""
  return jax.tree.map(
    lambda stop, x: jnp.where(stop, jax.lax.stop_gradient(x), x),
    what_is_frozen(frozen, params, network),
    params,
  )


def _spread(frozen: Frozen, params: Any) -> Any:
  if not isinstance(frozen, Mapping):
    return jax.tree.map(lambda _: frozen, params)
  # A method of each teacher: the same of all of them.
  if isinstance(params, tuple):
    return tuple(_spread(frozen, one) for one in params)
  return {
    key: _spread(frozen.get(key, False), value) for key, value in params.items()
  }
