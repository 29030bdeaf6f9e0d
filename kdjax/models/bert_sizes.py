"""BERT by its sizes: of any, and those of BERT-base and MiniLM-L6."""

from collections.abc import Mapping
from typing import Any

from kdjax.core.errors import unknown_name
from kdjax.models import checks
from kdjax.models.bert import POOLS, Bert, check_sizes
from kdjax.models.layers import FUNCTIONS
from kdjax.models.registry import register

# Of the width, for each head of attention, as in BERT-base.
HEAD_WIDTH = 64
# What the published families of BERT differ in besides their sizes.
DETAILS = (
  "segments",
  "padding",
  "first",
  "epsilon",
  "activation",
  "pooler_activation",
)


@register("bert")
def bert(
  *,
  classes: int,
  vocabulary: int = 30522,
  width: int = 768,
  depth: int = 12,
  heads: int | None = None,
  mlp: int | None = None,
  positions: int = 512,
  pool: str = "cls",
  normalise: bool = False,
  dropout: float = 0.1,
  **details: Any,
) -> Bert:
  """Makes a BERT encoder; the defaults are BERT-base without its pooler.

  Args:
    classes: number of classes; 0 leaves the head off and returns embeddings.
    vocabulary: number of token ids, of which 0 is padding.
    width: size of a hidden state.
    depth: number of blocks.
    heads: attention heads of a block; None for one for every 64 of the width, one
      where it is narrower.
    mlp: hidden units of a block's dense layers; None for 4 times the width.
    positions: greatest number of tokens.
    pool: "cls" (the first token's state), "mean" (of the real tokens) or
      "pooler" (the first one's through a dense tanh layer, as in BERT).
    normalise: embeddings have unit length.
    dropout: share dropped in training, in [0, 1).
    **details: in what published families differ: segments, padding, first, epsilon,
      activation, pooler_activation, see `Bert`.

  Returns:
    The module: token ids (B, T) -> logits (B, classes), or embeddings
    (B, width).

  Raises:
    ValueError: for a size below 1, heads that do not divide the width, an
      unknown pool or detail, a share outside [0, 1), or `normalise` with classes.

  Example:
    >>> model = bert(classes=0, width=8, depth=1, heads=2, mlp=16)
    >>> tokens = jnp.array([[101, 7592, 102, 0]])
    >>> model.init_with_output(jax.random.key(0), tokens)[0].shape
    (1, 8)

  Source:
    Devlin et al. 2019, arXiv:1810.04805.
  """
  checks.whole_number("width", width)
  heads = max(width // HEAD_WIDTH, 1) if heads is None else heads
  mlp = 4 * width if mlp is None else mlp
  _check_details(details)
  check_sizes(
    width=width,
    heads=heads,
    dropout=dropout,
    vocabulary=vocabulary,
    depth=depth,
    mlp=mlp,
    positions=positions,
  )
  if pool not in POOLS:
    raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
  if normalise and classes:
    raise ValueError("normalise is for embeddings, which need classes=0")
  return Bert(
    vocabulary=vocabulary,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    positions=positions,
    classes=classes,
    pool=pool,
    normalise=normalise,
    dropout=dropout,
    **details,
  )


def _check_details(details: Mapping[str, Any]) -> None:
  for name, value in details.items():
    if name not in DETAILS:
      raise unknown_name("argument of bert", name, DETAILS)
    if name.endswith("activation") and value not in FUNCTIONS:
      raise unknown_name(name, str(value), FUNCTIONS)
    if name in ("segments", "padding", "first"):
      checks.whole_number(name, value, least=0)
    if name == "epsilon" and not (isinstance(value, float) and value > 0):
      raise ValueError(f"epsilon must be a number > 0, got {value!r}")


@register("bert_base")
def bert_base(
  *, classes: int, pool: str = "pooler", dropout: float = 0.1
) -> Bert:
  """Makes BERT-base: 12 blocks of width 768, 109 482 240 parameters.

  Args:
    classes: number of classes; 0 leaves the head off, which the count does.
    pool: as in `bert`; without the pooler there are 590 592 fewer.
    dropout: share dropped in training, in [0, 1).

  Returns:
    The module: token ids (B, T <= 512) -> logits (B, classes).

  Example:
    >>> bert_base(classes=2).depth
    12

  Source:
    Devlin et al. 2019, arXiv:1810.04805.
  """
  return bert(classes=classes, pool=pool, dropout=dropout)


@register("minilm_l6")
def minilm_l6(
  *,
  classes: int,
  pool: str = "mean",
  normalise: bool = False,
  dropout: float = 0.1,
) -> Bert:
  """Makes MiniLM-L6: 6 blocks of width 384, the body of all-MiniLM-L6-v2.

  22 565 376 parameters, 22 713 216 with the pooler.

  Args:
    classes: number of classes; 0 leaves the head off, which the count does.
    pool: as in `bert`; the sentence embedder averages.
    normalise: embeddings have unit length, as the sentence embedder's have.
    dropout: share dropped in training, in [0, 1).

  Returns:
    The module: token ids (B, T <= 512) -> logits (B, classes), or embeddings
    (B, 384).

  Example:
    >>> minilm_l6(classes=0, normalise=True).width
    384

  Source:
    Wang et al. 2020, arXiv:2002.10957 (MiniLM).
  """
  return bert(
    classes=classes,
    width=384,
    depth=6,
    heads=12,
    mlp=1536,
    pool=pool,
    normalise=normalise,
    dropout=dropout,
  )
