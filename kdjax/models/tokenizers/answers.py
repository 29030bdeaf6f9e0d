"""Rows to token ids, and which of the tokens belong to an answer.

A chat is rendered as a whole and encoded as a whole, as it is for the network. Where
its answers are is told by rendering its beginnings: the messages before an answer
with the generation prompt, and those up to it. Both must be a beginning of the
whole; with a template that writes early messages otherwise once there are later
ones, no place is certain, and the row is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import template

FORMS = "`text`, `prompt` and `completion`, or `messages`"
ASSISTANT = "assistant"

# Where answers begin and end in a text.
Spans = list[tuple[int, int]]


def tokenize(tokenizer: Any, row: Mapping[str, Any]):
  """Turns a row into ids and marks; see `Tokenizer.tokenize`."""
  form = form_of(row)
  if form == "messages":
    ids, counts = _chat(tokenizer, row["messages"])
  else:
    before = [] if form == "text" else _ids_of(tokenizer, row, "prompt")
    answer = _ids_of(tokenizer, row, form, later=bool(before))
    if not answer or answer[-1] not in tokenizer.eos:
      # Encoders' texts have no end, but a token behind them.
      answer = [*answer, *(tokenizer.eos[:1] or tokenizer.suffix)]
    ids = tokenizer.with_prefix([*before, *answer])
    counts = [place >= len(ids) - len(answer) for place in range(len(ids))]
  return ids, [False, *counts[1:]] if counts else []


def prompt_ids(tokenizer: Any, row: Mapping[str, Any]) -> list[int]:
  """Turns what stands before an answer into ids, for a network to go on.

  Args:
    row: with "prompt", or with "messages", of which an answer at the end is left
      out: the network is to give it anew.

  Raises:
    UserError: for a row that has neither, or both, or nothing but an answer.
  """
  names = [name for name in ("prompt", "messages") if name in row]
  if len(names) != 1:
    has = ", ".join(map(repr, row)) or "nothing"
    raise UserError(f"a row has {has}; it must have `prompt` or `messages`")
  if names == ["prompt"]:
    return tokenizer.with_prefix(_ids_of(tokenizer, row, "prompt"))
  check_messages(row["messages"])
  messages = _without_weights(row["messages"])
  if messages[-1]["role"] == ASSISTANT:
    messages = messages[:-1]
  if not messages:
    raise UserError("`messages` has nothing but an answer")
  text = tokenizer.render(messages, add_generation_prompt=True)
  return plain_ids(tokenizer, text)  # the template writes what begins a text


def form_of(row: Mapping[str, Any]) -> str:
  """Finds out which of the forms a row has.

  Returns:
    "text", "completion" or "messages".

  Raises:
    UserError: for none of them, or for several.

  Example:
    >>> form_of({"prompt": "2+2=", "completion": "4", "id": 7})
    'completion'
  """
  if not isinstance(row, Mapping):
    raise UserError(f"a row is a {type(row).__name__}; it must have {FORMS}")
  forms = [form for form in ("text", "completion", "messages") if form in row]
  if len(forms) != 1 or ("prompt" in row) != (forms == ["completion"]):
    names = ", ".join(map(repr, row)) or "nothing"
    raise UserError(f"a row has {names}; it must have {FORMS}, and one of them")
  return forms[0]


def check_messages(messages: Any) -> list[int]:
  """Checks a chat.

  Returns:
    The places of the messages that count: of the assistant, weight not 0.

  Raises:
    UserError: names the message that is wrong, counted from 1.
  """
  if not isinstance(messages, Sequence) or isinstance(messages, str):
    raise UserError("`messages` must be a list of messages")
  if not messages:
    raise UserError("`messages` is empty")
  counted = []
  for place, message in enumerate(messages):
    where = f"message {place + 1}"
    if not isinstance(message, Mapping):
      raise UserError(f"{where} is no mapping of `role` and `content`")
    for name in ("role", "content"):
      if not isinstance(message.get(name), str):
        raise UserError(f"{where}: `{name}` must be a text")
    answers = message["role"] == ASSISTANT
    weight = message.get("weight", int(answers))
    if weight not in (0, 1) or (weight and not answers):
      raise UserError(
        f"{where}: `weight` is {weight!r}; it must be 0 or 1, and 0 where the"
        f" role is not {ASSISTANT}"
      )
    counted += [place] * int(weight)
  return counted


def render_answers(tokenizer: Any, messages: Any) -> tuple[str, Spans]:
  """Renders a chat.

  Returns:
    (text, where the answers are in it), each with the token that ends its turn
    and without what the template writes behind that.

  Raises:
    UserError: if the chat is none, or if an answer's place cannot be told.
  """
  counted = check_messages(messages)
  messages = _without_weights(messages)
  text, spans = tokenizer.render(messages), []
  for place in counted:
    before = tokenizer.render(messages[:place], add_generation_prompt=True)
    after = tokenizer.render(messages[: place + 1])
    if not (text.startswith(after) and after.startswith(before)):
      raise UserError(
        f"message {place + 1}: the chat template writes what comes before it"
        " otherwise once it is there, or writes it otherwise once there are later"
        " messages, so the answer's tokens cannot be told; make it the last"
        " message of its row, or give it the weight 0"
      )
    content = messages[place]["content"].strip()
    answer = after[len(before) :]
    if not answer.lstrip().startswith(
      content
    ) and not template.has_generation_prompt(tokenizer.chat_template):
      raise UserError(
        f"message {place + 1}: the chat template has no add_generation_prompt,"
        " so it cannot be told where an answer begins"
      )
    end = _end_of_turn(tokenizer, answer, content)
    spans.append((len(before), len(before) + end))
  return text, spans


def plain_ids(tokenizer: Any, text: str) -> list[int]:
  """Encodes a text and puts nothing around it."""
  return _encoding(tokenizer, text).ids


def later_ids(tokenizer: Any, text: str) -> list[int]:
  """Encodes a text as it is written behind another one."""
  ids = plain_ids(tokenizer, text)
  if not tokenizer.backend.encode("a").tokens[0].startswith("▁"):
    return ids
  # SentencePiece puts a space before what is encoded, as no network writes it.
  line = plain_ids(tokenizer, "\n")
  whole = plain_ids(tokenizer, "\n" + text)
  return whole[len(line) :] if whole[: len(line)] == line else ids


def _without_weights(messages: Any) -> list[dict[str, Any]]:
  """Returns messages as templates know them."""
  return [
    {name: x for name, x in message.items() if name != "weight"}
    for message in messages
  ]


def _end_of_turn(tokenizer: Any, answer: str, content: str) -> int:
  """Where an answer ends: behind the first special token behind its content."""
  at = answer.find(content)
  end = 0 if at < 0 else at + len(content)
  encoding = _encoding(tokenizer, answer)
  for one, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
    if first >= end and (one in tokenizer.special or one in tokenizer.eos):
      return last
  return end or len(answer.rstrip())


def _chat(tokenizer: Any, messages: Any) -> tuple[list[int], list[bool]]:
  """Encodes a chat; a token is part of an answer if it begins in one."""
  text, spans = render_answers(tokenizer, messages)
  encoding = _encoding(tokenizer, text)
  counts = [
    any(start <= first < end for start, end in spans)
    for first, _ in encoding.offsets
  ]
  return encoding.ids, counts


def _ids_of(
  tokenizer: Any, row: Mapping[str, Any], name: str, *, later: bool = False
) -> list[int]:
  """Encodes one entry, a later one by itself: so it is written after a prompt."""
  text = row[name]
  if not isinstance(text, str):
    raise UserError(f"`{name}` is a {type(text).__name__}, not a text")
  return later_ids(tokenizer, text) if later else plain_ids(tokenizer, text)


def _encoding(tokenizer: Any, text: str):
  if not isinstance(text, str):
    raise UserError(f"a {type(text).__name__} is no text to encode")
  try:
    return tokenizer.backend.encode(text, add_special_tokens=False)
  except (TypeError, UnicodeEncodeError):
    raise UserError(
      "a text holds half a pair of surrogates, such as \\ud83d alone, which is no"
      " character"
    ) from None
