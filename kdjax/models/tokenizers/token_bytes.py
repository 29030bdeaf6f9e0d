"""The bytes that tokens stand for, and tokens that two tokenizers share."""

import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import answers

_SPACE = "▁"
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
# What puts tokens together again by their bytes alone.
_JOINED = {"ByteFallback", "Fuse", "Metaspace", "Replace", "Strip"}


def token_bytes(tokenizer: Any) -> list[bytes | None]:
  """Says what bytes each token stands for.

  Args:
    tokenizer: from `kdjax.models.tokenizers`.

  Returns:
    By id the bytes; None for an id that is no text: special tokens, and ids that
    are nobody's.

  Raises:
    UserError: where tokens alone do not say that, as those of BERT, between which
      there may be a space or none.

  Example:
    For a byte-level BPE "Ġthe" stands for b" the", for a SentencePiece "▁the" does,
    and "<0x0A>" for b"\\n".
  """
  backend = tokenizer.backend
  values = json.loads(backend.to_str())
  kinds = _kinds(values.get("decoder"))
  # What is cut into bytes before it is looked up was written in bytes' letters.
  if "ByteLevel" in kinds | _kinds(values.get("pre_tokenizer")):
    spelled, as_added = _of_byte_level, str.encode
  elif kinds and kinds <= _JOINED:
    spelled = as_added = _of_characters
  else:
    named = ", ".join(sorted(kinds)) or "none"
    raise UserError(
      "a tokenizer that does not say which bytes its tokens stand for (its decoder:"
      f" {named}); byte-level BPE and SentencePiece do"
    )
  added = {token["id"] for token in values["added_tokens"]}
  pieces: list[bytes | None] = [None] * tokenizer.vocabulary_size
  for text, number in backend.get_vocab(with_added_tokens=True).items():
    if number not in tokenizer.special and number not in tokenizer.eos:
      pieces[number] = (as_added if number in added else spelled)(text)
  return pieces


def shared_ids(student: Any, teacher: Any) -> tuple[list[int], list[int]]:
  """Finds the tokens that two tokenizers have in common.

  Args:
    student: a tokenizer.
    teacher: another one.

  Returns:
    Ids of the student's and of the teacher's, in the same order: tokens of the same
    bytes, each of them once, and the ends of their texts. Of one tokenizer all.

  Raises:
    UserError: as `token_bytes`.
  """
  if student.fingerprint == teacher.fingerprint:
    return [*range(student.vocabulary_size)], [*range(student.vocabulary_size)]
  own, others = _ids_by_bytes(student), _ids_by_bytes(teacher)
  pairs = [(own[piece], others[piece]) for piece in own.keys() & others.keys()]
  if student.eos and teacher.eos:
    pairs.append((student.eos[0], teacher.eos[0]))
  pairs.sort()
  return [own_id for own_id, _ in pairs], [other_id for _, other_id in pairs]


def encode_bytes(
  tokenizer: Any,
  pieces: Sequence[bytes | None],
  written: bytes,
  *,
  later: bool = False,
) -> list[int]:
  """Turns bytes into token ids, where they are no text too.

  What is UTF-8 is encoded as a text. Each other byte, as of half an emoji, is the
  token that stands for it alone; a tokenizer without such tokens leaves it out.

  Args:
    tokenizer: from `kdjax.models.tokenizers`.
    pieces: its `token_bytes`.
    written: the bytes.
    later: whether they stand behind something, so that no space is put there.

  Returns:
    The ids, with nothing around them.

  Example:
    Of b"a\\xe2\\x82" a byte-level BPE has the tokens "a", "â" and "Ĥ", and a
    SentencePiece "▁a", "<0xE2>" and "<0x82>".
  """
  ids: list[int] = []
  for part in _text_and_bytes(written):
    if isinstance(part, str):
      encode = answers.later_ids if ids or later else answers.plain_ids
      ids += encode(tokenizer, part)
    elif part in pieces:
      ids.append(pieces.index(part))
  return ids


def _text_and_bytes(written: bytes) -> Iterator[str | bytes]:
  """Cuts bytes into texts, and bytes that are in none."""
  while written:
    try:
      text, bad = written.decode(), 0
    except UnicodeDecodeError as error:
      text, bad = written[: error.start].decode(), error.end - error.start
    if text:
      yield text
    rest = written[len(text.encode()) :]
    yield from (rest[i : i + 1] for i in range(bad))
    written = rest[bad:]


def _ids_by_bytes(tokenizer: Any) -> dict[bytes, int]:
  """Ids by bytes; of several that stand for the same, the one that is text."""
  ids: dict[bytes, int] = {}
  for number, piece in enumerate(token_bytes(tokenizer)):
    text = tokenizer.backend.id_to_token(number) if piece else ""
    # "<0x61>" is in a vocabulary beside "a", and never used.
    if piece and (piece not in ids or not _FALLBACK.fullmatch(text)):
      ids[piece] = number
  return ids


def _kinds(part: Any) -> set[str]:
  """The kinds of a tokenizer's part, those of a sequence each."""
  if not part:
    return set()
  for name in ("decoders", "pretokenizers"):
    if name in part:
      return set().union(*map(_kinds, part[name]))
  return {part["type"]}


def _of_characters(text: str) -> bytes:
  fallback = _FALLBACK.fullmatch(text)
  if fallback:
    return bytes([int(fallback[1], 16)])
  return text.replace(_SPACE, " ").encode()


def _of_byte_level(text: str) -> bytes:
  letters = _bytes_by_letter()
  if not letters.keys() >= {*text}:
    return text.encode()
  return bytes(letters[letter] for letter in text)


@functools.cache
def _bytes_by_letter() -> dict[str, int]:
  """How byte-level BPE writes bytes: those that are no letters behind the others."""
  plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in plain]
  letters = {chr(byte): byte for byte in plain}
  return letters | {chr(256 + i): byte for i, byte in enumerate(others)}
