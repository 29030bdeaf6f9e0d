"""Texts, or pairs of them, as arrays of token ids for an encoder."""

from collections.abc import Sequence

import numpy as np

from kdjax.core.errors import UserError
from kdjax.models.tokenizers.files import WHOLE, import_tokenizers
from kdjax.models.tokenizers.tokenizer import Tokenizer


def encode_texts(
  tokenizer: Tokenizer,
  texts: Sequence[str],
  second: Sequence[str] | None = None,
  *,
  length: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Turns texts into token ids as the tokenizer's own tokenizer.json says.

  Args:
    tokenizer: out of the files of a Hugging Face folder.
    texts: N texts.
    second: N others, the second ones of pairs; None where there are no pairs.
    length: T, the most tokens of a text or pair; of a pair the longer text is cut.

  Returns:
    By name `tokens` (N, T) int32, `mask` (N, T) bool, false at padding, and for pairs
    that the tokenizer tells apart `segments` (N, T) int32 of 0 and 1; and how many
    tokens each would have had, (N,) int.

  Raises:
    UserError: for a tokenizer without a tokenizer.json, pairs of one that says of
      no pair how it is written, and a length that holds no text.
  """
  backend = _backend(tokenizer)
  rows = list(texts) if second is None else [*zip(texts, second, strict=True)]
  _check(backend, tokenizer, length, pairs=second is not None)
  lengths = np.array([len(row.ids) for row in backend.encode_batch(rows)], int)
  backend.enable_truncation(length)
  encodings = backend.encode_batch(rows)
  tokens = np.full((len(rows), length), tokenizer.pad, np.int32)
  mask = np.zeros((len(rows), length), bool)
  segments = np.zeros((len(rows), length), np.int32)
  for row, one in enumerate(encodings):
    size = len(one.ids)
    tokens[row, :size], mask[row, :size] = one.ids, True
    segments[row, :size] = one.type_ids
  arrays = {"tokens": tokens, "mask": mask}
  if segments.any():
    arrays["segments"] = segments
  return arrays, lengths


def _backend(tokenizer: Tokenizer):
  """The tokenizer with the tokens that it puts around texts."""
  if WHOLE not in tokenizer.files:
    raise UserError(
      f"texts are classified by tokenizers with a {WHOLE}, and this one has none"
    )
  backend = import_tokenizers().Tokenizer.from_buffer(tokenizer.files[WHOLE])
  backend.no_truncation()
  backend.no_padding()
  return backend


def _check(backend, tokenizer: Tokenizer, length: int, *, pairs: bool) -> None:
  around = backend.num_special_tokens_to_add(pairs)
  if length <= around:
    raise UserError(
      f"--sequence_length={length}: {around} of a text's tokens are what the"
      " tokenizer puts around it, so that nothing of the text is left"
    )
  if pairs and not around:
    raise UserError(
      "the tokenizer says of no pair of texts how it is written (its"
      f" {WHOLE} has no post_processor); join the two in one column text"
    )
