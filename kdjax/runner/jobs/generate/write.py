"""The texts that a network writes, as a file, and how fast it wrote them."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core.errors import quantity
from kdjax.models.generation.generate import generate
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.generate.build import Setup
from kdjax.runner.report import logs
from kdjax.runner.report.progress import say

FILE = "generations.jsonl"
# So many are shown, each so many characters of it.
_SHOWN, _LENGTH = 3, 300


def continue_prompts(setup: Setup, context: Context) -> list[np.ndarray]:
  """Writes all texts; returns their token ids."""
  texts, samples = len(setup.prompts), setup.settings.samples
  say(f"continuing {quantity(texts, 'prompt')}: compiling")
  return _generate(setup, range(texts), samples)


def measure(setup: Setup, context: Context) -> Measured:
  """Writes the file, and says what is in it."""
  tokens = context.values["texts"]
  lines = [*_lines(setup, tokens)]
  text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
  logs.write_text(context.workdir / FILE, text)
  variables = setup.network.variables
  return Measured(
    {
      "task": "language_model",
      "network": {
        "model": setup.source,
        "parameters": evaluate.parameters(variables["params"]),
      },
      "generation": {
        "prompts": len(setup.prompts),
        "prompt_tokens": sum(map(len, setup.prompts)),
        "texts": len(tokens),
        "tokens": sum(map(len, tokens)),
        "ended": sum(line["ended"] for line in lines),
        "tokens_per_second": _speed(setup),
        "file": FILE,
      },
      "shown": [
        {"prompt": _last_words(line), "text": line["text"]}
        for line in lines[:: setup.settings.samples][:_SHOWN]
      ],
    }
  )


def summary(results: Mapping[str, Any]) -> str:
  """Some texts, and how many there are."""
  about = results["generation"]
  texts = [
    f"{_short(line['prompt'])}\n  -> {_short(line['text'])}"
    for line in results["shown"]
  ]
  return "\n\n".join(
    [
      *texts,
      f"{quantity(about['texts'], 'text')} in {about['file']}, {about['ended']} of"
      f" them ended; {quantity(about['tokens'], 'token')};"
      f" {about['tokens_per_second']:.1f} tokens/s",
    ]
  )


def _generate(setup: Setup, numbers: range, samples: int) -> list[np.ndarray]:
  network, settings = setup.network, setup.settings
  tokenizer = network.tokenizer
  return generate(
    network.network,
    network.variables,
    [setup.prompts[number] for number in numbers],
    **vars(setup.continuation),
    key=jax.random.key(settings.seed),
    eos=tokenizer.eos,
    samples=samples,
    ids=numbers,
    vocabulary=tokenizer.vocabulary_size,
    batch_size=settings.batch_size,
    devices=setup.devices,
  )


def _speed(setup: Setup) -> float:
  """New tokens a second of a batch, prompts included, compiled before."""
  numbers = range(min(setup.settings.batch_size, len(setup.prompts)))
  _generate(setup, numbers, 1)
  start = time.perf_counter()
  texts = _generate(setup, numbers, 1)
  return sum(map(len, texts)) / (time.perf_counter() - start)


def _lines(setup: Setup, texts: list[np.ndarray]) -> Iterator[dict[str, Any]]:
  """Each text with its row, as it stands in the file."""
  samples, tokenizer = setup.settings.samples, setup.network.tokenizer
  for i, tokens in enumerate(texts):
    row = setup.rows[i // samples]
    yield {
      **row.values,
      "place": row.place,
      "sample": i % samples,
      "text": tokenizer.decode(tokens),
      "tokens": tokens.tolist(),
      "ended": bool(tokens[-1] in tokenizer.eos),
    }


def _last_words(row: Mapping[str, Any]) -> str:
  """A prompt; of a chat its last message."""
  return row["prompt"] if "prompt" in row else row["messages"][-1]["content"]


def _short(text: str) -> str:
  return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}..."
