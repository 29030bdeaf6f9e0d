"""Low-rank adapters (LoRA): a network whose own weights stay as they are.

Beside the kernel W of a block's linear layer lie two small ones, A (inputs, rank)
and B (rank, outputs), and the layer multiplies by W + alpha / rank A B without ever
computing that: x W + alpha / rank (x A) B. A and B alone are trained, so that there
are gradients and moments of nothing else; W lies in a collection of its own, in
float32 or (QLoRA) in few bits. B begins as zeros: the network begins as it was.

  network, variables = with_lora(network, variables, Lora(16), inputs, key=key)
  ...                                # trained as any other network
  variables = merge(variables, Lora(16))   # of the network without adapters
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from kdjax.core import checks, spec
from kdjax.core.errors import UserError, unknown_name
from kdjax.models.quantized import import_qwix, is_stored
from kdjax.taps.calling import default_call
from kdjax.taps.network import Network, from_linen

# The collection of what is not trained.
FROZEN = "frozen"
A, B = "kernel_lora_a", "kernel_lora_b"
# The layers of a block, by the part of it that they belong to.
LAYERS = {
  "attention": ("query", "key", "value", "out"),
  "mlp": ("gate", "dense_0", "dense_1"),
}
# Types of frozen kernels; nf4 is of QLoRA.
WEIGHTS = ("int8", "int4", "nf4")


class Lora(NamedTuple):
  """Which layers get adapters, and how large ones.

  Attributes:
    rank: of A B.
    alpha: alpha / rank multiplies A B; None for the rank.
    layers: names of a block's layers, such as "query" or "dense_1".
    weights: the type in which the kernels of these layers are kept, of `WEIGHTS`;
      None for the type that they have.
  """

  rank: int
  alpha: float | None = None
  layers: tuple[str, ...] = sum(LAYERS.values(), ())
  weights: str | None = None

  @property
  def scale(self) -> float:
    """What multiplies A B."""
    return 1.0 if self.alpha is None else self.alpha / self.rank


def rank(
  size: int,
  *,
  alpha: float | None = None,
  layers: str | Sequence[str] = ("attention", "mlp"),
  weights: str | None = None,
) -> Lora:
  """Makes `Lora` of what a user says.

  Args:
    layers: "attention", "mlp", or names of layers, such as ["query", "value"].

  Raises:
    ValueError: for a rank or alpha that is not positive.
    UserError: for an unknown layer or type.

  Example:
    >>> rank(4, alpha=8, layers="attention").layers
    ('query', 'key', 'value', 'out')
  """
  checks.whole_number("rank", size)
  if alpha is not None:
    checks.number("alpha", alpha, "positive", lambda x: 0 < x < math.inf)
  names = []
  for name in (layers,) if isinstance(layers, str) else layers:
    possible = (*LAYERS, *sum(LAYERS.values(), ()))
    if name not in possible:
      raise unknown_name("layer", str(name), possible)
    names += LAYERS.get(name, (name,))
  if not names:
    raise ValueError("layers names no layer")
  if weights is not None and weights not in WEIGHTS:
    raise unknown_name("type of weights", str(weights), WEIGHTS)
  return Lora(size, alpha, tuple(dict.fromkeys(names)), weights)


def read_lora(text: str) -> Lora:
  """Reads the adapters that a user wrote.

  Raises:
    UserError: for what is none.

  Example:
    >>> read_lora("rank(8, layers='mlp')").rank
    8
  """
  return spec.build("adapters", spec.parse(text), {"rank": rank})


def with_lora(
  network: Network,
  variables: Mapping[str, Any],
  lora: Lora,
  inputs: Any,
  *,
  key: jax.Array,
  computed: Callable[[Network], Network] = lambda network: network,
) -> tuple[Network, dict[str, Any]]:
  """Gives a network adapters, which alone are trained.

  Args:
    network: of a linen module with blocks `stage_0`, `stage_1`, ..., such as those
      of `kdjax.pretrained.load`.
    variables: its arrays, {"params": ...}.
    lora: which layers.
    inputs: a batch, for its shapes.
    key: A is drawn from it, evenly from +-1 / sqrt(inputs).
    computed: makes it compute in another precision.

  Returns:
    The network, and its variables {"params": A and B by layer, "frozen": ...},
    with which it computes what it did before (but for the rounding of kernels to
    `lora.weights`). Its `init` draws A anew beside the same kernels.

  Raises:
    UserError: for a network that was not made of a linen module, that has none of
      these layers, or that has other collections than parameters.

  Source:
    Hu et al. 2021, arXiv:2106.09685; in few bits Dettmers et al. 2023,
    arXiv:2305.14314.
  """
  if not isinstance(network.module, nn.Module):
    raise UserError("adapters need a network that was made of a linen module")
  if set(variables) != {"params"}:
    raise UserError(
      f"adapters need a network of parameters alone; it has {sorted(variables)}"
    )
  inner = _adapted(network.module, lora)
  shapes = jax.eval_shape(inner.init, jax.random.key(0), inputs)["params"]
  if not _draw(shapes, key):
    raise UserError(
      f"there is no layer {', '.join(lora.layers)} in a block of the network"
    )
  frozen = variables["params"]
  if lora.weights is not None:
    frozen = _rounded(frozen, shapes)

  def init(key, inputs):
    del inputs
    return {"params": _draw(shapes, key), FROZEN: {"params": frozen}}

  return _frozen(computed(inner))._replace(init=init), init(key, inputs)


def merge(variables: Mapping[str, Any], lora: Lora) -> dict[str, Any]:
  """Adds adapters to the kernels that they stand beside.

  Args:
    variables: of a network of `with_lora`.

  Returns:
    {"params": ...} of the network without adapters, float32 where kernels were in
    few bits.
  """
  adapters = adapters_of(variables)

  def one(path, leaf):
    names = tuple(key.key for key in path)
    leaf = _wide(leaf)
    if names[-1] != "kernel" or names[:-1] not in adapters:
      return leaf
    a, b = adapters[names[:-1]]
    return leaf + lora.scale * (a @ b).reshape(leaf.shape).astype(leaf.dtype)

  frozen = variables[FROZEN]["params"]
  params = jax.tree_util.tree_map_with_path(one, frozen, is_leaf=is_stored)
  return {"params": params}


def adapters_of(
  variables: Mapping[str, Any],
) -> dict[tuple[str, ...], tuple[jax.Array, jax.Array]]:
  """Returns A (inputs, rank) and B (rank, outputs) by the layer's path."""
  flat = traverse_util.flatten_dict(dict(variables["params"]))
  return {
    path[:-1]: (x, flat[*path[:-1], B])
    for path, x in flat.items()
    if path[-1] == A
  }


