"""Which prompts of test documents are continued, and how texts become rows."""

import numpy as np
from small_tokenizers import characters

from kdjax.data import text
from kdjax.data.text import Row
from kdjax.runner.jobs.lm import written
from kdjax.runner.pipeline.texts import Part

TOKENIZER = characters()


def prompts_of(*rows, longest=20, steps=4):
  own = [Row(values, str(i)) for i, values in enumerate(rows)]
  part = Part(own, text.make_examples(own, TOKENIZER, 40), {})
  return written.find_prompts(part, TOKENIZER, longest, steps)


def test_prompts_by_hand():
  prompts = prompts_of(
    {"prompt": "1+1=", "completion": "2"},
    {"text": "the cat sat on the mat and slept"},
    {"text": "ab"},
    {"prompt": "a" * 30, "completion": "too long"},
  )
  continued = [(TOKENIZER.decode(one.ids), *one[1:]) for one in prompts]
  assert continued == [
    ("1+1=", "2", True),
    # 16 tokens, the first of which is the beginning's.
    ("the cat sat on ", "the ", False),
    ("a", "b", False),
  ]


def test_few_are_continued():
  rows = [{"text": f"document {i}"} for i in range(written.PROMPTS + 3)]
  assert len(prompts_of(*rows)) == written.PROMPTS


def test_rows_of_texts_by_hand():
  prompts = [written.Prompt([5, 6], "", False), written.Prompt([7], "", True)]
  rows = written._rows(prompts, [np.array([1]), np.array([2, 3, 4])])
  assert rows["tokens"].tolist() == [[5, 6, 1, 0], [7, 2, 3, 4]]
  assert rows["mask"].tolist() == [[True] * 3 + [False], [True] * 4]
  assert rows["counts"].tolist() == [
    [False, False, True, False],
    [False, True, True, True],
  ]
