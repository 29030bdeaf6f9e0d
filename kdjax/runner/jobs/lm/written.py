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
    asked: whether the document has a prompt, so that there is a right answer.
  """

  ids: list[int]
  reference: str
  asked: bool


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
    if asked := "text" not in row.values:
      own = prompt_ids(tokenizer, row.values)
      rest = [x for x, learned in zip(ids, counts, strict=True) if learned]
    else:
      length = min(_BEGINNING, longest, len(ids) // 2)
      own, rest = ids[:length], ids[length : length + steps]
    if 0 < len(own) <= longest:
      prompts.append(Prompt(own, tokenizer.decode(rest), asked))
  return prompts[:PROMPTS]


def measure(setup: Any, networks: Mapping[str, Any]) -> dict[str, Any]:
  """Lets the networks continue prompts of the test documents.

  Args:
    networks: by name, "teacher" and "student" among them, (network, variables).
  """
  settings, tokenizer = setup.experiment, setup.tokenizer
  length = settings.language.sequence_length
  steps = min(STEPS, settings.continuation.max_new_tokens, length // 2)
  shown = settings.language.completions
  prompts = find_prompts(
    setup.texts.parts["test"], tokenizer, length - steps, steps
  )
  if not shown or not prompts:
    return {}
  say(f"{len(networks)} networks continue {len(prompts)} prompts: compiling")
  greedy, said = {}, {}
  for name, network in networks.items():
    reader = _reader(setup, name)
    greedy[name] = _continued(setup, name, network, prompts, steps, "greedy")
    said[name] = [reader.decode(ids) for ids in greedy[name]]
  curves = {}
  if setup.across is None:
    curves = {"exposure": _exposure(setup, networks, prompts, steps)}
  return curves | {
    "completions": {
      "tokens": steps,
      "scores": {
        name: _scores(prompts, greedy[name], said[name]) for name in networks
      },
      "shown": [
        {"prompt": tokenizer.decode(prompt.ids), "reference": prompt.reference}
        | {name: answers[i] for name, answers in said.items()}
        for i, prompt in enumerate(prompts[:shown])
      ],
    },
  }


def _reader(setup: Any, name: str) -> Any:
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
  tokenizer = _reader(setup, name)
  ids = [prompt.ids for prompt in prompts]
  width = setup.student.task.width
  if setup.across is not None and name == "teacher":
    width = setup.across.task.width
    longest = setup.experiment.language.sequence_length
    # The same text, by its own tokenizer.
    ids = [
      prompt_ids(tokenizer, {"prompt": setup.tokenizer.decode(one)})[-longest:]
      for one in ids
    ]
  return generate(
    *network,
    ids,
    max_new_tokens=steps,
    sampling=sampling,
    key=jax.random.key(0),
    eos=tokenizer.eos,
    vocabulary=width,
    batch_size=16,
  )


def _scores(
  prompts: Sequence[Prompt], answers: Sequence[Any], said: Sequence[str]
) -> dict[str, float]:
  """How varied texts are, and of prompts how near to what was to be answered."""
  ids = [answer.tolist() for answer in answers]
  scores = {
    "distinct_2": evaluate.distinct_n(ids, 2),
    "repetition": evaluate.repetition(ids),
  }
  pairs = [
    (text, prompt.reference)
    for text, prompt in zip(said, prompts, strict=True)
    if prompt.asked
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
    found = evaluate.kl_by_step(
      *networks["student"],
      setup.asked,
      _rows(prompts, answers),
      task=setup.student.task,
      steps=steps,
    )
    known = found["texts"] > 0
    curves[name] = {key: x[known].tolist() for key, x in found.items()}
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
