"""The names of schemes, `--scheme`; every file of this folder joins by being there.

A scheme's file decorates a maker, a function of options that returns a Scheme,
with `@register("its_name", objective="ce:1 + kd:1")`.
"""

from collections.abc import Callable

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.registry import entering
from kdjax.train.schemes.scheme import Scheme

MAKERS: dict[str, Callable[..., Scheme]] = {}

# What networks of a scheme learn by where the user names no method.
OBJECTIVES: dict[str, str] = {}
# The same where the labels' share is set: it changes no stage.
SHARED: dict[str, str] = {}
TEMPERATURE = 1.0

_enter = entering("scheme", MAKERS)


def register(
  name: str, *, objective: str | None = None, shared: str | None = None
) -> Callable:
  """Makes the decorator with which a scheme's maker enters.

  Args:
    name: the scheme's name; one that is there already is taken.
    objective: what its networks learn by where the user names no method; None
      where they have a teacher, and so the defaults of every student.
    shared: the same where the user has set the labels' share; None where that
      leaves nothing of what is published.

  Returns:
    The decorator; it returns the maker unchanged.

  Example:
    >>> register("mutual")(lambda: None)
    Traceback (most recent call last):
    ValueError: scheme 'mutual' is registered already
  """

  def enter(maker: Callable[..., Scheme]) -> Callable[..., Scheme]:
    maker = _enter(name)(maker)
    if objective is not None:
      OBJECTIVES[name] = objective
    if shared is not None:
      SHARED[name] = shared
    return maker

  return enter


def make_scheme(text: str) -> Scheme:
  """Builds the scheme that the user wrote."""
  return spec.build("scheme", spec.parse(text), MAKERS)


def objective_of(text: str, *, shared: bool = False) -> str | None:
  """Returns what networks learn by that learn together.

  Returns:
    Text in the grammar of `--distillation`; None for networks alone, and where
    a share of one's own leaves nothing of what is published.
  """
  return (SHARED if shared else OBJECTIVES).get(spec.parse(text).name)


def check_devices(text: str, scheme: Scheme, devices: int) -> None:
  """Raises a UserError unless a scheme's peers can be laid over the devices."""
  if scheme.layout is None:
    return
  parts = scheme.layout.parts
  if parts % devices and devices % parts:
    raise UserError(
      f"--scheme={text}: {parts} peers cannot be laid evenly over {devices}"
      f" devices; make one a multiple of the other, such as peers={devices}"
    )
