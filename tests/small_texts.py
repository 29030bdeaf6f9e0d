"""Texts, tokenizers and encoders small enough to train in a second."""

import csv
import json
import random

import jax
import numpy as np
import tokenizers
from safetensors.numpy import load_file, save_file

from kdjax.models.bert_sizes import bert
from kdjax.models.pretrained.encoders import bert_module
from kdjax.models.pretrained.load import network_of, save
from kdjax.models.tokenizers import tokenizer_of_files

GOOD = ["great", "lovely", "fine", "warm", "clever"]
BAD = ["awful", "boring", "poor", "cold", "dull"]
OTHERS = [
  "the",
  "film",
  "and",
  "its",
  "actors",
  "were",
  "in",
  "a",
  "long",
  "evening",
  "with",
  "music",
]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*SPECIAL, *GOOD, *BAD, *OTHERS, "|")
SIZES = {
  "vocab_size": len(WORDS),
  "hidden_size": 16,
  "num_hidden_layers": 3,
  "num_attention_heads": 2,
  "intermediate_size": 32,
  "max_position_embeddings": 64,
}


def words(more=()):
  """A tokenizer of whole words, with BERT's tokens around texts and pairs."""
  backend = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(
      {word: i for i, word in enumerate((*WORDS, *more))}, unk_token="[UNK]"
    )
  )
  backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  backend.add_special_tokens([*SPECIAL])
  backend.post_processor = tokenizers.processors.BertProcessing(
    ("[SEP]", 3), ("[CLS]", 2)
  )
  config = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
  files = {
    "tokenizer.json": backend.to_str().encode(),
    "tokenizer_config.json": json.dumps(config).encode(),
  }
  return tokenizer_of_files(files, "words")


def encoder(folder, *, labels=(), seed=0, tokenizer=None, **changes):
  """Writes a small BERT with its tokenizer, with a classifier if it has labels."""
  tokenizer = tokenizer or words()
  sizes = SIZES | {"vocab_size": tokenizer.vocabulary_size}
  config = {"model_type": "bert", **sizes, **changes}
  config |= (
    {"id2label": {str(i): x for i, x in enumerate(labels)}}
    if labels
    else {"_pooling": {"pool": "mean"}}
  )
  module = bert_module(config)
  tokens = np.zeros((1, 4), np.int32)
  variables = jax.jit(module.init)(jax.random.key(seed), tokens)
  save(folder, network_of(module), variables, tokenizer=tokenizer)
  return folder


def add_masked_head(folder, *, seed=0, tied=True):
  """Puts BERT's head for hidden tokens beside a body, by its published names."""
  path = folder / "model.safetensors"
  tensors = dict(load_file(path))
  words = tensors["bert.embeddings.word_embeddings.weight"]
  rng, (vocabulary, width) = np.random.default_rng(seed), words.shape
  shapes = {
    "transform.dense.weight": (width, width),
    "transform.dense.bias": (width,),
    "transform.LayerNorm.weight": (width,),
    "transform.LayerNorm.bias": (width,),
    "bias": (vocabulary,),
  }
  head = {name: rng.normal(size=x) for name, x in shapes.items()}
  head["decoder.weight"] = words if tied else words + 1
  head["decoder.bias"] = head["bias"]
  tensors |= {
    f"cls.predictions.{name}": np.array(x, np.float32)
    for name, x in head.items()
  }
  tensors["cls.seq_relationship.bias"] = np.zeros(2, np.float32)
  save_file(tensors, path)
  return tensors


def reviews(count=120, *, seed=0):
  """Rows of a text, and whether it says good things."""
  draw = random.Random(seed)
  rows = []
  for number in range(count):
    good = number % 2 == 0
    text = [draw.choice(GOOD if good else BAD)]
    text += [draw.choice(OTHERS) for _ in range(draw.randint(1, 9))]
    draw.shuffle(text)
    rows.append((" ".join(text), "good" if good else "bad"))
  return rows


def write_table(path, rows, head=("text", "label"), separator=","):
  """Writes a table of rows."""
  with open(path, "w", newline="", encoding="utf-8") as file:
    csv.writer(file, delimiter=separator).writerows([head, *rows])
  return path


__all__ = [
  "WORDS",
  "add_masked_head",
  "bert",
  "encoder",
  "reviews",
  "words",
  "write_table",
]
