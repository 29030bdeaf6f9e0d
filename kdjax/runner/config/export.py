"""Which network is exported, and in which formats."""

import dataclasses

from kdjax.runner.config.field import Interval, option


@dataclasses.dataclass(frozen=True)
class Export:
  """What `export` takes from a run, and what it writes."""

  decisive = True

  source: str | None = option(
    None, "export: the folder of a finished run", flag="from"
  )
  formats: str = option(
    "all",
    "export: stablehlo, onnx, safetensors, orbax, several with commas, or all",
    flag="format",
  )
  network: str = option(
    "student", "export: which network", choices=("student", "teacher")
  )
  member: int = option(
    0,
    "export: which of its seeds; the first by default, so that the test set"
    " chooses nothing",
    within=Interval(0),
  )
