"""Vision transformers, with or without a token for distillation."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import checks
from kdjax.models.registry import register
from kdjax.models.statistics import Statistics, read_statistics, standardise

# Width and heads by size; all have 12 blocks and patches of 16 x 16 pixels.
SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}

_normal = nn.initializers.truncated_normal(0.02)


class Patches(nn.Module):
  """A convolution whose steps are as wide as its kernel, as a matrix product.

  The parameters are the convolution's. On the CPU a convolution would keep
  members from training side by side.

  Attributes:
    size: height and width of a patch, in pixels.
    width: output channels.
  """

  size: int
  width: int

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    batch, height, width, channels = images.shape
    shape = (self.size, self.size, channels, self.width)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros, (self.width,))
    rows, columns = height // self.size, width // self.size
    x = images.reshape(
      batch, rows, self.size, columns, self.size, channels
    ).swapaxes(2, 3)
    x = x.reshape(batch, rows, columns, -1)
    return x @ kernel.reshape(-1, self.width) + bias.reshape(1, 1, 1, -1)


class Stem(nn.Module):
  """Patches as tokens behind the class token, with their positions.

  Attributes:
    patch: height and width of a patch, in pixels.
    width: features of a token.
    dropout: share of features dropped in training.
    distilled: whether a distillation token follows the class token.
  """

  patch: int
  width: int
  dropout: float
  distilled: bool

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    if any(side % self.patch for side in images.shape[1:3]):
      height, width = images.shape[1:3]
      raise ValueError(
        f"patches of {self.patch} x {self.patch} do not tile images of"
        f" {height} x {width} pixels"
      )
    x = Patches(self.patch, self.width, name="patches")(images)
    batch = x.shape[0]
    x = x.reshape(batch, -1, self.width)
    names = ["class_token", "distillation_token"][: 1 + self.distilled]
    tokens = [
      jnp.broadcast_to(
        self.param(name, _normal, (1, 1, self.width)), (batch, 1, self.width)
      )
      for name in names
    ]
    x = jnp.concatenate([*tokens, x], axis=1)
    x = x + self.param("positions", _normal, (1, *x.shape[1:]))
    return nn.Dropout(self.dropout, deterministic=not train)(x)


class MLP(nn.Module):
  """Two layers with a GELU between, token by token.

  Attributes:
    width: hidden units.
    dropout: share dropped after each layer in training.
  """

  width: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    out = x.shape[-1]
    x = nn.Dense(self.width, kernel_init=_normal, name="dense_0")(x)
    x = nn.gelu(x, approximate=False)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    x = nn.Dense(out, kernel_init=_normal, name="dense_1")(x)
    return nn.Dropout(self.dropout, deterministic=not train)(x)


class Block(nn.Module):
  """Attention and MLP, each on the normalised tokens and added to them.

  Attributes:
    heads: of the attention.
    mlp_width: hidden units of the MLP.
    dropout: share dropped of what is added, in training.
    attention_dropout: share of attention probabilities dropped in training.
    epsilon: added to variances.
  """

  heads: int
  mlp_width: int
  dropout: float
  attention_dropout: float
  epsilon: float

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = nn.LayerNorm(epsilon=self.epsilon, name="norm_0")(x)
    y = nn.MultiHeadDotProductAttention(
      self.heads,
      dropout_rate=self.attention_dropout,
      broadcast_dropout=False,
      deterministic=not train,
      kernel_init=_normal,
      name="attention",
    )(y)
    x = x + nn.Dropout(self.dropout, deterministic=not train)(y)
    y = nn.LayerNorm(epsilon=self.epsilon, name="norm_1")(x)
    return x + MLP(self.mlp_width, self.dropout, name="mlp")(y, train=train)


class ViT(nn.Module):
  """`stem`, blocks `stage_0`, `stage_1`, ..., `norm` and `head`.

  A distilled one has a second classifier, `head_dist`, that reads the
  distillation token; its logits are the mean of both heads', in training too.
  The positions belong to the image size that it was initialised with.

  Attributes:
    patch: height and width of a patch, in pixels.
    width: features of a token.
    depth: number of blocks.
    heads: of each attention.
    mlp_width: hidden units of each MLP.
    classes: number of classes.
    dropout: share of features dropped in training.
    attention_dropout: share of attention probabilities dropped in training.
    distilled: whether there is a distillation token.
    epsilon: added to variances by the layer normalisations.
    statistics: of the images, for their standardisation; None for none.
  """

  patch: int
  width: int
  depth: int
  heads: int
  mlp_width: int
  classes: int
  dropout: float = 0.0
  attention_dropout: float = 0.0
  distilled: bool = False
  epsilon: float = 1e-6
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = standardise(images, self.statistics)
    x = Stem(self.patch, self.width, self.dropout, self.distilled, name="stem")(
      x, train=train
    )
    for i in range(self.depth):
      x = Block(
        self.heads,
        self.mlp_width,
        self.dropout,
        self.attention_dropout,
        self.epsilon,
        name=f"stage_{i}",
      )(x, train=train)
    x = nn.LayerNorm(epsilon=self.epsilon, name="norm")(x)
    logits = nn.Dense(self.classes, kernel_init=_normal, name="head")(x[:, 0])
    if not self.distilled:
      return logits
    second = nn.Dense(self.classes, kernel_init=_normal, name="head_dist")
    return (logits + second(x[:, 1])) / 2


@register("vit")
def vit(
  *,
  classes: int,
  patch: int = 16,
  width: int = 192,
  depth: int = 12,
  heads: int = 3,
  mlp_width: int | None = None,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  distilled: bool = False,
  epsilon: float = 1e-6,
  normalise: str | tuple | None = None,
) -> ViT:
  """Makes a vision transformer of any size.

  Args:
    classes: number of classes.
    patch: height and width of a patch, in pixels; must divide the images'.
    width: features of a token, a multiple of the heads.
    depth: number of blocks.
    heads: of each attention.
    mlp_width: hidden units of each MLP; None means 4 * width.
    dropout: share of features dropped in training, [0, 1).
    attention_dropout: share of attention probabilities dropped, [0, 1).
    distilled: whether to add a distillation token and its `head_dist`.
    epsilon: added to variances by the layer normalisations, > 0.
    normalise: None, "imagenet", "half" or ((mean, ...), (deviation, ...)): what
      images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for sizes below 1, a width that the heads do not divide, a share
      outside [0, 1), or an epsilon that is not positive.

  Example:
    >>> vit(patch=7, width=32, depth=2, heads=2, classes=10).mlp_width
    128

  Source:
    Dosovitskiy et al. 2020, arXiv:2010.11929; the distillation token is of
    Touvron et al. 2020, arXiv:2012.12877, whose heads are averaged at
    evaluation. Here they are in training as well; losses that want one head
    read it at the taps `head:out` and `head_dist:out`.
  """
  mlp_width = 4 * width if mlp_width is None else mlp_width
  for name, value in (
    ("patch", patch),
    ("width", width),
    ("depth", depth),
    ("heads", heads),
    ("mlp_width", mlp_width),
  ):
    checks.whole_number(name, value)
  if width % heads:
    raise ValueError(f"{heads} heads do not divide a width of {width}")
  checks.share("dropout", dropout)
  checks.share("attention_dropout", attention_dropout)
  if not epsilon > 0:
    raise ValueError(f"epsilon must be > 0, got {epsilon!r}")
  return ViT(
    patch,
    width,
    depth,
    heads,
    mlp_width,
    classes,
    dropout,
    attention_dropout,
    bool(distilled),
    epsilon,
    read_statistics(normalise),
  )


_DOC = """Makes the {size} {kind}: 12 blocks, {width} features, {heads} heads.

