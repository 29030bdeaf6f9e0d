"""What `compare` tries."""

import dataclasses

from kdjax.runner.config.field import COUNT, POSITIVE, SHARE, Interval, option


@dataclasses.dataclass(frozen=True)
class Rates:
  """Which learning rates are tried."""

  rates: tuple[float, ...] = option(
    (),
    "peak learning rates to try with each arm, on held-out data; compare: a third"
    " of the student's and the student's by default",
    flag="search_rates",
    within=POSITIVE,
  )


@dataclasses.dataclass(frozen=True)
class Search(Rates):
  """What `compare` tries for every arm, on held-out images, before it measures."""

  methods: str = option(
    "all",
    "compare: the methods where none are named, with blanks between them; all:"
    " those that fit the networks",
  )
  weights: tuple[float, ...] = option(
    (0.1, 1.0, 10.0),
    "compare: factors of a method's published weight to try",
    flag="search_weights",
    within=Interval(0),
  )
  smoothing: tuple[float, ...] = option(
    (0.05, 0.1, 0.2),
    "compare: smoothings to try, as many as factors",
    flag="search_smoothing",
    within=SHARE,
  )
  seeds: int = option(
    1,
    "compare: students trained for each cell",
    flag="search_seeds",
    within=COUNT,
  )
