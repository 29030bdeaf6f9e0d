"""Who learns from whom: one scheme, one file, found automatically."""

from kdjax.core.registry import import_modules

import_modules("kdjax.train.schemes")
