"""Offline distillation: a student of the trained teacher of its arm."""

from kdjax.train.schemes.registry import register
from kdjax.train.schemes.scheme import OFFLINE, Scheme


@register("alone")
def offline() -> Scheme:
  """Makes the plain scheme: a student of the teacher of its arm.

  Example:
    >>> offline() is OFFLINE
    True
  """
  return OFFLINE
