"""Tokenizers small enough to work out by hand: every character is a token."""

import json

import tokenizers

from kdjax.models.tokenizers import tokenizer_of_files

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 \n.:+=?AU"
CHAT = (
  "{{ bos_token }}{% for m in messages %}{{ m.role[0] + ':' + m.content }}"
  "{{ eos_token }}\n{% endfor %}"
  "{% if add_generation_prompt %}a:{% endif %}"
)


def characters(
  *, bos=True, pad=PAD, eos=EOS, template=CHAT, more=None, processor=None
):
  """A tokenizer of single characters.

  Args:
    bos: put the beginning's token before every text.
    pad: the padding's token, which may be the end's.
    template: of chats.
    more: entries of tokenizer_config.json.
    processor: what stands around a text as tokenizer.json says it.
  """
  backend = tokenizers.Tokenizer(
    tokenizers.models.BPE({x: i for i, x in enumerate(CHARACTERS)}, [])
  )
  backend.decoder = tokenizers.decoders.Fuse()
  backend.add_special_tokens([BOS, EOS, PAD, "<turn>"])
  if processor is not None:
    backend.post_processor = processor
  config = {"bos_token": BOS, "eos_token": eos, "pad_token": pad}
  config |= {"add_bos_token": bos} if processor is None else {}
  config |= {"chat_template": template} | (more or {})
  files = {
    "tokenizer.json": backend.to_str().encode(),
    "tokenizer_config.json": json.dumps(config).encode(),
  }
  return tokenizer_of_files(files, "small")


def spelled(tokenizer, ids):
  """Token ids as a text, one special token or character each."""
  return [tokenizer.backend.id_to_token(one) for one in ids]


def marked(tokenizer, row):
  """A row's tokens in a line, and below each ^ where it counts."""
  ids, counts = tokenizer.tokenize(row)
  short = {BOS: "<", EOS: ">", "\n": "/", "<turn>": "%"}
  line = "".join(short.get(one, one) for one in spelled(tokenizer, ids))
  return line, "".join("^" if one else " " for one in counts).rstrip()
