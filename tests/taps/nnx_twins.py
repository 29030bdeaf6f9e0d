"""The same networks in linen and in nnx, and how their variables correspond."""

from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from kdjax.taps.network import from_linen, from_nnx


class LinenMLP(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    for i in range(2):
      x = nn.relu(nn.Dense(8, name=f"layers_{i}")(x))
      x = nn.Dropout(0.5, name=f"drops_{i}")(x, not train)
    return nn.Dense(3, name="head")(x)


class NnxMLP(nnx.Module):
  def __init__(self, rngs):
    self.layers = nnx.List([nnx.Linear(i, 8, rngs=rngs) for i in (4, 8)])
    self.drops = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
    self.head = nnx.Linear(8, 3, rngs=rngs)

  def __call__(self, x):
    for layer, drop in zip(self.layers, self.drops, strict=True):
      x = drop(nnx.relu(layer(x)))
    return self.head(x)


class LinenConv(nn.Module):
  @nn.compact
  def __call__(self, x, training):
    x = nn.Conv(6, (3, 3), name="conv")(x)
    x = nn.BatchNorm(not training, momentum=0.9, name="norm")(x)
    return nn.Dense(3, name="head")(nn.relu(x).mean((1, 2)))


class NnxConv(nnx.Module):
  def __init__(self, rngs):
    self.conv = nnx.Conv(2, 6, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
    self.head = nnx.Linear(6, 3, rngs=rngs)

  def __call__(self, x, *, training):
    x = self.norm(self.conv(x), use_running_average=not training)
    return self.head(nnx.relu(x).mean((1, 2)))


class LinenBlock(nn.Module):
  def setup(self):
    self.norm = nn.LayerNorm()
    self.attention = nn.MultiHeadDotProductAttention(2, dropout_rate=0.2)
    self.drop = nn.Dropout(0.3)
    self.head = nn.Dense(3)

  def __call__(self, x, mask, deterministic=True):
    y = self.attention(self.norm(x), deterministic=deterministic)
    y = self.drop(self.drop(y, deterministic), deterministic)
    return self.head((x + y).mean(1, where=mask[..., None]))


class NnxBlock(nnx.Module):
  def __init__(self, rngs):
    self.norm = nnx.LayerNorm(4, rngs=rngs)
    self.attention = nnx.MultiHeadAttention(
      2, 4, dropout_rate=0.2, decode=False, rngs=rngs
    )
    self.drop = nnx.Dropout(0.3, rngs=rngs)
    self.head = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, x, mask, deterministic=True):
    y = self.attention(self.norm(x), deterministic=deterministic)
    # Where the call says nothing, the mode of the module does.
    y = self.drop(self.drop(y, deterministic=deterministic))
    return self.head((x + y).mean(1, where=mask[..., None]))


class LinenRNN(nn.Module):
  @nn.compact
  def __call__(self, x):
    cell = nn.SimpleCell(5, name="cell")
    return nn.Dense(3, name="head")(nn.RNN(cell, name="rnn")(x)[:, -1])


class NnxRNN(nnx.Module):
  def __init__(self, rngs):
    self.rnn = nnx.RNN(nnx.SimpleCell(4, 5, rngs=rngs))
    self.head = nnx.Linear(5, 3, rngs=rngs)

  def __call__(self, x):
    return self.head(self.rnn(x)[:, -1])


class Twins(NamedTuple):
  """One network written twice.

  Attributes:
    linen: the linen module.
    nnx: the class of the nnx module.
    shapes: of the inputs.
    names: linen's path by nnx's path, of parts that are called otherwise.
    taps: in nnx, to be compared.
  """

  linen: nn.Module
  nnx: type
  shapes: dict
  names: dict
  taps: tuple

  def inputs(self):
    rng = np.random.default_rng(5)
    return {
      name: np.tri(*shape, dtype=bool)
      if name == "mask"
      else rng.normal(size=shape).astype(np.float32)
      for name, shape in self.shapes.items()
    }

  def start(self):
    """Returns the networks in nnx and linen, and the variables of the first."""
    network, variables = from_nnx(self.nnx(nnx.Rngs(0)), classifier="head")
    return network, from_linen(self.linen), variables

  def renamed(self, path):
    for ours, theirs in self.names.items():
      path = path.replace(ours, theirs)
    return path

  def linen_tree(self, tree):
    """Makes of arrays by nnx's names those by linen's."""
    made = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(tree)):
      path = jax.tree_util.keystr(path, simple=True, separator="/")
      *names, last = self.renamed(path).split("/")
      node = made
      for name in names:
        node = node.setdefault(name, {})
      node[last] = leaf
    return made


LISTS = {"layers/": "layers_", "drops/": "drops_"}
CELL = {"rnn/cell/dense_": "cell/"}
TWINS = {
  "mlp": Twins(
    LinenMLP(),
    NnxMLP,
    {"image": (6, 4)},
    LISTS,
    ("layers/0", "layers/1:in", "drops/1", ":out"),
  ),
  "conv": Twins(
    LinenConv(),
    NnxConv,
    {"image": (6, 5, 5, 2)},
    {},
    ("conv", "norm", "head:in"),
  ),
  "block": Twins(
    LinenBlock(),
    NnxBlock,
    {"x": (6, 5, 4), "mask": (6, 5)},
    {},
    ("attention", "attention:weights", "drop", "drop#1", "attention/query"),
  ),
  "rnn": Twins(LinenRNN(), NnxRNN, {"image": (6, 5, 4)}, CELL, ("rnn",)),
}
