"""How much a decoder's neurons, heads and entries of its state matter.

Muralidharan et al. 2024, arXiv:2407.14679, for scores by activations; theirs leave
out the weights behind, by which neurons and heads of other sizes compare.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.taps.network import Network

# Sequences that are looked at together.
_ROWS = 8


class Scores(NamedTuple):
  """How much everything matters; larger ones stay.

  Attributes:
    mlp: (blocks, neurons).
    heads: (blocks, heads).
    hidden: (D,).
  """

  mlp: np.ndarray
  heads: np.ndarray
  hidden: np.ndarray


def scores_of(
  network: Network, params: Mapping[str, Any], inputs: Mapping[str, Any] | None
) -> Scores:
  """Measures how much neurons, heads and entries of the hidden state matter.

  A neuron's score is the root of the mean of its squares, times the norm of the
  weights that it is multiplied by behind; a head's likewise; an entry's is the mean
  over all norms of its square behind them, each norm counting alike.

  Args:
    network: a decoder of `load`.
    params: its parameters.
    inputs: texts, {"tokens": (B, T), "mask": (B, T), ...}; None for the squares of
      the weights that write an entry, or come before a neuron or head, instead of
      its own.
  """
  config = network.module.config
  blocks = [params[f"stage_{i}"] for i in range(len(config.layers))]
  if inputs is None:
    squares = _squares_of_weights(config, params, blocks)
  else:
    squares = _squares_of_texts(network, {"params": params}, inputs)
  behind = {
    "mlp": [_squares(x["mlp"]["dense_1"]["kernel"], (1,)) for x in blocks],
    "heads": [
      _squares(x["attention"]["out"]["kernel"], (1, 2)) for x in blocks
    ],
  }
  return Scores(
    np.sqrt(squares["mlp"] * np.stack(behind["mlp"])),
    np.sqrt(squares["heads"] * np.stack(behind["heads"])),
    squares["hidden"],
  )


def _squares(x: Any, axes: tuple[int, ...]) -> np.ndarray:
  return np.asarray(jnp.sum(jnp.square(jnp.float32(x)), axis=axes))


def _alike(rows: Sequence[np.ndarray]) -> np.ndarray:
  """The mean of rows that are each divided by their own."""
  return np.mean([row / max(row.mean(), 1e-30) for row in rows], axis=0)


def _squares_of_weights(config, params, blocks) -> dict[str, np.ndarray]:
  each = config.heads // config.groups
  mlp, heads = [], []
  written = [_squares(params["stem"]["tokens"]["embedding"], (0,))]
  for block in blocks:
    mlp_layers, attention = block["mlp"], block["attention"]
    mlp.append(_squares(mlp_layers["dense_0"]["kernel"], (0,)))
    if config.gated:
      mlp[-1] = mlp[-1] * _squares(mlp_layers["gate"]["kernel"], (0,))
    heads.append(
      np.repeat(_squares(attention["value"]["kernel"], (0, 2)), each)
    )
    written.append(_squares(attention["out"]["kernel"], (0, 1)))
    written.append(_squares(mlp_layers["dense_1"]["kernel"], (0,)))
  return {
    "mlp": np.stack(mlp),
    "heads": np.stack(heads),
    "hidden": _alike(written),
  }


def _squares_of_texts(network, variables, inputs) -> dict[str, np.ndarray]:
  """Sums of squares over the tokens of texts."""
  taps = {
    "mlp": "stage_*/mlp/dense_1:in",
    "heads": "stage_*/attention/out:in",
    "hidden": "stage_*/norm_*",
  }

  @jax.jit
  def sums(variables, inputs):
    features = network.apply(variables, inputs, taps=tuple(taps.values()))[1]

    def one(x):
      squares = jnp.square(jnp.float32(x))
      counts = (
        inputs["mask"].astype(bool).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
      )
      return jnp.sum(jnp.where(counts, squares, 0), axis=(0, 1))

    return {tap: one(x) for tap, x in features.items()}

  names = ("tokens", "mask", "segments")
  sequences = {
    name: np.asarray(inputs[name]) for name in names if name in inputs
  }
  total = None
  for first in range(0, len(sequences["tokens"]), _ROWS):
    part = {name: x[first : first + _ROWS] for name, x in sequences.items()}
    own = jax.device_get(sums(variables, part))
    total = own if total is None else jax.tree.map(np.add, total, own)
  blocks = range(len(network.module.config.layers))
  norms = [x for tap, x in total.items() if not tap.endswith(":in")]
  return {
    "mlp": np.stack([total[f"stage_{i}/mlp/dense_1:in"] for i in blocks]),
    "heads": np.stack(
      [total[f"stage_{i}/attention/out:in"].sum(axis=-1) for i in blocks]
    ),
    "hidden": _alike(norms),
  }
