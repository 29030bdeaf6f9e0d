"""A tokenizer as a value."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import answers, template


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """Text to token ids and back.

  Attributes:
    backend: of the package tokenizers; adds nothing to a text by itself.
    prefix: ids that stand before every text, such as that of its beginning.
    suffix: ids that stand behind every text that is encoded.
    bos: id of the beginning of a text, whether it is put there or not; None for
      none.
    eos: ids that end a text; the first is put behind documents and completions.
    pad: id that fills rows up. It may be one of `eos`: what is padding is told
      by a mask, never by this id.
    special: ids of tokens that are no text, such as those of turns.
    names: what the special tokens are called in a template: "bos_token", ...
    chat_template: how messages become one text; None where there is no chat.
    files: the tokenizer's files by name, as `save_tokenizer` writes them.
  """

  backend: Any
  prefix: tuple[int, ...]
  suffix: tuple[int, ...]
  bos: int | None
  eos: tuple[int, ...]
  pad: int
  special: frozenset[int]
  names: Mapping[str, str]
  chat_template: str | None
  files: Mapping[str, bytes]

  def encode(self, text: str) -> list[int]:
    """Turns a text into token ids.

    The tokens that the tokenizer puts around every text are put there once: a
    text that begins with them, as a rendered chat does, gets none a second time.

    Returns:
      The ids.

    Raises:
      UserError: for half a pair of surrogates, which is no text.
    """
    ids = answers.plain_ids(self, text)
    return self.with_prefix(ids) + self._missing_suffix(ids)

  def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
    """Turns token ids into a text.

    Args:
      ids: a list or vector of integers.
      keep_special: write out special tokens, else they are left out.

    Returns:
      The text; U+FFFD for bytes that are no text, as of half an emoji.
    """
    ids = [int(one) for one in ids]
    return self.backend.decode(ids, skip_special_tokens=not keep_special)

  def render(
    self,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = False,
  ) -> str:
    """Writes messages as one text, by the chat template.

    Args:
      messages: of role and content, and of whatever else the template reads.
      add_generation_prompt: end with the beginning of the assistant's turn.

    Returns:
      The text, with the special tokens of turns written out.

    Raises:
      UserError: if there is no template, or if it refuses the messages.
    """
    if self.chat_template is None:
      raise UserError(
        "this tokenizer has no chat template, so messages cannot be written as"
        " text; rows of `text`, or of `prompt` and `completion`, need none"
      )
    return template.render(
      self.chat_template,
      messages,
      self.names,
      add_generation_prompt=add_generation_prompt,
    )

  def tokenize(self, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    """Turns a row of data into token ids, and marks those that are answers.

    Args:
      row: of one of these forms; what else it has is not looked at:
        {"text"}: a document. Every token counts.
        {"prompt", "completion"}: the completion's tokens count.
        {"messages": [{"role", "content", "weight"?}]}: the content of the
          assistant's messages counts, unless their weight is 0.
        The token that ends a document, completion or turn is an answer too.

    Returns:
      (ids, counts) of one length. `counts[i]` says whether token i is (part of)
      an answer. A network's row t is asked for token t + 1, so with
      `targets = ids[1:]` the rows `logits[:-1]` count where `counts[1:]`; the
      first token is nobody's answer, `counts[0]` is False.

    Raises:
      UserError: for a row of none of these forms, and for a chat template with
        which an answer's place cannot be told.

    Example:
      With ids of letters, "b" for the beginning, "e" for the end of a text,
      {"prompt": "2+2=", "completion": "4"} is
        ids     b 2 + 2 = 4 e
        counts  0 0 0 0 0 1 1
    """
    return answers.tokenize(self, row)

  def with_prefix(self, ids: list[int]) -> list[int]:
    """Puts the prefix before ids, unless it is there."""
    has_prefix = tuple(ids[: len(self.prefix)]) == self.prefix
    return ids if has_prefix else [*self.prefix, *ids]

  def _missing_suffix(self, ids: list[int]) -> list[int]:
    has_suffix = self.suffix and tuple(ids[-len(self.suffix) :]) == self.suffix
    return [] if has_suffix else [*self.suffix]

  @functools.cached_property
  def vocabulary_size(self) -> int:
    """One more than the largest id. A network may have more classes: padding."""
    return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

  @functools.cached_property
  def fingerprint(self) -> str:
    """The sha256 of all tokens and ids: ids of tokenizers alike mean the same."""
    tokens = self.backend.get_vocab(with_added_tokens=True)
    return hashlib.sha256(
      json.dumps(sorted(tokens.items())).encode()
    ).hexdigest()
