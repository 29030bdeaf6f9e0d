"""Who learns from whom, by name: what `--regime` takes."""

from collections.abc import Callable

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.train.schemes.codistillation import codistillation
from kdjax.train.schemes.mean_teacher import mean_teacher
from kdjax.train.schemes.mutual import mutual
from kdjax.train.schemes.scheme import OFFLINE, Scheme

# What networks that learn together learn by where the user names no method: as
# published, but for mean_teacher's squared error. Before their first exchange
# peers of a co-distillation have nothing to say.
OBJECTIVES = {
  "mutual": "ce:1 + kd:1",
  "mean_teacher": "ce:1 + kd:1",
  "codistillation": "ce:1 + kd:after(0.1)",
}
# The same where the labels' share is given: it changes no stage.
SHARED = {"codistillation": "ce + kd:after(0.1)"}
TEMPERATURE = 1.0


def offline() -> Scheme:
  """Makes the plain scheme: a student of the teacher of its arm.

  Example:
    >>> offline() is OFFLINE
    True
  """
  return OFFLINE


MAKERS: dict[str, Callable[..., Scheme]] = {
  "alone": offline,
  "mutual": mutual,
  "mean_teacher": mean_teacher,
  "codistillation": codistillation,
}


def make_scheme(text: str) -> Scheme:
  """Builds the scheme that the user wrote."""
  return spec.build("regime", spec.parse(text), MAKERS)


def objective_of(text: str, *, shared: bool = False) -> str | None:
  """Returns what networks learn by that learn together.

  Returns:
    Text in the grammar of `--distillation`; None for networks alone, and where
    a share of one's own leaves nothing of what is published.

  Example:
    >>> objective_of("mutual(peers=3)")
    'ce:1 + kd:1'
  """
  return (SHARED if shared else OBJECTIVES).get(spec.parse(text).name)


def check_devices(text: str, scheme: Scheme, devices: int) -> None:
  """Raises a UserError unless a scheme's peers can be laid over the devices."""
  if scheme.layout is None:
    return
  parts = scheme.layout.parts
  if parts % devices and devices % parts:
    raise UserError(
      f"--regime={text}: {parts} peers cannot be laid evenly over {devices}"
      f" devices; make one a multiple of the other, such as peers={devices}"
    )
