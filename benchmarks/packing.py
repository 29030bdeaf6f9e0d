"""How much of packed sequences is text: WordNet's words with what they mean.

  python -m benchmarks.packing [--quick] [--output=FILE]

117,659 prompts with completions (package:wordnet) become tokens of SmolLM2
(package:smollm2) and are packed as `launch.py lm` packs them, whole, into sequences
of 128, 256 and 512; `--quick` takes every fiftieth row. Used is the share of
positions that are no padding. Beside it: one document a sequence.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks import timing
from kdjax.data import text
from kdjax.models.pretrained import packages
from kdjax.models.pretrained.gguf import read_gguf
from kdjax.models.tokenizers import tokenizer_of_gguf

LENGTHS = (128, 256, 512)
ENOUGH = 0.9


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  path = packages.package_path("smollm2")
  tokenizer = tokenizer_of_gguf(read_gguf(path)[2], str(path))
  texts = text.read_rows("package:wordnet")[:: 50 if options.quick else 1]
  rows = [packed(texts, tokenizer, length) for length in LENGTHS]
  summary = [
    timing.line(
      f"WordNet, sequences of {row['length']}: positions used",
      f">= {ENOUGH}",
      row["used"],
      row["used"] >= ENOUGH,
    )
    for row in rows
  ]
  result = {**timing.machine(), "rows": rows, "summary": summary}
  timing.write(result, options.output)


def packed(texts: list, tokenizer, length: int) -> dict:
  """Packs rows into sequences of a length."""
  examples = text.make_examples(texts, tokenizer, length)
  sequences = text.pack(examples.examples, length, pad=tokenizer.pad)
  sizes = np.array([len(one.tokens) for one in examples.examples])
  return {
    "length": length,
    "rows": examples.rows,
    "tokens": int(sizes.sum()),
    "tokens of a row": timing.spread(sizes.tolist()),
    "cut off": len(examples.truncated),
    "sequences": len(sequences["mask"]),
    "used": float(sequences["mask"].mean()),
    "used one a sequence": float(sizes.mean() / length),
  }


if __name__ == "__main__":
  main()
