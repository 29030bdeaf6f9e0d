"""The names of methods; every file of this folder joins by being there.

A method's file decorates a maker, a function of hyper-parameters that returns a
Method, with `@register("its_name")`.
"""

from collections.abc import Callable

from kdjax.method import Method
from kdjax.registry import entering

MAKERS: dict[str, Callable[..., Method]] = {}

# A family's name stands for a good default of the family.
FAMILIES = {"response": "kd"}

# Whole objectives by name.
PRESETS = {
  "soft": "kd:1",
  "soft_and_hard": "kd:0.9 + ce:0.1",
  "hard": "ce:1",
}

register = entering("method", MAKERS)
