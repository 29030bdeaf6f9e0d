"""How small the student is made while it learns."""

import dataclasses

from kdjax.runner.config.field import COUNT, SHARE, Interval, option


@dataclasses.dataclass(frozen=True)
class Compression:
  """Few bits and few weights, for the student and every arm beside it."""

  decisive = True

  quantization: str = option(
    "none",
    "the bits that the student and its baselines learn to compute in: w8 and"
    " w4, weights alone; w8a8 and w4a8, activations too. The teacher stays"
    " float32",
    choices=("none", "w8", "w8a8", "w4", "w4a8"),
  )
  sparsity: float = option(
    0.0,
    "share of the student's and its baselines' weights that become zero while"
    " they learn: the smallest, classifier, biases and norms aside",
    within=SHARE,
  )
  pruning_scope: str = option(
    "global",
    "where the smallest are looked for: in the whole network, or the same share"
    " in every layer",
    choices=("global", "layer"),
  )
  pruning_structure: str = option(
    "weights",
    "what becomes zero: weights one by one, or whole output channels",
    choices=("weights", "channels"),
  )
  pruning_begin: float = option(
    0.0, "share of the training after which pruning begins", within=SHARE
  )
  pruning_end: float = option(
    0.5,
    "share of the training after which the sparsity is reached",
    within=Interval(0, 1, "(]"),
  )
  pruning_every: int = option(
    16, "steps after which it is decided anew what is small", within=COUNT
  )
