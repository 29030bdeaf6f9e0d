"""BERT as it is pretrained: it tells the tokens of a text that were hidden."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.bert import Bert, encode
from kdjax.models.bert_sizes import bert
from kdjax.models.layers import FUNCTIONS
from kdjax.models.registry import register

_initial = nn.initializers.truncated_normal(0.02)


class MaskedBert(nn.Module):
  """`stem`, blocks `stage_0`, ..., `head_dense`, `head_norm`, and the words again.

  Called as `module(tokens, segments=None, mask=None, places=None, train=False)`, as
  `Bert`; returns logits (B, K, V) of the tokens at `places` (B, K) int32, or (B, T,
  V) of all where it is None. The last layer is the table of the words' vectors, and
  `head_bias`.

  Attributes:
    body: sizes and switches; its classes and pooling are not looked at.
  """

  body: Bert

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    segments: jax.Array | None = None,
    mask: jax.Array | None = None,
    places: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    body = self.body
    x, _ = encode(body, tokens, segments, mask, train=train)
    if places is not None:
      x = jnp.take_along_axis(x, places[..., None], axis=1)
    x = nn.Dense(body.width, kernel_init=_initial, name="head_dense")(x)
    norm = nn.LayerNorm(
      epsilon=body.epsilon, use_fast_variance=False, name="head_norm"
    )
    x = norm(FUNCTIONS[body.activation](x))
    bias = self.param("head_bias", nn.initializers.zeros, (body.vocabulary,))
    table = self.get_variable("params", "stem")["tokens"]["embedding"]
    return x @ table.T.astype(x.dtype) + bias[None, None].astype(x.dtype)

  @nn.nowrap
  def output_layer(self, params: Mapping) -> dict[str, jax.Array]:
    """Returns the layer that makes logits of "head_norm": kernel (D, V), bias (V,)."""
    kernel = params["stem"]["tokens"]["embedding"].T
    return {"kernel": kernel, "bias": params["head_bias"]}


@register("masked_bert")
def masked_bert(
  *,
  classes: int,
  width: int = 768,
  depth: int = 12,
  heads: int | None = None,
  mlp: int | None = None,
  positions: int = 512,
  dropout: float = 0.1,
) -> MaskedBert:
  """Makes BERT with the head that it is pretrained with.

  Args:
    classes: size of the vocabulary, of which 0 is padding: what the model reads and
      tells.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block; as in `bert` by default.
    mlp: hidden units of a block's dense layers; likewise.
    positions: greatest number of tokens.
    dropout: share dropped in training, in [0, 1).

  Returns:
    The module: token ids (B, T) and places (B, K) -> logits (B, K, classes).

  Raises:
    ValueError: as `bert`.

  Example:
    >>> model = masked_bert(classes=11, width=8, depth=1, heads=2, mlp=16)
    >>> tokens, places = jnp.array([[5, 7, 1, 0]]), jnp.array([[2]])
    >>> model.init_with_output(jax.random.key(0), tokens, None, None, places)[0].shape
    (1, 1, 11)

  Source:
    Devlin et al. 2019, arXiv:1810.04805.
  """
  body = bert(
    classes=0,
    vocabulary=classes,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    positions=positions,
    dropout=dropout,
  )
  return MaskedBert(body)
