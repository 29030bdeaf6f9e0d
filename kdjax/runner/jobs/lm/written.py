"""What the networks of a run write: completions side by side, the exposure curve."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
# A text's first tokens, and those behind them, where slips have added up.
_EARLY = 16

# A network, and a function that yields the variables of each seed's.
Networks = Mapping[str, tuple[Any, Callable[[], Iterable[Any]]]]


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


def measure(setup: Any, networks: Networks) -> dict[str, Any]:
  """Lets the networks continue prompts of the test documents.

  Args:
    networks: by name, "student" and perhaps "teacher" among them.
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
    name: _continued(setup, name, networks, prompts, steps, "greedy")
    for name in networks
  }
  # Texts are shown of the first seed.
  completions = {
    name: [*map(_tokenizer_of(setup, name).decode, ids[name][0])]
    for name in ids
  }
  curves = {}
  if setup.tokenization.same_ids and "teacher" in networks:
    curves = {"exposure": _exposure(setup, networks, prompts, steps)}
  return curves | {
    "completions": {
      "tokens": steps,
      "scores": {
        name: _scores(prompts, ids[name], _tokenizer_of(setup, name))
        for name in ids
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
  networks: Networks,
  prompts: Sequence[Prompt],
  steps: int,
  sampling: str,
) -> list[list[np.ndarray]]:
  """What each seed's network of a name writes, a text a prompt."""
  ids, task = [prompt.ids for prompt in prompts], setup.tokenization.task
  if name == "teacher":
    ids = [setup.tokenization.teacher_prompt(one) for one in ids]
    task = setup.tokenization.teacher_task
  network, members = networks[name]
  return [
    generate(
      network,
      one,
      ids,
      max_new_tokens=steps,
      sampling=sampling,
      key=jax.random.key(0),
      eos=_tokenizer_of(setup, name).eos,
      vocabulary=task.width,
      batch_size=16,
    )
    for one in members()
  ]


def _scores(
  prompts: Sequence[Prompt],
  ids: Sequence[Sequence[np.ndarray]],
  tokenizer: Any,
) -> dict[str, list[float | None]]:
  """Of each seed's texts: how varied, and how near to what was to be answered."""
  scores = [_scores_of_seed(prompts, one, tokenizer) for one in ids]
  return {
    name: [x if np.isfinite(x := one[name]) else None for one in scores]
    for name in scores[0]
  }


def _scores_of_seed(
  prompts: Sequence[Prompt], ids: Sequence[np.ndarray], tokenizer: Any
) -> dict[str, float]:
  tokens = [one.tolist() for one in ids]
  scores = {
    "distinct_2": evaluate.distinct_n(tokens, 2),
    "repetition": evaluate.repetition(tokens),
  }
  pairs = [
    (tokenizer.decode(one), prompt.reference)
    for one, prompt in zip(ids, prompts, strict=True)
    if prompt.has_answer
  ]
  if pairs:
    scores["rouge_l"] = float(
      np.mean([evaluate.rouge_l(*pair).f for pair in pairs])
    )
    scores["exact_match"] = evaluate.exact_match(*zip(*pairs, strict=True))
  return scores


def _exposure(
  setup: Any, networks: Networks, prompts: Sequence[Prompt], steps: int
) -> dict[str, Any]:
  """KL(teacher || network) by step on texts that it has drawn.

  Under "teacher" is the student's on texts that the teacher has drawn.
  """
  curves = {}
  for writer in networks:
    network, members = networks["student" if writer == "teacher" else writer]
    answers = _continued(
      setup, writer, networks, prompts, steps, "temperature(1.0)"
    )
    seeds = [
      evaluate.kl_by_step(
        network,
        one,
        setup.tokenization.teacher,
        # The teacher's texts are those that every seed's student reads.
        _rows(prompts, answers[i % len(answers)]),
        task=setup.tokenization.task,
        steps=steps,
      )
      for i, one in enumerate(members())
    ]
    curves[writer] = _curve(seeds)
  return curves


def _curve(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, list]:
  """The mean over all seeds' texts by step; each seed's over steps."""
  counts = np.stack([one["texts"] for one in seeds])
  sums = np.stack([np.nan_to_num(one["kl"]) for one in seeds]) * counts
  has_texts = counts.sum(0) > 0
  parts = {"early": slice(_EARLY), "late": slice(_EARLY, None)}
  return {
    "kl": (sums.sum(0)[has_texts] / counts.sum(0)[has_texts]).tolist(),
    "texts": counts.sum(0)[has_texts].tolist(),
  } | {
    f"{name}_kl": [
      float(total / count) if count else None
      for total, count in zip(
        sums[:, part].sum(1), counts[:, part].sum(1), strict=True
      )
    ]
    for name, part in parts.items()
  }


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
