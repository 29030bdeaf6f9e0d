"""Tokenizers: text to token ids and back, chat templates, which tokens are answers.

tokenizer.py  the value: encode, decode, render, tokenize
files.py      out of the files of a Hugging Face folder, and back into one
gguf.py       out of what a GGUF file says of its vocabulary
template.py   chat templates, in a sandbox
answers.py    rows to ids, and the tokens of them that are answers
encoded.py    texts, or pairs of them, as arrays for an encoder
token_bytes.py  the bytes that tokens stand for, and tokens that two tokenizers share
"""

from kdjax.models.tokenizers.answers import prompt_ids
from kdjax.models.tokenizers.encoded import encode_texts
from kdjax.models.tokenizers.files import (
  save_tokenizer,
  tokenizer_of_files,
  tokenizer_of_folder,
)
from kdjax.models.tokenizers.gguf import tokenizer_of_gguf
from kdjax.models.tokenizers.token_bytes import (
  encode_bytes,
  shared_ids,
  token_bytes,
)
from kdjax.models.tokenizers.tokenizer import Tokenizer

__all__ = [
  "Tokenizer",
  "encode_bytes",
  "encode_texts",
  "prompt_ids",
  "save_tokenizer",
  "shared_ids",
  "token_bytes",
  "tokenizer_of_files",
  "tokenizer_of_folder",
  "tokenizer_of_gguf",
]
