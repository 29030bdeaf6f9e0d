"""How long a command of many trainings will take: said before, and underway."""

from kdjax.core.errors import counted
from kdjax.runner.report import formats


def beforehand(
  command: str, *, trainings: int, networks: int, epochs: int
) -> str:
  """Says what is ahead.

  Args:
    command: its name.
    trainings: that follow one another, the teacher's aside.
    networks: trained in all of them together.
    epochs: of each.

  Example:
    >>> print(beforehand("compare", trainings=2, networks=12, epochs=1))
    compare: a teacher, then 2 trainings of 12 networks in all, 1 epoch each; how
    long they take is said after the first
  """
  return (
    f"{command}: a teacher, then {counted(trainings, 'training')} of"
    f" {counted(networks, 'network')} in all, {counted(epochs, 'epoch')} each; how"
    " long they take is said after the first"
  )


def underway(what: str, done: int, total: int, seconds: float) -> str:
  """Says how long the rest takes, if it goes on as it has begun.

  Args:
    what: what is counted, in the singular.
    done: how many are done, >= 1.
    total: how many there are.
    seconds: that these took.

  Returns:
    A line; "" where nothing is left.

  Example:
    >>> print(underway("arm", 1, 15, 12.0))
    1 of 15 arms in 12.0 s: some 2 min 48 s for the others, compiling included
  """
  if done >= total:
    return ""
  left = formats.duration(seconds / done * (total - done))
  return (
    f"{done} of {counted(total, what)} in {formats.duration(seconds)}: some"
    f" {left} for the others, compiling included"
  )
