"""Which tokens are answers: worked by hand, and wrong variants that must fail.

Every character is a token; < begins a text, > ends one, / is a line's end, and ^
stands under what counts.
"""

import pathlib

import pytest
from small_tokenizers import CHAT, EOS, characters, marked, spelled
from tokenizers.processors import TemplateProcessing

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import prompt_ids, tokenizer_of_folder

HERE = pathlib.Path(__file__).parent


# The last answer is written otherwise than those before it.
LAST = CHAT.replace(
  "+ m.content",
  "+ ('?' if loop.last and m.role == 'assistant' else '') + m.content",
)


def chat(*contents, weights=()):
  """A chat of user and assistant in turns."""
  messages = [
    {"role": ("user", "assistant")[place % 2], "content": content}
    for place, content in enumerate(contents)
  ]
  for place, weight in weights:
    messages[place]["weight"] = weight
  return {"messages": messages}


# What the tokenizer is, the row, its tokens, what counts.
ROWS = [
  ({}, {"text": "ab"}, "<ab>", " ^^^"),
  ({}, {"text": ""}, "<>", " ^"),
  # Without a beginning nothing tells of the first token.
  ({"bos": False}, {"text": "ab"}, "ab>", " ^^"),
  ({}, {"text": f"ab{EOS}"}, "<ab>", " ^^^"),
  ({}, {"text": "<s>ab"}, "<ab>", " ^^^"),
  # An encoder's text has no end of its own, but a token behind it.
  (
    {
      "eos": None,
      "processor": TemplateProcessing(
        single="<s> $A <turn>", special_tokens=[("<s>", 45), ("<turn>", 48)]
      ),
    },
    {"text": "ab"},
    "<ab%",
    " ^^^",
  ),
  # The padding's token is the end's, and yet it counts.
  ({"pad": EOS}, {"text": "ab"}, "<ab>", " ^^^"),
  ({}, {"prompt": "2+2=", "completion": "4"}, "<2+2=4>", "     ^^"),
  ({}, {"prompt": "2+2=", "completion": ""}, "<2+2=>", "     ^"),
  ({}, {"prompt": "", "completion": "ab"}, "<ab>", " ^^^"),
  ({"bos": False}, {"prompt": "", "completion": "ab"}, "ab>", " ^^"),
  ({}, {"prompt": "a", "completion": f"b{EOS}"}, "<ab>", "  ^^"),
  ({}, {"prompt": f"a{EOS}", "completion": ""}, "<a>>", "   ^"),
  ({"pad": EOS}, {"prompt": "a", "completion": "b"}, "<ab>", "  ^^"),
  ({}, {"prompt": "a", "completion": "b", "id": 3}, "<ab>", "  ^^"),
  ({}, chat("q", "yes"), "<u:q>/a:yes>/", "        ^^^^"),
  ({"pad": EOS}, chat("q", "yes"), "<u:q>/a:yes>/", "        ^^^^"),
  (
    {},
    chat("q", "y", "r", "no"),
    "<u:q>/a:y>/u:r>/a:no>/",
    "        ^^        ^^^",
  ),
  (
    {},
    chat("q", "y", "r", "no", weights=[(1, 0)]),
    "<u:q>/a:y>/u:r>/a:no>/",
    "                  ^^^",
  ),
  ({}, chat("q", "yes", weights=[(1, 1), (0, 0)]), "<u:q>/a:yes>/", "        ^^^^"),
  ({}, chat("q", "yes", weights=[(1, 0)]), "<u:q>/a:yes>/", ""),
  ({}, chat("q"), "<u:q>/", ""),
  ({}, chat("q", ""), "<u:q>/a:>/", "        ^"),
  # An answer that is a part of its turn's own words.
  ({}, chat("q", "a"), "<u:q>/a:a>/", "        ^^"),
  ({}, chat("q", ":"), "<u:q>/a::>/", "        ^^"),
  # The answer quotes the end's token; the turn ends at the next one.
  ({}, chat("q", f"a{EOS}b"), "<u:q>/a:a>b>/", "        ^^^^"),
  # Another token ends a turn than ends a text.
  (
    {"template": CHAT.replace("eos_token", "'<turn>'")},
    chat("q", "yes"),
    "<u:q%/a:yes%/",
    "        ^^^^",
  ),
  # No token ends a turn: the answer ends with its words.
  (
    {"template": CHAT.replace("eos_token", "' .'")},
    chat("q", "yes"),
    "<u:q ./a:yes ./",
    "         ^^^",
  ),
  # Words that the network writes before its answer are the answer's.
  (
    {"template": LAST},
    chat("q", "yes"),
    "<u:q>/a:?yes>/",
    "        ^^^^^",
  ),
]  # fmt: skip


def check(tokenize):
  """Holds a way of marking rows against the table."""
  for settings, row, tokens, counts in ROWS:
    tokenizer = characters(**settings)
    assert tokenize(tokenizer, row) == (tokens, counts), row


def test_answers_and_their_ends_count_and_nothing_else():
  check(marked)


def shifted_left(tokenizer, row):
  line, marks = marked(tokenizer, row)
  return line, marks[1:]


def all_of_it(tokenizer, row):
  line, _ = marked(tokenizer, row)
  return line, " " + "^" * (len(line) - 1)


def without_the_end(tokenizer, row):
  line, marks = marked(tokenizer, row)
  pairs = zip(line, marks.ljust(len(line)), strict=True)
  return line, "".join(" " if a == ">" else b for a, b in pairs).rstrip()


def without_padding_by_id(tokenizer, row):
  """Masks by `id == pad`, which takes the end where both are one token."""
  ids, counts = tokenizer.tokenize(row)
  line, _ = marked(tokenizer, row)
  pairs = zip(ids, counts, strict=True)
  kept = [one and number != tokenizer.pad for number, one in pairs]
  return line, "".join("^" if one else " " for one in kept).rstrip()


