"""Makes the small tokenizers of this folder, and what transformers says of them.

  pip install transformers  # 5.24.0, without torch
  python tests/models/tokenizers/make_expected.py

Two folders as Hugging Face has them, trained on a few sentences, and expected.json:
token ids of odd texts and of chats, by transformers.
"""

import json
import pathlib

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

HERE = pathlib.Path(__file__).parent
SENTENCES = [
  "The capital of France is Paris, and that of Italy is Rome.",
  "A network learns from the answers of a larger network.",
  "I'm sure that you're right: it's what they'll say.",
  "In 2026 there were 1234 of them; 12 are left.",
  "你好，世界。 Grüße aus Köln. 😀 def f(x):\n    return x + 1\n",
] * 3
TEXTS = [
  "Hello, world!", "", " ", "  leading", "trailing  ", "a\r\nb\r\n\r\nc",
  "tab\tand\n\nnewlines\n", "1234567 3.14 ١٢٣ Ⅳ½", "你好，世界。日本語 한국어",
  "😀👩‍👩‍👧🏳️‍🌈 🇫🇷", "naïve café cafe\u0301", "nul\x00byte", "I'm you're IT'S",
  "\u200b\ufeffzero", "▁under score_", "مرحبا", "   many   spaces", "   \n   \n",
  "a<|end|>b</s>c", "ﬁ ① Å",
]  # fmt: skip
CHATS = [
  [{"role": "user", "content": "Hi <b>&'\""}],
  [
    {"role": "user", "content": " What is 2+2? "},
    {"role": "assistant", "content": "It is 4.\n"},
  ],
  [
    {"role": "user", "content": "你好 😀\r\n"},
    {"role": "assistant", "content": "  ok \x00"},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "done"},
  ],
]
DEFAULT_SYSTEM = """{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|turn|>system\nHelp.<|end|>\n' }}{% endif %}
{{ '<|turn|>' + message['role'] + '\n' + message['content'] + '<|end|>' + '\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"""
TRIMMED = """{{ bos_token }}{% for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if loop.index0 > 100 %}{% break %}{% endif %}
    {%- if message['role'] == 'user' %}
        {{- '[' + message['content'] | trim + '](' + ({'a': '<'} | tojson) + ')' }}
    {%- else %}
        {%- generation %}{{ ' ' + message['content'] | trim + eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}"""


def byte_level():
  """As Qwen's: bytes, form C, no beginning; the end's token is the padding's."""
  backend = tokenizers.Tokenizer(models.BPE())
  backend.normalizer = normalizers.NFC()
  pattern = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
  )
  backend.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  backend.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=360,
    special_tokens=["<|text|>", "<|turn|>", "<|end|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  backend.train_from_iterator(SENTENCES, trainer)
  config = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|turn|>",
    "eos_token": "<|end|>",
    "pad_token": "<|end|>",
    "add_bos_token": False,
    "chat_template": DEFAULT_SYSTEM,
  }
  return backend, config, {"eos_token_id": [2, 0]}


def sentencepiece():
  """As Llama 2's: a space before the text, bytes for what is no token."""
  backend = tokenizers.Tokenizer(
    models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
  )
  backend.normalizer = normalizers.Sequence(
    [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
  )
  backend.decoder = decoders.Sequence(
    [
      decoders.Replace("▁", " "),
      decoders.ByteFallback(),
      decoders.Fuse(),
      decoders.Strip(" ", 1, 0),
    ]
  )
  trainer = trainers.BpeTrainer(
    vocab_size=420,
    special_tokens=[
      "<unk>",
      "<s>",
      "</s>",
      *(f"<0x{byte:02X}>" for byte in range(256)),
    ],
    limit_alphabet=70,
    max_token_length=6,
    show_progress=False,
  )
  words = [word for text in SENTENCES for word in text.split()]
  backend.train_from_iterator(words, trainer)
  # The bytes are no special tokens: the trainer has no other way to begin.
  state = json.loads(backend.to_str())
  state["added_tokens"] = state["added_tokens"][:3]
  backend = tokenizers.Tokenizer.from_str(json.dumps(state))
  backend.post_processor = TemplateProcessing(
    single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
  )
  config = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True},
    "eos_token": "</s>",
    "unk_token": "<unk>",
  }
  return backend, config, {"eos_token_id": 2}


def main():
  from transformers import AutoTokenizer

  expected = {}
  for make in (byte_level, sentencepiece):
    name = make.__name__
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    backend, config, generation = make()
    (folder / "tokenizer.json").write_text(backend.to_str())
    if name == "sentencepiece":
      (folder / "chat_template.jinja").write_text(TRIMMED)
    for file, values in (
      ("tokenizer_config.json", config),
      ("generation_config.json", generation),
    ):
      (folder / file).write_text(json.dumps(values, indent=2) + "\n")
    theirs = AutoTokenizer.from_pretrained(folder)
    expected[name] = {
      "ids": {text: theirs(text)["input_ids"] for text in TEXTS},
      "texts": {
        text: theirs.decode(theirs(text)["input_ids"], skip_special_tokens=True)
        for text in TEXTS
      },
      # Of the template that marks its answers itself.
      "answers": [
        theirs.apply_chat_template(
          chat, return_dict=True, return_assistant_tokens_mask=True
        )["assistant_masks"]
        for chat in CHATS
        if name == "sentencepiece"
      ],
      "chats": [
        [
          theirs.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=prompt
          ),
          theirs.apply_chat_template(
            chat, add_generation_prompt=prompt, return_dict=False
          ),
        ]
        for chat in CHATS
        for prompt in (False, True)
      ],
    }
  text = json.dumps(expected, separators=(",", ":"))
  (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
  main()
