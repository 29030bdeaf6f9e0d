"""How a language model is measured."""

import dataclasses

from kdjax.runner.config.field import COUNT, option


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What `launch.py evaluate` says of a language model, and how."""

  top: tuple[int, ...] = option(
    (),
    "for each of these, such as 1,64, how much probability so many likeliest"
    " tokens have together",
    within=COUNT,
  )
  sequences_at_once: int = option(
    8, "sequences that are read at a time", within=COUNT
  )
