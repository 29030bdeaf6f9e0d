"""A small GPT without training, with a tokenizer of its own texts, in a folder.

  python -m experiments.text.small_gpt runs/texts/small_gpt runs/texts/novels_1024.jsonl

`launch.py lm --experiment=lm_small_teacher` trains it: the teacher of `lm_data_size_4`.
"""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import tokenizers

from kdjax.data import text
from kdjax.models import make_model, pretrained
from kdjax.models.pretrained.load import network_of
from kdjax.models.tokenizers import Tokenizer, tokenizer_of_files

NETWORK = "decoder(family='gpt2', width=128, depth=4, heads=4, positions=64)"
TOKENS = 1024
END = "<|endoftext|>"


def make_tokenizer(documents: list[str], tokens: int = TOKENS) -> Tokenizer:
  """Learns a byte-level BPE of so many tokens from texts."""
  backend = tokenizers.Tokenizer(tokenizers.models.BPE())
  form = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.pre_tokenizer, backend.decoder = form, tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=tokens,
    special_tokens=[END],
    initial_alphabet=form.alphabet(),
    show_progress=False,
  )
  backend.train_from_iterator(documents, trainer)
  files = {
    "tokenizer.json": backend.to_str().encode(),
    "tokenizer_config.json": json.dumps(
      {"eos_token": END, "pad_token": END}
    ).encode(),
  }
  return tokenizer_of_files(files, "a new tokenizer")


def write(folder: pathlib.Path, file: str, network: str = NETWORK) -> None:
  """Writes the folder that `lm` begins with.

  Args:
    file: rows of `text`, of which those for training are read.
    network: which of `kdjax.models`.
  """
  rows = [row.values for row in text.read_rows(file)]
  tokenizer = make_tokenizer(
    [row["text"] for row in rows if row["split"] == "train"]
  )
  module = make_model(network, classes=tokenizer.vocabulary_size)
  variables = jax.jit(module.init)(
    jax.random.key(0), jnp.zeros((1, 2), jnp.int32)
  )
  pretrained.save(folder, network_of(module), variables, tokenizer=tokenizer)


if __name__ == "__main__":
  write(pathlib.Path(sys.argv[1]), sys.argv[2])
