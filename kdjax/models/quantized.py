"""Networks in few bits, by qwix: how they learn so, and how they are stored.

Everything is quantised that multiplies a kernel: dense and convolutional layers
from the first to the classifier, and attention. Weights have a scale for each
output channel, activations one for each example (each position, in dense
layers), found as they come: there is nothing to calibrate, and no example
depends on its neighbours. Biases, norms and what they compute stay float32, and so
do embeddings, also where they are the output layer.

Of a decoder of language the linear layers of its blocks are quantised, and nothing
else: a scale of attention's values would span tokens, and none may depend on those
behind it; the output layer is float32, tied or not.
"""

import contextvars
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.calling import call_with
from kdjax.core.errors import UserError

NONE = "none"
# The largest number of an example is 127.005 steps of its scale. Left alone qwix
# makes it 127.5, and every odd grey value of 255 lies in the middle between two
# steps, where the last bit of a division decides, which programs do not share.
CALIBRATION = "absmax,1.0039"


class Scheme(NamedTuple):
  """The types of a quantised network.

  Attributes:
    weights: the type of kernels.
    activations: the type of what meets them; None for float32.
  """

  weights: str
  activations: str | None


SCHEMES = {
  "w8": Scheme("int8", None),
  "w8a8": Scheme("int8", "int8"),
  "w4": Scheme("int4", None),
  "w4a8": Scheme("int4", "int8"),
}


