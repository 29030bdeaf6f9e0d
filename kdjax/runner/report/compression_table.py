"""What a small student takes, and what of it is zero."""

from collections.abc import Mapping
from typing import Any

from kdjax.runner.report import formats, reading
from kdjax.runner.report.text import Table

_NOTES = (
  "Read back from the saved student. File: safetensors; of an array with enough"
  " zeros, the others and one bit for each place.",
)


def compression_table(results: Mapping[str, Any]) -> Table:
  """Returns what the saved students take on disk, and their zeros."""
  entries = results["compression"]
  sizes, full = reading.numbers(entries["bytes"]), entries["bytes_float32"]
  rows = [
    ("File, float32", f"{formats.count(full)} bytes"),
    (
      "File, stored",
      f"{formats.count(sizes.mean())} bytes, {_percent(sizes.mean() / full)}",
    ),
  ]
  if "quantization" in entries:
    score = reading.score_of(results)
    score_in_bits = score.shown(entries[f"stored_{score.name}"])
    rows += [
      ("Bits", entries["quantization"]),
      (
        score.with_unit("Test", " as stored"),
        formats.with_spread(score_in_bits, score.digits),
      ),
    ]
  if "sparsity" in entries:
    rows += _zeros(entries["sparsity"])
  return Table("Small students", ("What", "Value"), tuple(rows), _NOTES)


def _zeros(sparsity: Mapping[str, Any]) -> list[tuple[str, str]]:
  share = _percent(sparsity["reached"])
  if not sparsity["verified"]:
    share += f", NOT the {_percent(sparsity['asked'])} asked for"
  rows = [
    (f"Zero {sparsity['of']} of the prunable", share),
    ("Zeros among all parameters", _percent(sparsity["overall"])),
  ]
  layers = sparsity["layers"].items()
  return rows + [(f"Zeros in {name}", _percent(x)) for name, x in layers]


def _percent(share: float) -> str:
  return f"{100 * share:.2f} %"
