"""Text: rows out of files, divided by document, as token ids in packed sequences.

rows.py      files, globs and tables -> rows, each with its place for messages
prompts.py   a file -> rows that a network is to go on from
packages.py  texts that install as packages -> rows
divide.py    rows -> training and test documents; duplicates
examples.py  rows -> token ids and which of them are learned; what was cut or left out
pack.py      examples -> arrays of sequences; batches of them
align.py     two tokenizations of a text -> groups of tokens of equal bytes
beside.py    what a teacher with another tokenizer reads beside a student
reread.py    what it reads of a text that the student has written

A tokenizer is a value that is handed in: `kdjax.models.tokenizers` has them.
"""

from kdjax.data.text.align import Groups, align
from kdjax.data.text.beside import Reader, put_beside
from kdjax.data.text.divide import (
  count_duplicates,
  divide_rows,
  divide_rows_in_three,
)
from kdjax.data.text.examples import Examples, make_examples
from kdjax.data.text.pack import open_text, pack, pad_out
from kdjax.data.text.prompts import read_prompts
from kdjax.data.text.reread import Rereading, reread, rereading
from kdjax.data.text.rows import Row, read_rows

__all__ = [
  "Examples",
  "Groups",
  "Reader",
  "Rereading",
  "Row",
  "align",
  "count_duplicates",
  "divide_rows",
  "divide_rows_in_three",
  "make_examples",
  "open_text",
  "pack",
  "pad_out",
  "put_beside",
  "read_prompts",
  "read_rows",
  "reread",
  "rereading",
]
