"""Token ids, texts and chats as transformers has them; files; refusals."""

import importlib.util
import json
import pathlib
import sys

import pytest
from make_expected import CHATS
from small_tokenizers import BOS, CHAT, EOS, characters
from tokenizers.processors import TemplateProcessing

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import (
  save_tokenizer,
  template,
  tokenizer_of_files,
  tokenizer_of_folder,
)

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
USER = [{"role": "user", "content": "u"}]


@pytest.fixture(params=EXPECTED, scope="module")
def pair(request):
  return tokenizer_of_folder(HERE / request.param), EXPECTED[request.param]


def test_ids_and_texts_of_transformers(pair):
  tokenizer, expected = pair
  for text, ids in expected["ids"].items():
    # Where the text has its own beginning, transformers adds a second one.
    assert tokenizer.encode(text) == ids, text
    assert tokenizer.decode(ids) == expected["texts"][text]


def test_chats_of_transformers(pair):
  tokenizer, expected = pair
  prompts = [(chat, prompt) for chat in CHATS for prompt in (False, True)]
  for (chat, prompt), (text, ids) in zip(
    prompts, expected["chats"], strict=True
  ):
    assert tokenizer.render(chat, add_generation_prompt=prompt) == text
    assert tokenizer.encode(text) == ids
    if not prompt:
      assert tokenizer.tokenize({"messages": chat})[0] == ids


def test_answers_of_transformers():
  """Where a template marks its answers itself, as few do."""
  tokenizer = tokenizer_of_folder(HERE / "sentencepiece")
  masks = EXPECTED["sentencepiece"]["answers"]
  assert [sum(mask) > 0 for mask in masks] == [False, True, True]
  for chat, mask in zip(CHATS, masks, strict=True):
    _, counts = tokenizer.tokenize({"messages": chat})
    assert counts == [one == 1 for one in mask]


def test_what_the_files_say():
  tokenizer = tokenizer_of_folder(HERE / "byte_level")
  assert (tokenizer.prefix, tokenizer.suffix) == ((), ())
  # The end's own token first, then those of generation_config.json.
  assert (tokenizer.bos, tokenizer.eos, tokenizer.pad) == (1, (2, 0), 2)
  assert tokenizer.special == {0, 1, 2}
  assert tokenizer.vocabulary_size == 360
  tokenizer = tokenizer_of_folder(HERE / "sentencepiece")
  assert (tokenizer.prefix, tokenizer.bos, tokenizer.eos) == ((1,), 1, (2,))
  assert tokenizer.pad == 2  # none is named: the end's, told apart by masks


def test_files_go_back_byte_for_byte(tmp_path):
  folder = HERE / "sentencepiece"
  save_tokenizer(tmp_path, tokenizer_of_folder(folder))
  names = {file.name for file in folder.iterdir()}
  assert names == {file.name for file in tmp_path.iterdir()}
  for name in names:
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
  assert tokenizer_of_folder(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
  ("settings", "text", "tokens"),
  [
    ({"bos": True}, "ab", [BOS, "a", "b"]),
    ({"bos": False}, "ab", ["a", "b"]),
    # Written out, it is not put there a second time.
    ({"bos": True}, f"{BOS}ab", [BOS, "a", "b"]),
    ({"bos": False}, f"{BOS}ab", [BOS, "a", "b"]),
    ({"bos": True}, f"{BOS}{BOS}ab", [BOS, BOS, "a", "b"]),
    ({"bos": True}, "", [BOS]),
    ({"more": {"add_eos_token": True}}, "ab", [BOS, "a", "b", EOS]),
    ({"more": {"add_eos_token": True}}, f"ab{EOS}", [BOS, "a", "b", EOS]),
    # tokenizer.json alone says what stands around a text.
    (
      {
        "processor": TemplateProcessing(
          single=f"{BOS} $A <turn>", special_tokens=[(BOS, 45), ("<turn>", 48)]
        )
      },
      "ab",
      [BOS, "a", "b", "<turn>"],
    ),
  ],
)
def test_the_beginning_stands_there_once(settings, text, tokens):
  tokenizer = characters(**settings)
  ids = [tokenizer.backend.token_to_id(token) for token in tokens]
  assert tokenizer.encode(text) == ids


def test_a_rendered_chat_begins_once():
  tokenizer = characters()
  rendered = tokenizer.render(USER, add_generation_prompt=True)
  assert rendered.startswith(BOS)
  assert tokenizer.encode(rendered).count(tokenizer.bos) == 1


def test_special_tokens_are_left_out_or_written():
  tokenizer = characters()
  ids = tokenizer.tokenize({"text": "ab"})[0]
  assert tokenizer.decode(ids) == "ab"
  assert tokenizer.decode(ids, keep_special=True) == f"{BOS}ab{EOS}"


