"""What a step is: who learns from whom.

A method says *what* is matched; a learner says who shows it. The plain one is a
student that learns from the teacher of its arm, if there is one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kdjax.train.state import create_state, variables
from kdjax.train.steps import take_step


class Layout(NamedTuple):
  """How a state that the devices do not share is laid over them.

  Attributes:
    parts: how many parts it has; devices own equal shares of them, or equal
      groups of devices one part each.
    spread: (state of all members (M, ...), number of devices) -> the same with
      a leading axis of devices.
    collect: its inverse.
    exchange: (one device's state of all members, step, name of the axis of
      devices) -> state: what devices tell each other before a step.
  """

  parts: int
  spread: Callable[[Any, int], Any]
  collect: Callable[[Any], Any]
  exchange: Callable[[Any, Any, str | None], Any]


class Learner(NamedTuple):
  """Who learns from whom: pure functions of a state.

  Attributes:
    create: the arguments of `create_state` -> the state at step 0.
    step: the arguments of `take_step` -> (state, metrics).
    network: state -> variables of the network that is measured.
    roles: what all networks are called that learn together; () for one alone.
    everyone: state -> variables of these, with a leading axis (roles,).
    shown: the arm's feed -> what the learner is shown of it; None for the feed
      itself.
    layout: how the state lies over devices; None where all hold the same.
  """

  create: Callable[..., Any]
  step: Callable[..., tuple[Any, Any]]
  network: Callable[[Any], dict]
  roles: tuple[str, ...] = ()
  everyone: Callable[[Any], dict] | None = None
  shown: Callable[[Any], Any] | None = None
  layout: Layout | None = None


ALONE = Learner(create_state, take_step, variables)
