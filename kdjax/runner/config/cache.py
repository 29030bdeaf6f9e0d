"""What `launch.py cache` keeps of a teacher."""

import dataclasses

from kdjax.runner.config.field import COUNT, option


@dataclasses.dataclass(frozen=True)
class Cache:
  """What `launch.py cache` keeps of a teacher."""

  form: str = option(
    "dense",
    "cache: all answers of the teacher, or the largest and the sum of the rest"
    " (top_k); of texts all answers are the states that make them (hidden)",
    flag="cache_form",
    choices=("dense", "hidden", "top_k"),
  )
  top_k: int | None = option(
    None,
    "cache: how many answers to keep of each image or token, for top_k; 5, of"
    " texts 64 by default",
    flag="cache_top_k",
    within=COUNT,
  )
  dtype: str = option(
    "float16",
    "cache: type of answers and features; bfloat16 of texts alone",
    flag="cache_dtype",
    choices=("float16", "bfloat16", "float32"),
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