def _adapted(module: nn.Module, lora: Lora) -> Network:
  """A network whose parameters are the module's and the adapters."""
  qwix = import_qwix("an adapter")
  rule = qwix.LoraRule(
    module_path=rf"(.*/)?stage_\d+/\w+/({'|'.join(map(re.escape, lora.layers))})",
    rank=lora.rank,
    alpha=lora.scale * lora.rank,
    weight_qtype=lora.weights,
  )
  methods = [
    name for name in ("__call__", "decode") if hasattr(type(module), name)
  ]
  adapted = qwix.apply_lora_to_model(
    module, qwix.LoraProvider([rule]), methods=methods
  )
  return from_linen(adapted, call=default_call(type(module)))


def _frozen(network: Network) -> Network:
  """Splits a network's variables into what is trained and what is not."""

  def whole(variables):
    flat = traverse_util.flatten_dict(dict(variables[FROZEN]["params"]))
    flat |= traverse_util.flatten_dict(dict(variables["params"]))
    # By its type qwix knows a weight from an activation.
    arrays = jax.tree.map(jnp.asarray, traverse_util.unflatten_dict(flat))
    return {"params": arrays}

  def apply(variables, inputs, **options):
    outputs, features, _ = network.apply(whole(variables), inputs, **options)
    return outputs, features, dict(variables)

  decoding = network.decoding
  if decoding is not None:
    start, read = decoding.start, decoding.read
    decoding = decoding._replace(
      start=lambda variables, *sizes: start(whole(variables), *sizes),
      read=lambda variables, *rest: read(whole(variables), *rest),
    )
  return network._replace(
    apply=apply,
    classifier=lambda variables: network.classifier(whole(variables)),
    rows=lambda variables, inputs: network.rows(whole(variables), inputs),
    module=None,
    decoding=decoding,
  )


def _draw(shapes: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
  """Draws the adapters, each from a key of its own."""
  flat = traverse_util.flatten_dict(dict(shapes))
  drawn = {}
  for path, shape in sorted(flat.items()):
    if path[-1] == A:
      bound = shape.shape[0] ** -0.5
      own = jax.random.fold_in(key, len(drawn))
      drawn[path] = jax.random.uniform(
        own, shape.shape, jnp.float32, -bound, bound
      )
    elif path[-1] == B:
      drawn[path] = jnp.zeros(shape.shape, jnp.float32)
  return traverse_util.unflatten_dict(drawn)


def _rounded(params: Mapping[str, Any], shapes: Mapping[str, Any]) -> Any:
  """Rounds the kernels that lie in few bits where the shapes say so."""
  flat = traverse_util.flatten_dict(dict(shapes))
  layout = {path: x for path, x in flat.items() if path[-1] not in (A, B)}
  return import_qwix().quantize_params(
    params, traverse_util.unflatten_dict(layout)
  )


def _wide(leaf: Any) -> Any:
  return import_qwix().dequantize(leaf.array) if is_stored(leaf) else leaf
