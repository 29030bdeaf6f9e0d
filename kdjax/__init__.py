"""Knowledge distillation for JAX and Flax.

`kdjax.losses` holds the loss functions and needs jax alone. The other packages
(`kdjax.models`, `kdjax.data`, `kdjax.train`, ...) are imported by name, so that
importing the package costs nothing.
"""

from kdjax.core import moved

__version__ = "0.1.0"

moved.install()
