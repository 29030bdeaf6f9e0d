"""Tokenizers out of GGUF's fields: a vocabulary, merges, and the name of a rule.

How a text is cut before its pieces are looked up is in the program that reads the
file, not in the file: it gives that rule's name alone. The files that a Hugging Face
folder would hold are made of it, and read as those are.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdjax.core.errors import UserError, quantity, unknown_name
from kdjax.models.tokenizers.files import (
  CONFIG,
  GENERATION,
  WHOLE,
  import_tokenizers,
  tokenizer_of_files,
)
from kdjax.models.tokenizers.tokenizer import Tokenizer

# GGUF's kinds of tokens, as far as they matter.
_UNKNOWN, _CONTROL, _USER, _BYTE = 2, 3, 4, 6
# What ends an answer whatever the file calls its end: the names that chat models
# use, which llama.cpp stops at too.
_ENDS = (
  "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
  "<|eom_id|>", "<|end_of_text|>",
)  # fmt: skip
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class _Rule(NamedTuple):
  """How a text is cut into words before its bytes are merged.

  Attributes:
    pattern: of a word; None for GPT-2's.
    digits: cut between digits first.
    compose: bring the text into Unicode's form C first.
    whole_words: take a word that is a token as it is, whatever the merges say.
    bos: put the beginning's token before a text where the file does not say.
  """

  pattern: str | None = None
  digits: bool = False
  compose: bool = False
  whole_words: bool = False
  bos: bool = False


_GPT2, _SINGLE_DIGITS = _Rule(), _Rule(digits=True)
_LLAMA3 = _Rule(_WORDS + r"|\p{N}{1,3}" + _REST, whole_words=True, bos=True)
_QWEN2 = _Rule(_WORDS + r"|\p{N}" + _REST, compose=True)
# By the name in `tokenizer.ggml.pre`.
RULES = {
  "default": _GPT2,
  "gpt-2": _GPT2,
  "olmo": _GPT2,
  "phi-2": _GPT2,
  "smollm": _SINGLE_DIGITS,
  "starcoder": _SINGLE_DIGITS,
  "refact": _SINGLE_DIGITS,
  "llama-bpe": _LLAMA3,
  "llama3": _LLAMA3,
  "llama-v3": _LLAMA3,
  "smaug-bpe": _LLAMA3,
  "dbrx": _LLAMA3._replace(whole_words=False, bos=False),
  "qwen2": _QWEN2,
  "deepseek-r1-qwen": _QWEN2,
}


def tokenizer_of_gguf(
  fields: Mapping[str, Any], where: str = "GGUF"
) -> Tokenizer:
  """Makes a tokenizer of what a GGUF file says of it.

  Args:
    fields: values by name, such as "tokenizer.ggml.tokens": texts, numbers, and
      lists of them; `{name: field.contents() for name, field in
      GGUFReader(path).fields.items()}` of the package gguf.
    where: how messages begin, such as the file's name.

  Returns:
    The tokenizer. Saved, it is the files of a Hugging Face folder.

  Raises:
    UserError: for a kind of vocabulary or a rule that is not known here, and for
      fields that are missing.
  """
  kind = fields.get("tokenizer.ggml.model")
  if kind not in _KINDS:
    raise unknown_name(f"tokenizer of {where}", str(kind), _KINDS)
  tokens = fields.get("tokenizer.ggml.tokens")
  if not tokens:
    raise UserError(f"{where} has no tokenizer.ggml.tokens")
  for name in ("token_type", "scores"):
    entries = len(fields.get(f"tokenizer.ggml.{name}", tokens))
    if entries != len(tokens):
      raise UserError(
        f"{where}: tokenizer.ggml.{name} has {quantity(entries, 'entry')}, of"
        f" {len(tokens)} tokens"
      )
  kinds = fields.get("tokenizer.ggml.token_type", [1] * len(tokens))
  make, respell = _KINDS[kind]
  tokens = [*map(respell, tokens)]
  backend, bos = make(fields, tokens, where)
  _add_tokens(backend, tokens, kinds)
  bos = fields.get("tokenizer.ggml.add_bos_token", bos)
  names = _names(fields, tokens, where)
  flags = {
    "add_bos_token": bool(bos) and "bos_token" in names,
    "add_eos_token": bool(fields.get("tokenizer.ggml.add_eos_token", False)),
  }
  config = names | flags | {"tokenizer_class": "PreTrainedTokenizerFast"}
  if template := fields.get("tokenizer.chat_template"):
    config["chat_template"] = template
  files = {
    WHOLE: backend.to_str(pretty=True).encode(),
    CONFIG: _written(config),
    GENERATION: _written({"eos_token_id": _ends(fields, tokens, kinds)}),
  }
  return tokenizer_of_files(files, where)


def _byte_level(fields: Mapping, tokens: Sequence[str], where: str):
  """BPE over bytes, as GPT-2's: (backend, whether bos is put there)."""
  tokenizers = import_tokenizers()
  cut = tokenizers.pre_tokenizers
  name = fields.get("tokenizer.ggml.pre", "default")
  if name not in RULES:
    raise unknown_name(f"pre-tokenizer of {where}", str(name), RULES)
  if "tokenizer.ggml.merges" not in fields:
    raise UserError(f"{where} has no tokenizer.ggml.merges")
  rule = RULES[name]
  backend = _merging(
    {token: number for number, token in enumerate(tokens)},
    [_pair(x, where) for x in fields["tokenizer.ggml.merges"]],
    where,
    ignore_merges=rule.whole_words,
  )
  steps = [cut.Digits(individual_digits=True)] if rule.digits else []
  if rule.pattern is not None:
    pattern = tokenizers.Regex(rule.pattern)
    steps.append(cut.Split(pattern, behavior="isolated"))
  steps.append(
    cut.ByteLevel(add_prefix_space=False, use_regex=rule.pattern is None)
  )
  backend.pre_tokenizer = cut.Sequence(steps)
  if rule.compose:
    backend.normalizer = tokenizers.normalizers.NFC()
  backend.decoder = tokenizers.decoders.ByteLevel()
  return backend, rule.bos


