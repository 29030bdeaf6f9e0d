"""The student's model card, README.md of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.models.pretrained.load import COMPUTES_IN
from kdjax.runner.report import formats, language_page, logs, text, verdicts

_LIMITS = (
  "Measured on documents like those that it was trained on, and on nothing else.",
  "A student takes over what its teacher gets wrong, too.",
  "The licences of the teacher and of the texts apply; neither was looked at here.",
)


def _small(results: Mapping[str, Any]) -> list[str]:
  """What is to be known of a student in few bits, or with few weights."""
  small = results.get("compression", {})
  lines = []
  if "quantization" in small:
    bits = small["quantization"]
    lines.append(
      f"It learned to compute in {bits}: the scores are those of rounded weights"
      + (
        " and activations. Its numbers are not rounded: kdjax does so as it computes"
        f" ({COMPUTES_IN} of config.json), other programs do not."
        if "a" in bits
        else ", and its numbers are these."
      )
    )
  if "sparsity" in small:
    share = small["sparsity"]["reached"]
    lines.append(
      f"Of the weights that were pruned {100 * share:.1f} % are zero."
    )
  return [*lines, ""] if lines else []


def write(folder: Path, results: Mapping[str, Any], command: str) -> None:
  """Writes the card of the student in a folder."""
  student, teacher = results["student"], results["teacher"]
  table = language_page.networks_table(results)
  lines = [
    "---",
    "pipeline_tag: text-generation",
    "tags: [distillation, kdjax]",
    "---",
    "",
    f"# {student['model']}, a student of {teacher['model']}",
    "",
    verdicts.headline(results),
    "",
    f"It has {student['parameters']:,} parameters, its teacher"
    f" {formats.count(teacher['parameters'])}. It learned from"
    f" {results['text']['train']['learned']:,} tokens by"
    f" `{results['objective']}`; this is the first of {len(student['seeds'])}"
    " networks, which saw the texts in other orders.",
    "",
    text.to_markdown(table),
    *_small(results),
    "## Use",
    "",
    "```python",
    "import kdjax",
    "",
    'network, variables, config, tokenizer = kdjax.pretrained.load("FOLDER")',
    "```",
    "",
    "or by transformers, `AutoModelForCausalLM.from_pretrained(FOLDER)`.",
    "",
    "## Limits",
    "",
    *(f"- {line}" for line in _LIMITS),
    "",
    "## Made by",
    "",
    f"    {command}",
    "",
  ]
  logs.write_text(folder / "README.md", "\n".join(lines))