# The linear layers of a decoder's blocks.
_OF_BLOCKS = r"(.*/)?stage_\d+/(attention|mlp)/\w+"
# Whether an embedding computes logits.
_attending = contextvars.ContextVar("attending", default=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Narrow:
  """Stands in for a network of qwix's, and hands it jax's arrays alone.

  By these it knows its weights: NumPy's it would take for activations. What else a
  module has, such as a decoder's `empty_cache`, is the module's.

  Attributes:
    network: the module.
  """

  network: nn.Module

  def init(self, *args: Any, **kwargs: Any) -> Any:
    with nn.intercept_methods(_note_attending):
      return self.network.init(*args, **kwargs)

  def init_with_output(self, *args: Any, **kwargs: Any) -> Any:
    with nn.intercept_methods(_note_attending):
      return self.network.init_with_output(*args, **kwargs)

  def apply(self, variables: Mapping, *args: Any, **kwargs: Any) -> Any:
    arrays = jax.tree.map(jnp.asarray, variables)
    with nn.intercept_methods(_note_attending):
      return self.network.apply(arrays, *args, **kwargs)

  def __getattr__(self, name: str) -> Any:
    # Not while it is copied or unpickled, before it has a network.
    if name.startswith("__") or name == "network":
      raise AttributeError(name)
    return getattr(self.network, name)


@dataclasses.dataclass(frozen=True, eq=False)
class Widened:
  """Stands in for a network whose weights alone are stored in few bits.

  Attributes:
    network: takes float32.
  """

  network: Any

  def apply(self, variables: Mapping, *args: Any, **kwargs: Any) -> Any:
    return self.network.apply(_wide(variables), *args, **kwargs)


def import_qwix(purpose: str = "quantisation") -> Any:
  """Imports the library where it is used.

  Args:
    purpose: what needs it, for the message where it is missing.
  """
  try:
    import qwix
  except ImportError:
    raise UserError(
      f"{purpose} needs qwix: pip install 'qwix>=0.1.8'"
    ) from None
  return qwix


def learns_in(network: nn.Module, scheme: str) -> nn.Module | Narrow:
  """Makes a network compute as it will when it is stored in few bits.

  Its variables stay float32: they are rounded as they are used, and gradients
  pass the rounding as if it were not there.

  Returns:
    What stands in for the module, with its parameters and taps; the module
    itself for "none".

  Source:
    Jacob et al. 2018, arXiv:1712.05877.
  """
  if scheme == NONE:
    return network
  return _narrow(network, import_qwix().QtProvider, _rule(network, scheme))


def check(network: nn.Module, scheme: str, sample: Any) -> None:
  """Refuses a scheme that a network cannot compute in.

  Args:
    sample: (1, ...) inputs, for their shape.
  """
  if scheme != NONE and scheme not in possible(network, sample):
    raise UserError(
      f"--quantization={scheme}: a convolution needs weights and activations of"
      " one type; take w8a8, or w4, whose activations are float32"
    )


def possible(network: nn.Module, sample: Any) -> list[str]:
  """Lists the schemes that a network can compute in.

  Args:
    sample: (1, ...) inputs, for their shape.

  Returns:
    Names in SCHEMES; those of two types of numbers only without convolutions.

  Example:
    >>> from kdjax.models import make_model
    >>> possible(make_model("lenet(2)", classes=2), jnp.zeros((1, 8, 8, 1)))
    ['w8', 'w8a8', 'w4']
  """
  mixed = {
    name
    for name, (weights, activations) in SCHEMES.items()
    if activations not in (None, weights)
  }
  impossible = mixed if _convolves(network, sample) else set()
  return [name for name in SCHEMES if name not in impossible]


def stores_in(network: nn.Module, scheme: str) -> Any:
  """Makes the network that computes with what `quantize_variables` stores.

  Returns:
    What has an `apply`: a module that multiplies whole numbers where the
    activations are some; else one that widens the weights before it multiplies.
  """
  if SCHEMES[scheme].activations is None:
    return Widened(network)
  return _narrow(network, import_qwix().PtqProvider, _rule(network, scheme))


def quantize_variables(
  network: nn.Module, variables: Mapping, scheme: str, sample: Any
) -> dict[str, Any]:
  """Rounds a network's weights to few bits.

  Args:
    variables: {"params": ..., and other collections}, float32. May be traced:
      under `vmap`, those of many networks.
    sample: (1, ...) one input, such as (1, H, W, C) an image, or several by name.

  Returns:
    Variables for the `apply` of `stores_in`: kernels are whole numbers with
    their scales, all else is as it was.
  """
  qwix = import_qwix()
  # Which weights, and along which axes, qwix finds out as it meets them; it
  # does not meet convolutions whose activations are of another type.
  meets = qwix.QuantizationRule(
    module_path=_places(network), weight_qtype="int8", act_qtype="int8"
  )
  quantized = _narrow(network, qwix.PtqProvider, meets)
  key = jax.random.key(0)
  mode = _inference(network)
  shapes = jax.eval_shape(
    lambda: call_with(quantized.init, key, sample, **mode)
  )

  def into(leaf):
    if not is_stored(leaf):
      return leaf
    kind = jnp.dtype(SCHEMES[scheme].weights)
    return leaf.replace(how=dataclasses.replace(leaf.how, qtype=kind))

  layout = jax.tree.map(into, shapes["params"], is_leaf=is_stored)
  params = jax.tree.map(jnp.asarray, variables["params"])
  return {**variables, "params": qwix.quantize_params(params, layout)}


def rounded_variables(
  network: nn.Module, variables: Mapping, scheme: str, sample: Any
) -> dict[str, Any]:
  """Returns the float32 numbers that a network's weights in few bits stand for.

  Args:
    variables: as for `quantize_variables`, and `sample` too.

  Returns:
    Variables with which the network itself computes what it has learned to, in a
    scheme of weights alone.
  """
  return _wide(quantize_variables(network, variables, scheme, sample))


def is_stored(leaf: Any) -> bool:
  """Says whether a node of a tree is a weight in few bits.

  Returns:
    Whether its `array` has whole numbers (`qvalue`) and scales (`scale`).
  """
  return hasattr(getattr(leaf, "array", None), "qvalue")


def _narrow(network: nn.Module, provider: type, rule: Any) -> Narrow:
  """Quantises a network, except for embeddings that are its output layer.

  Their transpose would be stored, in which no token is found.
  """

  class Provider(provider):
    def dot_general(self, *args, **kwargs):
      if _attending.get():
        return jax.lax.dot_general(*args, **kwargs)
      return super().dot_general(*args, **kwargs)

    def einsum(self, text, *operands, **kwargs):
      # A layer has one weight: what is multiplied by two matrices is scaled.
      if len(operands) > 2:
        return jnp.einsum(text, *operands, **kwargs)
      return super().einsum(text, *operands, **kwargs)

  methods = [name for name in ("__call__", "decode") if hasattr(network, name)]
  return Narrow(
    import_qwix().quantize_model(network, Provider([rule]), methods=methods)
  )


def _wide(variables: Mapping) -> dict[str, Any]:
  """Variables with float32 in the place of whole numbers and scales."""
  qwix = import_qwix()

  def one(leaf):
    return qwix.dequantize(leaf.array) if is_stored(leaf) else leaf

  params = jax.tree.map(one, variables["params"], is_leaf=is_stored)
  return {**variables, "params": params}


def _note_attending(call, args, kwargs, context):
  if context.method_name != "attend" or not isinstance(
    context.module, nn.Embed
  ):
    return call(*args, **kwargs)
  before = _attending.set(True)
  try:
    return call(*args, **kwargs)
  finally:
    _attending.reset(before)


def _places(network: nn.Module) -> str:
  """A pattern of the modules in which products are quantised."""
  return _OF_BLOCKS if hasattr(network, "decode") else ".*"


def _rule(network: nn.Module, scheme: str):
  qwix = import_qwix()
  types = SCHEMES[scheme]
  return qwix.QuantizationRule(
    module_path=_places(network),
    weight_qtype=types.weights,
    act_qtype=types.activations,
    act_calibration_method=CALIBRATION,
  )


def _convolves(network: nn.Module, sample: Any) -> bool:
  mode = _inference(network)
  program = jax.make_jaxpr(
    lambda key: call_with(network.init_with_output, key, sample, **mode)[0]
  )(jax.random.key(0))
  return "conv_general_dilated" in str(program)


def _inference(network: nn.Module) -> dict[str, bool]:
  """The arguments by which a network knows that it is not being trained."""
  names = inspect.signature(type(network).__call__).parameters
  return {"train": False} if "train" in names else {}
