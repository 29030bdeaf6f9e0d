"""How long a command of many trainings will take: said before, and underway."""

from kdjax.core.errors import quantity
from kdjax.runner.report import formats


def beforehand(
  command: str, *, trainings: int, networks: int, epochs: int
) -> str:
  """Says what is ahead."""
  return (
    f"{command}: a teacher, then {quantity(trainings, 'training')} of"
    f" {quantity(networks, 'network')} in all, {quantity(epochs, 'epoch')} each; how"
    " long they take is said after the first"
  )


def underway(what: str, finished: int, total: int, seconds: float) -> str:
  """Says how long the rest takes, if it goes on as it has begun.

  Args:
    finished: how many are done, >= 1.
  """
  if finished >= total:
    return ""
  remaining = formats.duration(seconds / finished * (total - finished))
  return (
    f"{finished} of {quantity(total, what)} in {formats.duration(seconds)}: some"
    f" {remaining} for the others, compiling included"
  )