def _sentencepiece(fields: Mapping, tokens: Sequence[str], where: str):
  """BPE over characters, with bytes for those that are no token; likewise."""
  tokenizers = import_tokenizers()
  norm, back = tokenizers.normalizers, tokenizers.decoders
  kinds = fields.get("tokenizer.ggml.token_type")
  scores = fields.get("tokenizer.ggml.scores")
  for name, value in (("token_type", kinds), ("scores", scores)):
    if value is None:
      raise UserError(f"{where} has no tokenizer.ggml.{name}")
  vocabulary = {token: number for number, token in enumerate(tokens)}
  # Only what is text is made of parts.
  parts = {
    token: number
    for token, number in vocabulary.items()
    if kinds[number] not in (_UNKNOWN, _CONTROL, _BYTE)
  }
  unknown = [
    token for token, kind in zip(tokens, kinds, strict=True) if kind == _UNKNOWN
  ]
  backend = _merging(
    vocabulary,
    _merges_of(parts, scores, kinds),
    where,
    unk_token=unknown[0] if unknown else None,
    fuse_unk=True,
    byte_fallback=True,
  )
  spaced = bool(fields.get("tokenizer.ggml.add_space_prefix", True))
  steps = [norm.Prepend("▁")] if spaced else []
  backend.normalizer = norm.Sequence([*steps, norm.Replace(" ", "▁")])
  steps = [back.Strip(" ", 1, 0)] if spaced else []
  backend.decoder = back.Sequence(
    [back.Replace("▁", " "), back.ByteFallback(), back.Fuse(), *steps]
  )
  return backend, True


def _merging(vocabulary: Mapping, merges: list, where: str, **settings):
  tokenizers = import_tokenizers()
  try:
    model = tokenizers.models.BPE(vocabulary, merges, **settings)
  except Exception as error:  # the package has no class of errors of its own
    raise UserError(f"{where}: tokenizer.ggml.merges: {error}") from None
  return tokenizers.Tokenizer(model)


def _pair(merge: str, where: str) -> tuple[str, ...]:
  parts = tuple(merge.split(" "))
  if len(parts) != 2:
    raise UserError(f"{where}: tokenizer.ggml.merges: {merge!r} is no pair")
  return parts


def _spelled(token: str) -> str:
  """A run of spaces as SentencePiece writes it; some files hold it as it is."""
  return token if token.strip(" ") else "▁" * len(token)


# How each kind of vocabulary is read, and how its tokens are written.
_KINDS = {"gpt2": (_byte_level, str), "llama": (_sentencepiece, _spelled)}


def _merges_of(
  parts: Mapping[str, int], scores: Sequence[float], kinds: Sequence[int]
) -> list[tuple[str, str]]:
  """The merges that a vocabulary stands for: every token out of any two others.

  The better its score, the earlier a token is made; of equal ones the first. What
  is never cut, whose score says nothing, is made before all others, the longest
  first.
  """

  def rank(token):
    number = parts[token]
    first = kinds[number] == _USER
    return not first, -len(token) if first else -scores[number], number

  order = sorted(parts, key=rank)
  return [
    (token[:at], token[at:])
    for token in order
    for at in range(1, len(token))
    if token[:at] in parts and token[at:] in parts
  ]


def _add_tokens(
  backend: Any, tokens: Sequence[str], kinds: Sequence[int]
) -> None:
  """Has the tokens that are no text, or are never cut, found as they are."""
  tokenizers = import_tokenizers()
  for members, special in (((_UNKNOWN, _CONTROL), True), ((_USER,), False)):
    added = [
      tokenizers.AddedToken(token, normalized=False, special=special)
      for token, kind in zip(tokens, kinds, strict=True)
      if kind in members and token
    ]
    (backend.add_special_tokens if special else backend.add_tokens)(added)


def _names(
  fields: Mapping, tokens: Sequence[str], where: str
) -> dict[str, str]:
  names = {}
  for name, field in (
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("pad_token", "padding"),
  ):
    number = fields.get(f"tokenizer.ggml.{field}_token_id")
    if number is None:
      continue
    if not 0 <= number < len(tokens):
      raise UserError(
        f"{where}: tokenizer.ggml.{field}_token_id is {number}, of"
        f" {len(tokens)} tokens"
      )
    names[name] = tokens[number]
  return names


def _ends(
  fields: Mapping, tokens: Sequence[str], kinds: Sequence[int]
) -> list[int]:
  """Every id that ends an answer, the file's own first."""
  named_ids = [
    fields.get(f"tokenizer.ggml.{name}_token_id")
    for name in ("eos", "eot", "eom")
  ]
  end_ids = [
    number
    for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
    if kind in (_CONTROL, _USER) and token in _ENDS
  ]
  return [
    *dict.fromkeys(int(x) for x in (*named_ids, *end_ids) if x is not None)
  ]


def _written(values: Mapping[str, Any]) -> bytes:
  return json.dumps(values, indent=2, ensure_ascii=False).encode()
