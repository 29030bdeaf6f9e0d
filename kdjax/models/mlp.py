"""Multi-layer perceptrons."""

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import Activation
from kdjax.models.registry import register


class Stage(nn.Module):
  """One hidden layer; its output is what a tap at `stage_i` sees.

  Attributes:
    width: hidden units.
    dropout: share of units dropped in training.
  """

  width: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    x = Activation(name="activation")(nn.Dense(self.width, name="dense")(x))
    return nn.Dropout(self.dropout, deterministic=not train)(x)


class MLP(nn.Module):
  """Fully connected ReLU layers `stage_0`, `stage_1`, ... and a linear `head`.

  Attributes:
    hidden: width of each hidden layer.
    classes: number of classes.
    dropout: share of hidden units dropped in training.
    classify: False leaves the head off and returns the last stage's output.
  """

  hidden: tuple[int, ...]
  classes: int
  dropout: float = 0.0
  classify: bool = True

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = images.reshape(images.shape[0], -1)
    for i, width in enumerate(self.hidden):
      x = Stage(width, self.dropout, name=f"stage_{i}")(x, train=train)
    return nn.Dense(self.classes, name="head")(x) if self.classify else x


@register("mlp")
def mlp(*hidden: int, classes: int, dropout: float = 0.0) -> MLP:
  """Makes a multi-layer perceptron.

  Args:
    *hidden: width of each hidden layer; none makes a linear classifier.
    classes: number of classes.
    dropout: share of hidden units dropped in training, in [0, 1).

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for a width below 1 or a share outside [0, 1).

  Example:
    >>> mlp(100, classes=10).hidden
    (100,)
  """
  for width in hidden:
    checks.whole_number("a width", width)
  checks.share("dropout", dropout)
  return MLP(hidden=hidden, classes=classes, dropout=dropout)