def test_fingerprints_tell_vocabularies_apart():
  one, other = (tokenizer_of_folder(HERE / name) for name in EXPECTED)
  again = tokenizer_of_folder(HERE / "byte_level")
  assert one.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
  ("template", "said"),
  [
    (None, "no chat template"),
    ("{{ raise_exception('one at a time') }}", "one at a time"),
    ("{% for %}", "cannot be read"),
    ("{{ messages[7].content }}", "refuses these messages"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{% for _ in range(99999999) %}a{% endfor %}", "Range too big"),
    (
      "{% for _ in range(9999) %}" + 2000 * "a" + "{% endfor %}",
      "more than 16777216",
    ),
    ("{{ messages.append(1) }}", "unsafe"),
    ("{% include '/etc/passwd' %}", "no loader"),
    ("a" * 300_000, "at most 262144"),
    ("{{ 1 / 0 }}", "division by zero"),
  ],
)
def test_templates_that_are_refused(template, said):
  with pytest.raises(UserError, match=said) as caught:
    characters(template=template).render(USER)
  assert "\n" not in str(caught.value)


def test_what_templates_expect_is_there():
  source = (
    "{{ {'a': '<é>'} | tojson }} {{ strftime_now('%Y') | length }}"
    "{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}"
    "{% endfor %}{% generation %}{{ eos_token }}{% endgeneration %}"
    "{% set ns = namespace(x=1) %}{% set ns.x = 2 %}{{ ns.x }}"
    "{{ tools is none }}"
  )
  tokenizer = characters(template=source)
  assert tokenizer.render(USER) == '{"a": "<é>"} 41</s>2True'


def test_tokens_that_the_config_alone_knows():
  added = {"49": {"content": "<call>", "special": True}}
  tokenizer = characters(more={"added_tokens_decoder": added})
  assert tokenizer.encode("a<call>")[-1] == 49
  assert tokenizer.decode([0, 49]) == "a"
  assert tokenizer.vocabulary_size == 50


@pytest.mark.parametrize("number", ["3", "50"])
def test_tokens_of_two_numbers_are_refused(number):
  added = {number: {"content": "<call>"}}
  with pytest.raises(UserError, match=f"'<call>' is token {number} in"):
    characters(more={"added_tokens_decoder": added})


def test_named_templates():
  named = [
    {"name": "tool_use", "template": "t"},
    {"name": "default", "template": CHAT},
  ]
  assert characters(template=named).chat_template == CHAT


@pytest.mark.parametrize(
  ("file", "data", "said"),
  [
    ("tokenizer.json", b"{}", "tokenizer.json cannot be read"),
    ("tokenizer.json", b"\xff", "tokenizer.json cannot be read"),
    ("tokenizer_config.json", b"{", "tokenizer_config.json is no JSON"),
    ("tokenizer_config.json", b"[]", "tokenizer_config.json is no JSON object"),
    ("generation_config.json", b"nan?", "generation_config.json is no JSON"),
    ("config.json", b"[1]", "config.json is no JSON object"),
    ("tokenizer_config.json", b'{"chat_template": 3}', "chat_template is no"),
  ],
)
def test_files_that_are_refused(tmp_path, file, data, said):
  save_tokenizer(tmp_path, characters())
  (tmp_path / file).write_bytes(data)
  with pytest.raises(UserError, match=said) as caught:
    tokenizer_of_folder(tmp_path)
  assert str(tmp_path) in str(caught.value)


def test_half_a_pair_of_surrogates_is_refused():
  with pytest.raises(UserError, match="surrogates"):
    characters().encode("a\ud83d")


def test_missing_packages_say_how_to_install_them(monkeypatch):
  for name in ("tokenizers", "jinja2", "jinja2.sandbox"):
    monkeypatch.setitem(sys.modules, name, None)
  for call in (
    lambda: tokenizer_of_files({"tokenizer.json": b""}, "x"),
    lambda: template.render("a", [], {}, add_generation_prompt=False),
  ):
    with pytest.raises(UserError, match=r"pip install 'kdjax\[lm\]'"):
      call()


@pytest.mark.slow
@pytest.mark.skipif(
  importlib.util.find_spec("transformers") is None, reason="not installed"
)
def test_transformers_reads_what_is_saved(tmp_path):
  from transformers import AutoTokenizer

  tokenizer = tokenizer_of_folder(HERE / "byte_level")
  save_tokenizer(tmp_path, tokenizer)
  theirs = AutoTokenizer.from_pretrained(tmp_path)
  for text in EXPECTED["byte_level"]["ids"]:
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
