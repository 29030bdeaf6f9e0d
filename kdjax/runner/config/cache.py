"""What `launch.py cache` keeps of a teacher."""

import dataclasses

from kdjax.runner.config.field import COUNT, option


@dataclasses.dataclass(frozen=True)
class Cache:
  """What `launch.py cache` keeps of a teacher."""

  form: str = option(
    "dense",
    "cache: all answers of the teacher, or the largest and the sum of the rest",
    flag="cache_form",
    choices=("dense", "top_k"),
  )
  top_k: int = option(
    5,
    "cache: how many answers to keep of each image, for top_k",
    flag="cache_top_k",
    within=COUNT,
  )
  dtype: str = option(
    "float16",
    "cache: type of answers and features",
    flag="cache_dtype",
    choices=("float16", "float32"),
  )
  taps: str | None = option(
    None,
    "cache: features to keep, with blanks between them; those that the method"
    " looks at by default",
    flag="cache_taps",
  )
  shards: int | None = option(
    None,
    "cache: how many files to write; one for every 256 MiB by default",
    flag="cache_shards",
    within=COUNT,
  )
