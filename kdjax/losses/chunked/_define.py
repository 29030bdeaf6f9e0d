"""From a loss's own keywords to the whole function: what all share is written once."""

import functools
import inspect
import re
from collections.abc import Callable

import jax

from kdjax.losses.chunked._call import Form, Totals, call

_SHARED = list(inspect.signature(call).parameters.values())[1:]


def from_heads(
  rows: Callable,
  *,
  traced: tuple[str, ...] = (),
  **defaults: float | bool,
) -> Callable[[Callable], Callable[..., Totals]]:
  """Makes a loss of hidden states and heads, from a function of its own keywords.

  That function checks them, and returns those that its rows take; it may take the
  number of classes as well. Signature and docstring of the loss are `call`'s and
  its own.

  Args:
    rows: the arithmetic, from `_rows` or `_top`.
    traced: its own keywords that may be traced; others are compiled in.
    **defaults: of shared arguments, where the loss has others.

  Returns:
    A decorator.
  """

  def decorate(function: Callable) -> Callable[..., Totals]:
    name = function.__name__
    signature, its_own, counts = _signature(function, defaults)

    @functools.wraps(function)
    def loss(*arrays, **keywords):
      try:
        arguments = signature.bind(*arrays, **keywords)
      except TypeError as error:
        raise TypeError(f"chunked.{name}: {error}") from None
      arguments.apply_defaults()
      values = arguments.arguments
      sizes = [_classes(**values)] if counts else []
      own_values = function(*sizes, **{key: values.pop(key) for key in its_own})
      numbers = {key: own_values.pop(key) for key in traced}
      return call(Form(name, rows, own_values, numbers), **values)

    loss.__signature__ = signature
    # There is none under `python -OO`.
    loss.__doc__ = function.__doc__ and _docstring(function)
    return loss

  return decorate


def _signature(function, defaults):
  """Returns the whole signature, the loss's own keywords, and if it counts classes."""
  parameters = inspect.signature(function).parameters
  its_own = {k: x for k, x in parameters.items() if x.kind is x.KEYWORD_ONLY}
  counts = len(its_own) < len(parameters)
  shared = [x.replace(default=defaults.get(x.name, x.default)) for x in _SHARED]
  arrays = [x for x in shared if x.kind is not x.KEYWORD_ONLY]
  parameters = [*arrays, *its_own.values(), *shared[len(arrays) :]]
  signature = inspect.Signature(parameters, return_annotation=Totals)
  return signature, list(its_own), counts


def _classes(student_head, axis_name, **others):
  """Returns the size of the whole vocabulary, of which a device has its columns."""
  shards = 1 if axis_name is None else jax.lax.axis_size(axis_name)
  return shards * student_head.shape[-1]


def _docstring(function):
  """Returns the loss's own sections, filled up with what is shared."""
  summary, sections = _sections(function)
  _, shared = _sections(call)
  _, arrays, others = re.split(
    r"^(?=  student_hidden:|  temperature:)", shared["Args"], flags=re.MULTILINE
  )
  shared["Args"] = arrays + sections.pop("Args", "") + others
  texts = [f"{name}:\n{text}" for name, text in (shared | sections).items()]
  return "\n".join([summary, *texts]).rstrip()


def _sections(function):
  """Returns what precedes the sections, and their texts by name."""
  text = inspect.getdoc(function) + "\n"
  first, *sections = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)
  texts = [section.rstrip("\n") + "\n" for section in sections[1::2]]
  return first.rstrip("\n") + "\n", dict(zip(sections[::2], texts, strict=True))
