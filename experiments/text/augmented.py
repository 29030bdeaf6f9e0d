"""TinyBERT's data augmentation: a table of texts, and copies with other words.

  python -m experiments.text.augmented runs/texts/movies.csv runs/texts/movies_5.csv --copies=5

Copies have their text's label, and are made of training rows alone. A word is
replaced by one of the words whose vectors are nearest: of a word that is one token
the vector of a pretrained network's table, of others the mean of their tokens'. In
the paper masked BERT names what can replace a word of one token; --masked=RUN, whose
student is a masked_bert, does that, at one forward pass a word.
"""

import argparse
import csv
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.text.labelled import Row, write
from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.data.text.word_replacement import (
  Alternatives,
  nearest_words,
  replace_words,
  words_of,
)
from kdjax.models import pretrained, read_model
from kdjax.models.tokenizers import Tokenizer

MASK = "[MASK]"


def vectors_of(
  words: Sequence[str], tokenizer: Tokenizer, table: np.ndarray
) -> dict[str, np.ndarray]:
  """Gives every word the mean of its tokens' vectors."""
  backend = tokenizer.backend
  encodings = backend.encode_batch(list(words), add_special_tokens=False)
  return {
    word: table[one.ids].mean(axis=0)
    for word, one in zip(words, encodings, strict=True)
    if one.ids
  }


def by_vectors(
  texts: Sequence[str], tokenizer: Tokenizer, table: np.ndarray, count: int
) -> Alternatives:
  """What a word's vector is near to, among the words that are one token.

  Args:
    texts: in which all words stand that are asked for.
    table: (V, D) the vectors of all tokens.
    count: how many alternatives a word has.
  """
  whole = {
    word: table[number]
    for word, number in tokenizer.backend.get_vocab().items()
    if word.isalpha()
  }
  own = sorted({word.lower() for text in texts for word in words_of(text)})
  asked = vectors_of(own, tokenizer, table)
  neighbours = nearest_words(whole, asked, count=count)

  def alternatives(words: Sequence[str], i: int) -> Sequence[str]:
    return neighbours.get(words[i].lower(), ())

  return alternatives


def by_mask(
  likely: Callable[[np.ndarray, int], np.ndarray],
  tokenizer: Tokenizer,
  otherwise: Alternatives,
) -> Alternatives:
  """What a masked language model puts in a word's place, if that is one token.

  Args:
    likely: (tokens (T,), place) -> the likeliest token ids there.
    otherwise: for all other words.
  """
  backend = tokenizer.backend
  names = {number: word for word, number in backend.get_vocab().items()}
  mask = backend.token_to_id(MASK)

  def alternatives(words: Sequence[str], i: int) -> Sequence[str]:
    one = backend.encode(words[i], add_special_tokens=False).ids
    if len(one) != 1:
      return otherwise(words, i)
    before, after = (
      backend.encode(" ".join(part), add_special_tokens=False).ids
      for part in (words[:i], words[i + 1 :])
    )
    start, end = (backend.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    ids = np.array([start, *before, mask, *after, end], np.int32)
    near = [names[int(x)] for x in likely(ids, len(before) + 1)]
    return [
      word for word in near if word.isalpha() and word != words[i].lower()
    ]

  return alternatives


def likely_of(run: str, count: int) -> Callable[[np.ndarray, int], np.ndarray]:
  """Reads a run's masked_bert, and asks for the likeliest tokens at a place."""
  folder = pathlib.Path(run)
  folder = folder / "student" if (folder / "student").is_dir() else folder
  note = storage.read_note(folder)
  network = read_model(note["model"]).make(classes=note["classes"])
  variables = jax.tree.map(lambda x: x[0], storage.load_variables(folder, note))

  @jax.jit
  def top(tokens, mask, place):
    logits = network.apply(
      variables, tokens[None], None, mask[None], place[None, None]
    )
    return jax.lax.top_k(logits[0, 0], count)[1]

  def likely(ids: np.ndarray, place: int) -> np.ndarray:
    # Few lengths, so that few programs are compiled.
    length = -(-len(ids) // 32) * 32
    mask = np.arange(length) < len(ids)
    padded = np.pad(ids, (0, length - len(ids)))
    return np.asarray(top(jnp.array(padded), jnp.array(mask), jnp.array(place)))

  return likely


def augmented(
  rows: Sequence[Row], alternatives: Alternatives, *, copies: int, rate: float
) -> list[Row]:
  """Puts behind every training row its copies.

  Args:
    rows: with a `text`, and a `split` where some of them are test.
  """
  train = [row for row in rows if row.get("split", "train") == "train"]
  made = replace_words(
    [row["text"] for row in train], alternatives, copies=copies, rate=rate
  )
  copies_of = {id(row): texts for row, texts in zip(train, made, strict=True)}
  return [
    one
    for row in rows
    for one in (
      row,
      *({**row, "text": text} for text in copies_of.get(id(row), ())),
    )
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("table", type=pathlib.Path, help="a .csv with a text")
  parser.add_argument("file", type=pathlib.Path, help="what is written, .csv")
  parser.add_argument(
    "--vectors", default="package:minilm-l6", help="whose table"
  )
  parser.add_argument("--masked", help="a run whose student is a masked_bert")
  parser.add_argument(
    "--copies", type=int, default=20, help="of a row, at most"
  )
  parser.add_argument("--rate", type=float, default=0.4, help="of its words")
  parser.add_argument("--alternatives", type=int, default=15, help="of a word")
  options = parser.parse_args()
  with open(options.table, encoding="utf-8", newline="") as file:
    rows = [*csv.DictReader(file)]
  try:
    network = pretrained.load(options.vectors)
    table = np.asarray(
      network.variables["params"]["stem"]["tokens"]["embedding"]
    )
    texts = [row["text"] for row in rows]
    words = by_vectors(texts, network.tokenizer, table, options.alternatives)
    if options.masked:
      likely = likely_of(options.masked, options.alternatives)
      words = by_mask(likely, network.tokenizer, words)
    more = augmented(rows, words, copies=options.copies, rate=options.rate)
  except UserError as error:
    raise SystemExit(f"augmented.py: {error}") from None
  write(options.file, more)
  print(
    f"{options.file}: {len(rows):,} rows, and {len(more) - len(rows):,} copies"
  )


if __name__ == "__main__":
  main()
