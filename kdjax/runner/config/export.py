"""Which network is exported, and in which formats."""

import dataclasses

from kdjax.runner.config.field import Interval, option


@dataclasses.dataclass(frozen=True)
class StoredModel:
  """Which network that was trained before."""

  source: str | None = option(
    None,
    "the folder of a finished run; or, but for export, a language model: a"
    " folder as Hugging Face has them, a .gguf file, or package:NAME",
    flag="from",
  )


@dataclasses.dataclass(frozen=True)
class Export(StoredModel):
  """What `export` takes from a run, and what it writes."""

  decisive = True

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
