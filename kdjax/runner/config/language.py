"""Texts, for language models."""

import dataclasses

from kdjax.runner.config.field import Interval, option


@dataclasses.dataclass(frozen=True)
class Text:
  """Which texts, in sequences of which length."""

  decisive = True
  own_run = True

  text: str | None = option(
    None,
    "texts: a file (.txt, .md, .jsonl, .csv, .tsv, .parquet), a pattern such as"
    " 'novels/*.txt', a folder, an installed package:NAME, or several of them"
    " with commas; rows of `text`, of `prompt` and `completion`, or of `messages`",
  )
  sequence_length: int = option(
    512,
    "tokens of a sequence, in which texts are packed one behind the other",
    within=Interval(2),
  )