Args:
  classes: number of classes.
  dropout: share of features dropped in training, [0, 1).
  epsilon: added to variances by the layer normalisations, > 0.
  normalise: None, "imagenet", "half" or ((mean, ...), (deviation, ...)): what
    images in [0, 1] are standardised with first.

Returns:
  The module: images (B, H, W, 3) -> logits (B, classes); patches of 16 pixels.

Raises:
  ValueError: as `vit`.

Example:
  >>> {name}(classes=10).width
  {width}

Source:
  {source}
"""
_SOURCES = {
  "vision transformer": "Dosovitskiy et al. 2020, arXiv:2010.11929; tiny and"
  " small are of\n  Touvron et al. 2020, arXiv:2012.12877.",
  "distilled transformer": "Touvron et al. 2020, arXiv:2012.12877, with the"
  " distillation token.",
}


def _maker(name: str, size: str, distilled: bool) -> Callable[..., ViT]:
  width, heads = SIZES[size]

  def make(
    *,
    classes: int,
    dropout: float = 0.0,
    epsilon: float = 1e-6,
    normalise: str | tuple | None = None,
  ) -> ViT:
    return vit(
      classes=classes,
      width=width,
      heads=heads,
      dropout=dropout,
      distilled=distilled,
      epsilon=epsilon,
      normalise=normalise,
    )

  kind = ("vision transformer", "distilled transformer")[distilled]
  make.__name__ = make.__qualname__ = name
  make.__doc__ = _DOC.format(
    name=name, size=size, kind=kind, width=width, heads=heads,
    source=_SOURCES[kind],
  )  # fmt: skip
  return register(name)(make)


vit_tiny16, vit_small16, vit_base16 = (
  _maker(f"vit_{size}16", size, False) for size in SIZES
)
deit_tiny, deit_small, deit_base = (
  _maker(f"deit_{size}", size, True) for size in SIZES
)
