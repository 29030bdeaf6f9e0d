"""The names of tasks; every file of this folder joins by being there.

A task's file decorates a maker, a function of settings that returns a Task, with
`@register("its_name")`.
"""

from collections.abc import Callable

from kdjax.core.registry import entering
from kdjax.core.task import Task

MAKERS: dict[str, Callable[..., Task]] = {}

register = entering("task", MAKERS)
