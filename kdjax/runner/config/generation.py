"""Which prompts a language model continues, and how."""

import dataclasses

from kdjax.runner.config.field import AUTO, COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class Continuation:
  """How a language model continues a prompt."""

  max_new_tokens: int = option(
    128, "the most tokens behind a prompt", within=COUNT
  )
  sampling: str = option(
    AUTO,
    "how tokens are chosen: greedy, or a sum such as 'temperature(0.7) +"
    " top_k(50) + top_p(0.9)', also min_p(0.05); by default greedy, and"
    " temperature(1.0) where a student in training writes",
  )


@dataclasses.dataclass(frozen=True)
class Generation:
  """What `launch.py generate` writes."""

  prompts: str | None = option(
    None,
    "generate: a .txt with a prompt a line, or a .jsonl of rows with `prompt` or"
    " `messages`, which the chat template writes as text",
  )
  samples: int = option(1, "texts for each prompt", within=COUNT)
  seed: int = option(
    0,
    "generate: of the draws; a text depends on it and on its prompt's place in"
    " the file, not on the batch or the devices",
    within=Interval(0, 2**32),
  )
  batch_size: int = option(16, "texts at a time", within=COUNT)
