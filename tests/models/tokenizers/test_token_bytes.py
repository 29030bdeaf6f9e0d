"""Which bytes tokens stand for, against what tokenizers decode."""

import pathlib

import pytest
import tokenizers
from small_tokenizers import characters

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import (
  shared_ids,
  token_bytes,
  tokenizer_of_files,
  tokenizer_of_folder,
)

FOLDER = pathlib.Path(__file__).parent
NAMES = ["byte_level", "sentencepiece"]
TEXTS = [
  "the cat", " leading", "two  spaces", "héllo\r\n\twörld\n", "日本語", "a\x00b",
  "👩‍👩‍👧 of three", "0123", "",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_tokens_make_up_the_text(name, text):
  tokenizer = tokenizer_of_folder(FOLDER / name)
  pieces = token_bytes(tokenizer)
  ids = tokenizer.backend.encode(text, add_special_tokens=False).ids
  whole = b"".join(pieces[one] for one in ids)
  # SentencePiece puts a space before every text.
  added = b" " if name == "sentencepiece" and text else b""
  assert whole == added + text.encode()


@pytest.mark.parametrize("name", NAMES)
def test_special_tokens_are_no_text(name):
  tokenizer = tokenizer_of_folder(FOLDER / name)
  pieces = token_bytes(tokenizer)
  assert len(pieces) == tokenizer.vocabulary_size
  assert all(
    pieces[one] is None for one in (*tokenizer.special, *tokenizer.eos)
  )


def test_shared_tokens_are_the_same_bytes_and_the_ends():
  student, teacher = (tokenizer_of_folder(FOLDER / name) for name in NAMES)
  own, others = shared_ids(student, teacher)
  assert len({*own}) == len({*others}) == len(own) == len(others)
  pairs = dict(zip(own, others, strict=True))
  assert pairs.pop(student.eos[0]) == teacher.eos[0]
  pieces, other_pieces = token_bytes(student), token_bytes(teacher)
  assert all(pieces[x] == other_pieces[y] for x, y in pairs.items())
  # "<0x61>" is there beside "a", but no text has it.
  letter = teacher.backend.token_to_id("a")
  assert pairs[student.backend.token_to_id("a")] == letter
  common = {*filter(None, pieces)} & {*filter(None, other_pieces)}
  assert len(pairs) == len(common)


def test_one_tokenizer_shares_all_tokens_with_itself():
  tokenizer = characters()
  own, others = shared_ids(tokenizer, tokenizer)
  assert own == others == [*range(tokenizer.vocabulary_size)]


def test_words_whose_spaces_are_not_told_are_refused():
  files = dict(characters().files)
  backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
  backend.decoder = tokenizers.decoders.WordPiece()
  files["tokenizer.json"] = backend.to_str().encode()
  with pytest.raises(UserError, match="WordPiece"):
    token_bytes(tokenizer_of_files(files, "words"))
