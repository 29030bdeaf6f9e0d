"""What the networks of a run write: completions side by side, the exposure curve."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import evaluate
from kdjax.models.generation.generate import generate
from kdjax.models.tokenizers import prompt_ids
from kdjax.runner.pipeline import texts
from kdjax.runner.report.progress import say

# Prompts that are continued, and the most tokens behind each.
PROMPTS, STEPS = 64, 32
# Of a document without a prompt, so many first tokens are one.
_BEGINNING = 16


class Prompt(NamedTuple):
  """What is continued, and how its document goes on.

  Attributes:
    ids: token ids.
    reference: text; what was to be answered, or the document's own next words.
    has_answer: whether the document has a prompt, so that there is a right answer.
  """

  ids: list[int]
  reference: str
  has_answer: bool


def find_prompts(
  part: texts.Part, tokenizer: Any, longest: int, steps: int
) -> list[Prompt]:
  """Takes the prompts of some documents, or their beginnings.

  Args:
    longest: tokens of a prompt at most; longer ones are left out.
    steps: of the reference of a document without a prompt.
  """
  prompts = []
  for row in part.rows:
    ids, counts = tokenizer.tokenize(row.values)
    if has_answer := "text" not in row.values:
      prompt = prompt_ids(tokenizer, row.values)
      rest = [x for x, learned in zip(ids, counts, strict=True) if learned]
    else:
      length = min(_BEGINNING, longest, len(ids) // 2)
      prompt, rest = ids[:length], ids[length : length + steps]
    if 0 < len(prompt) <= longest:
      prompts.append(Prompt(prompt, tokenizer.decode(rest), has_answer))
  return prompts[:PROMPTS]


def measure(setup: Any, networks: Mapping[str, Any]) -> dict[str, Any]:
  """Lets the networks continue prompts of the test documents.

  Args:
    networks: by name, "student" and perhaps "teacher" among them, (network, variables).
  """
  settings, tokenizer = setup.experiment, setup.tokenizer
  length = settings.language.sequence_length
  steps = min(STEPS, settings.continuation.max_new_tokens, length // 2)
  count = settings.language.completions
  prompts = find_prompts(
    setup.texts.parts["test"], tokenizer, length - steps, steps
  )
  if not count or not prompts:
    return {}
  say(f"{len(networks)} networks continue {len(prompts)} prompts: compiling")
  ids = {
    name: _continued(setup, name, network, prompts, steps, "greedy")
    for name, network in networks.items()
  }
  completions = {
    name: [*map(_tokenizer_of(setup, name).decode, ids[name])] for name in ids
  }
  curves = {}
  if setup.tokenization.same_ids and "teacher" in networks:
    curves = {"exposure": _exposure(setup, networks, prompts, steps)}
  return curves | {
    "completions": {
      "tokens": steps,
      "scores": {
        name: _scores(prompts, ids[name], completions[name]) for name in ids
      },
      "shown": [
        {"prompt": tokenizer.decode(prompt.ids), "reference": prompt.reference}
        | {name: texts[i] for name, texts in completions.items()}
        for i, prompt in enumerate(prompts[:count])
      ],
    },
  }


def _tokenizer_of(setup: Any, name: str) -> Any:
  """A network's tokenizer."""
  return (setup.teacher if name == "teacher" else setup).tokenizer


def _continued(
  setup: Any,
  name: str,
  network: Any,
  prompts: Sequence[Prompt],
  steps: int,
  sampling: str,
) -> list[np.ndarray]:
  ids, task = [prompt.ids for prompt in prompts], setup.tokenization.task
  if name == "teacher":
    ids = [setup.tokenization.teacher_prompt(one) for one in ids]
    task = setup.tokenization.teacher_task
  return generate(
    *network,
    ids,
    max_new_tokens=steps,
    sampling=sampling,
    key=jax.random.key(0),
    eos=_tokenizer_of(setup, name).eos,
    vocabulary=task.width,
    batch_size=16,
  )


def _scores(
  prompts: Sequence[Prompt], ids: Sequence[np.ndarray], texts: Sequence[str]
) -> dict[str, float]:
  """How varied texts are, and of prompts how near to what was to be answered."""
  tokens = [one.tolist() for one in ids]
  scores = {
    "distinct_2": evaluate.distinct_n(tokens, 2),
    "repetition": evaluate.repetition(tokens),
  }
  pairs = [
    (text, prompt.reference)
    for text, prompt in zip(texts, prompts, strict=True)
    if prompt.has_answer
  ]
  if pairs:
    scores["rouge_l"] = float(
      np.mean([evaluate.rouge_l(*pair).f for pair in pairs])
    )
    scores["exact_match"] = evaluate.exact_match(*zip(*pairs, strict=True))
  return {name: x if np.isfinite(x) else None for name, x in scores.items()}


def _exposure(
  setup: Any, networks: Mapping[str, Any], prompts: Sequence[Prompt], steps: int
) -> dict[str, Any]:
  """KL(teacher || student) by step, on texts that either has drawn."""
  curves = {}
  for name in ("student", "teacher"):
    answers = _continued(
      setup, name, networks[name], prompts, steps, "temperature(1.0)"
    )
    curve = evaluate.kl_by_step(
      *networks["student"],
      setup.tokenization.teacher,
      _rows(prompts, answers),
      task=setup.tokenization.task,
      steps=steps,
    )
    has_texts = curve["texts"] > 0
    curves[name] = {key: x[has_texts].tolist() for key, x in curve.items()}
  return curves


def _rows(
  prompts: Sequence[Prompt], answers: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
  """Prompts with their answers as arrays, one a row."""
  lengths = [
    (len(prompt.ids), len(answer))
    for prompt, answer in zip(prompts, answers, strict=True)
  ]
  shape = len(prompts), max(map(sum, lengths))
  tokens, counts = np.zeros(shape, np.int32), np.zeros(shape, bool)
  for i, (first, more) in enumerate(lengths):
    tokens[i, : first + more] = [*prompts[i].ids, *answers[i]]
    counts[i, first : first + more] = True
  mask = np.arange(shape[1]) < np.sum(lengths, axis=1)[:, None]
  return {"tokens": tokens, "mask": mask, "counts": counts}
