"""One network as a function: stored pixels in, logits out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from kdjax import models
from kdjax.core.calling import call_with
from kdjax.core.preprocessing import plain_view
from kdjax.core.signature import Port, Signature
from kdjax.core.units import Units, read_units
from kdjax.models import quantized


class Exportable(Protocol):
  """What the formats ask of a network.

  Attributes:
    signature: what goes in and comes out of it.
    note: what it is, JSON values.
  """

  signature: Signature
  note: dict[str, Any]

  def function(self, variables: Mapping[str, Any]) -> Callable:
    """Returns a traceable function: an input, or several by name -> outputs."""


class About(NamedTuple):
  """All that is needed to use a network, besides its variables; JSON values.

  Attributes:
    model: its spec.
    classes: number of classes, or of the numbers that it answers with.
    class_names: in the order of the logits, or of those numbers.
    image_shape: (H, W, D) of the images that it takes; or of inputs by name, the
      shape of one example of each, by name, in which a name stands for any number:
      {"tokens": ("length",), "mask": ("length",)}.
    dtype: of their pixels: "uint8", 0..255, or "float32"; likewise by name.
    crop_size: side of the middle square that it sees of them; None for all.
    quantization: the bits that it has learned to compute in, or "none": its
      variables are float32, and rounded as they are used.
    output: what its answer is called.
    answers: what the numbers of the answer are, for people.
    units: how its answers become numbers in the targets' unit, which it gives;
      None where it gives them as they are.
  """

  model: str
  classes: int
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int] | Mapping[str, Sequence[int | str]]
  dtype: str | Mapping[str, str]
  crop_size: int | None
  quantization: str = "none"
  output: str = "logits"
  answers: str = "Classes"
  units: Units | None = None

  @property
  def sees(self) -> tuple[int, int, int]:
    """The shape of what the module gets of an image."""
    height, width, channels = self.image_shape
    size = self.crop_size
    return (size or height, size or width, channels)

  @property
  def signature(self) -> Signature:
    """Stored inputs in, as many numbers as it has classes out."""
    by_name = isinstance(self.image_shape, Mapping)
    shapes = self.image_shape if by_name else {"images": self.image_shape}
    dtypes = self.dtype if by_name else {"images": self.dtype}
    return Signature(
      tuple(
        Port(name, tuple(shape), dtypes[name], "")
        for name, shape in shapes.items()
      ),
      (Port(self.output, (self.classes,), "float32", self.answers),),
    )

  @property
  def note(self) -> dict[str, Any]:
    """What is written beside the variables."""
    return self._asdict()

  def function(self, variables: Mapping[str, Any]) -> Callable:
    """Returns what it computes with variables, see `forward`."""
    return forward(self, variables)

  def module(self) -> Any:
    """The module that computes in these bits."""
    plain = models.make_model(self.model, classes=self.classes)
    return quantized.learns_in(plain, self.quantization)


def read_about(values: Mapping[str, Any]) -> About:
  """Reads what a card says of a network.

  Args:
    values: by name, as JSON has them; others than those of `About` are allowed.

  Example:
    >>> read_about(
    ...   {"model": "mlp(2)", "classes": 2, "class_names": ["a", "b"],
    ...    "image_shape": [4, 4, 1], "dtype": "uint8", "crop_size": 2,
    ...    "quantization": "none"}
    ... ).sees
    (2, 2, 1)
  """
  named = About._field_defaults | values
  named = named | {"units": read_units(named["units"])}
  fields = [named[name] for name in About._fields]
  return About(*(tuple(x) if isinstance(x, list) else x for x in fields))


def forward(
  about: About, variables: Mapping[str, Any], module: Any = None
) -> Callable[[jax.Array], jax.Array]:
  """Returns the function that a network is.

  Args:
    module: what computes; by default what `about.model` names.

  Returns:
    A traceable function, (B, H, W, D) stored images, or inputs by name, -> (B, C)
    float32 logits, or numbers in their own unit: scaling to [0, 1], the middle
    square, the network.
  """
  if module is None:
    module = about.module()
  show = plain_view(about.crop_size)

  def network(images):
    # Other devices would round the numbers that they multiply.
    with jax.default_matmul_precision("highest"):
      answers = call_with(module.apply, variables, show(images), train=False)
    return answers if about.units is None else about.units.told(answers)

  return network


def compile_network(function: Callable) -> Callable[[Any], np.ndarray]:
  """Returns a network that is ready to answer.

  Args:
    function: traceable, inputs -> outputs.

  Returns:
    The same on arrays of the host.
  """
  ready = jax.jit(function)
  return lambda inputs: np.asarray(ready(inputs))
