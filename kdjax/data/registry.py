"""The names of data sets that functions make, those of plugins among them.

A maker returns a `Dataset`, and is decorated with `@register("its_name")`. It takes
what stands in brackets after the name and, as keywords, what it wants of
`data_dir`, `splits`, `image_size`, `resident_bytes`, `background`, `masks`,
`label_kind`; see `load`.
"""

from collections.abc import Callable

from kdjax.core.registry import entering
from kdjax.data.dataset import Dataset

MAKERS: dict[str, Callable[..., Dataset]] = {}

register = entering("data set", MAKERS)