def behind_the_end_too(tokenizer, row):
  line, marks = marked(tokenizer, row)
  return line, marks + "^" * (len(line) - len(marks)) if marks else ""


def with_two_beginnings(tokenizer, row):
  line, marks = marked(tokenizer, row)
  return "<" * len(tokenizer.prefix) + line, " " * len(tokenizer.prefix) + marks


def without_beginning(tokenizer, row):
  line, marks = marked(tokenizer, row)
  return line.removeprefix("<"), marks[1:]


WRONG = [
  shifted_left,
  all_of_it,
  without_the_end,
  without_padding_by_id,
  behind_the_end_too,
  with_two_beginnings,
  without_beginning,
]


@pytest.mark.parametrize("variant", WRONG)
def test_wrong_variants_are_rejected(variant):
  with pytest.raises(AssertionError):
    check(variant)


@pytest.mark.parametrize(
  ("template", "row", "said"),
  [
    # Early messages depend on how many there are.
    ("{{ messages | length }}" + CHAT, chat("q", "y"), "message 2: .*weight 0"),
    (
      LAST,
      chat("q", "y", "r", "n"),
      "message 2: ",
    ),
    ("{{ messages[::-1] }}", chat("q", "y"), "message 2: "),
    # Nothing says where the answer begins.
    (
      "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}",
      chat("q", "y"),
      "message 2: .*no add_generation_prompt",
    ),
    (CHAT, {"messages": []}, "is empty"),
    (CHAT, {"messages": "hi"}, "must be a list"),
    (CHAT, {"messages": ["hi"]}, "message 1 is no mapping"),
    (CHAT, {"messages": [{"role": "user"}]}, "message 1: `content` must be"),
    (CHAT, {"messages": [{"content": "a"}]}, "message 1: `role` must be"),
    (CHAT, chat("q", "y", weights=[(1, 0.5)]), "message 2: `weight` is 0.5"),
    (CHAT, chat("q", "y", weights=[(1, "1")]), "message 2: `weight` is '1'"),
    (CHAT, chat("q", "y", weights=[(0, 1)]), "message 1: `weight` is 1"),
    (CHAT, {"question": "a"}, "a row has 'question'"),
    (CHAT, {}, "a row has nothing"),
    (CHAT, {"text": "a", "prompt": "b"}, "one of them"),
    (CHAT, {"text": "a", "messages": []}, "one of them"),
    (CHAT, {"prompt": "a"}, "a row has 'prompt'"),
    (CHAT, {"completion": "a"}, "a row has 'completion'"),
    (CHAT, {"text": 3}, "`text` is a int"),
    (CHAT, {"prompt": None, "completion": "a"}, "`prompt` is a NoneType"),
    (CHAT, "a", "a row is a str"),
    (None, chat("q", "y"), "no chat template"),
  ],
)
def test_rows_that_are_refused(template, row, said):
  with pytest.raises(UserError, match=said) as caught:
    characters(template=template).tokenize(row)
  assert "\n" not in str(caught.value)


def test_an_early_answer_of_weight_0_need_not_be_stable():
  row = chat("q", "y", "r", "no", weights=[(1, 0)])
  assert marked(characters(template=LAST), row) == (
    "<u:q>/a:y>/u:r>/a:?no>/",
    "                  ^^^^",
  )


@pytest.mark.parametrize("name", ["byte_level", "sentencepiece"])
def test_a_completion_is_encoded_as_it_is_written(name):
  """Behind the prompt, whatever tokens the two would make together."""
  tokenizer = tokenizer_of_folder(HERE / name)
  for prompt, completion in (
    ("The cap", "ital"),
    ("is", " Paris"),
    ("a  ", "b"),
  ):
    row = {"prompt": prompt, "completion": completion}
    ids, counts = tokenizer.tokenize(row)
    first = counts.index(True)
    assert ids[:first] == tokenizer.encode(prompt)
    assert tokenizer.decode(ids) == prompt + completion
    assert ids[-1] == tokenizer.eos[0]
    assert counts == [False] * first + [True] * (len(ids) - first)


def test_a_token_of_two_parts_counts_where_it_begins():
  """Bytes merge over the answer's border: the token is the prompt's."""
  tokenizer = tokenizer_of_folder(HERE / "byte_level")
  ids, counts = tokenizer.tokenize(chat("q", "  ok"))
  answer = [one for one, count in zip(ids, counts, strict=True) if count]
  assert tokenizer.decode(answer, keep_special=True).endswith("ok<|end|>")
  assert spelled(tokenizer, ids)[-1] != "<|end|>"  # what follows is no answer


# What the tokenizer is, the row, what a network goes on from.
PROMPTS = [
  ({}, {"prompt": "ab"}, "<ab"),
  ({}, {"prompt": "<s>ab", "completion": "c"}, "<ab"),
  ({"bos": False}, {"prompt": "ab"}, "ab"),
  ({}, chat("q"), "<u:q>/a:"),
  ({}, chat("q", "yes"), "<u:q>/a:"),
  ({}, chat("q", "yes", "r", weights=[(1, 0)]), "<u:q>/a:yes>/u:r>/a:"),
]


@pytest.mark.parametrize(("settings", "row", "tokens"), PROMPTS)
def test_a_prompt_ends_where_the_answer_begins(settings, row, tokens):
  tokenizer = characters(**settings)
  spelling = "".join(spelled(tokenizer, prompt_ids(tokenizer, row)))
  for name, sign in (("<s>", "<"), (EOS, ">"), ("\n", "/")):
    spelling = spelling.replace(name, sign)
  assert spelling == tokens
