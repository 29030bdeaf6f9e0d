"""A trained network as a teacher."""

import functools
from typing import Any

from kdjax.core.arguments import check_kind
from kdjax.core.method import Outputs
from kdjax.core.teacher import Teacher
from kdjax.taps.network import Network
from kdjax.train.precision import (
  cast_params,
  float_dtype,
  in_precision,
  kept_layers,
)


def live_teacher(
  network: Network, variables: Any, *, dtype: Any = None
) -> Teacher:
  """Makes a teacher of a trained network, without dropout or updates.

  Args:
    network: from `from_linen`, `from_nnx` or `from_apply`.
    variables: what it has learned, as the network's framework has them.
    dtype: what its parameters are kept in and what it computes in, such as
      "bfloat16"; its classifier, normalisation statistics and answers stay as
      they are. None leaves everything as it is.

  Returns:
    The teacher. It is an argument of every step and is never compiled into one.

  Raises:
    UserError: for what is no network, variables that are not by collection, and a
      type that is not floating.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.core.task import batch_of
    >>> from kdjax.core.teacher import observe
    >>> from kdjax.taps.network import from_linen
    >>> network = from_linen(nn.Dense(3), classifier=None)
    >>> variables = network.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> teacher = live_teacher(network, variables)
    >>> observe(teacher, batch_of(jnp.ones((2, 4)))).answers.shape
    (2, 3)
  """
  check_kind("network", network, "network")
  variables = network.collections(variables)
  if dtype is not None:
    dtype = float_dtype(dtype)
    exact_layers = kept_layers(network, variables)
    params = cast_params(variables["params"], dtype, exact_layers=exact_layers)
    variables = {**variables, "params": params}
    network = in_precision(network, dtype)
  return Teacher(variables, *_functions(network))


# Equal networks make equal teachers, so that programs are compiled once.
@functools.cache
def _functions(network: Network) -> tuple:
  def show(variables, batch, step, taps) -> Outputs:
    answers, features, _ = network.apply(
      variables, batch.teacher_inputs, taps=taps
    )
    return Outputs(answers, features)

  return show, network.classifier
