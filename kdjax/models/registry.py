"""The names of models; every file of this folder joins by being there.

A model's file decorates a maker, a function of options and `classes` that
returns a linen module, with `@register("its_name")`.
"""

from collections.abc import Callable

import flax.linen as nn

from kdjax.core.registry import entering

MAKERS: dict[str, Callable[..., nn.Module]] = {}

register = entering("model", MAKERS)
