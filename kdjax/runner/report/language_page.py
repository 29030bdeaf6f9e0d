"""The record of `launch.py lm`: tables, pictures, page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdjax.runner.report import (
  compression_table,
  formats,
  page,
  pictures,
  plots,
  reading,
  record,
  tables,
  text,
  verdicts,
)
from kdjax.runner.report.pictures import Picture
from kdjax.runner.report.text import Table

CURVE = "validation_nats_per_token"


def write(
  workdir: Path,
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]],
) -> Path:
  """Writes the figures and, last, the page."""
  content = page.content(results, history) | {"tables": table_makers(results)}
  return record.write(workdir, results, makers(results, history), content)


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal."""
  return text.summary(
    table_makers(results),
    lambda: [verdicts.headline(results), *verdicts.notes(results)],
  )


def table_makers(
  results: Mapping[str, Any],
) -> dict[str, Callable[[], list[Table]]]:
  """Returns how the tables are made, in order, by what they tell."""
  makers = {
    "networks": lambda: [networks_table(results)],
    "comparisons": lambda: [tables.comparisons_table(results)],
    "texts": lambda: [texts_table(results)],
  }
  if "compression" in results:
    makers["compression"] = lambda: [
      compression_table.compression_table(results)
    ]
  if "alignment" in results:
    makers["alignment"] = lambda: [alignment_table(results["alignment"])]
  if _searched(results):
    makers["rates"] = lambda: [rates_table(results)]
  if any("late_kl" in one for one in results.get("exposure", {}).values()):
    makers["exposure"] = lambda: [exposure_table(results["exposure"])]
  if "completions" in results:
    makers["completions"] = lambda: completions_tables(results["completions"])
  return makers


def networks_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of what each network says of the test documents."""
  entries = reading.networks(results)
  rows = tuple(
    (
      reading.title_of(name),
      formats.with_spread(entry["test_nats_per_token"], 4),
      formats.with_spread(entry["test_bits_per_byte"], 4),
      formats.with_spread(entry["teacher_kl"], 4),
      formats.with_spread(100 * reading.numbers(entry["agreement"])),
      formats.count(entry["parameters"]),
      formats.MISSING
      if "learning_rate" not in entry
      else f"{entry['learning_rate']:g}",
    )
    for name, entry in entries.items()
  )
  learned = results["text"]["test"]["learned"]
  mass = ", ".join(
    f"{100 * share:.1f} % on the {formats.count(int(k))} likeliest"
    if int(k) > 1
    else f"{100 * share:.1f} % on the likeliest token"
    for k, share in results["teacher"]["top_mass"].items()
  )
  return Table(
    f"{learned:,} tokens of the test documents",
    ("Network", "Nats a token", "Bits a byte", "KL from the teacher, nats",
     "Agreement, %", "Parameters", "Rate"),
    rows,
    (
      "Means over the seeds, which are orders of the training texts, ± standard"
      " deviation. Bits a byte can be compared across tokenizers. KL: mean of"
      " KL(teacher || network) over the tokens. Agreement: share of tokens for"
      " which network and teacher name the same next one.",
      *(_ACROSS if "alignment" in results else ()),
      *(_SERVED if "served" in results else ()),
      f"The teacher's probability lies to {mass}.",
      *(
        f"{reading.title_of(name)}: learned by `{entry['objective']}`."
        for name, entry in entries.items()
        if "objective" in entry
      ),
    ),
  )  # fmt: skip


_SERVED = (
  "The teacher is served by another program, which tells its likeliest tokens:"
  " KL is over these, with all others as one, and no more than over all.",
)
_ACROSS = (
  "The teacher has another tokenizer: nats a token are of its own tokens, KL and"
  " agreement are over groups of tokens that stand for the same bytes, the sum of"
  " the groups' KLs divided by the student's tokens.",
)


def alignment_table(alignment: Mapping[str, Any]) -> Table:
  """Makes the table of how much of the texts two tokenizers cut alike."""
  names = "one_to_one", "merged", "left_out", "merged_bytes", "left_out_bytes"
  rows = tuple(
    (
      split.capitalize(),
      *(f"{100 * one[name]:.1f}" for name in names),
    )
    for split, one in alignment["splits"].items()
  )
  return Table(
    "Tokens of the student beside those of the teacher",
    ("Split", "One of the teacher's, %", "In groups of several, %",
     "Not compared, %", "Bytes in such groups, %", "Bytes not compared, %"),
    rows,
    (
      f"Of {alignment['student_tokens']:,} tokens of the student and"
      f" {alignment['teacher_tokens']:,} of the teacher, both have"
      f" {alignment['shared_tokens']:,}.",
    ),
  )  # fmt: skip


def _searched(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """The networks that tried several rates."""
  entries = reading.networks(results)
  return {name: entry for name, entry in entries.items() if "cells" in entry}


def rates_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of what each rate gave on the validation documents."""
  searched = _searched(results)
  scores = {
    name: {cell["learning_rate"]: cell[CURVE] for cell in entry["cells"]}
    for name, entry in searched.items()
  }
  rates = sorted(next(iter(scores.values())))
  rows = tuple(
    (
      reading.title_of(name),
      *(formats.with_spread(own[rate], 4) for rate in rates),
    )
    for name, own in scores.items()
  )
  at_edge = [
    reading.title_of(name)
    for name, entry in searched.items()
    if entry["learning_rate"] in (rates[0], rates[-1])
  ]
  note = (
    "Means over the seeds, ± standard deviation; each network is measured at its"
    " best rate."
  )
  if at_edge:
    note += (
      f" The best rate of {', '.join(at_edge)} is the least or the largest one that"
      " was tried: a better one may lie beyond it."
    )
  return Table(
    "Nats a token on validation documents, by peak learning rate",
    ("Network", *(f"{rate:g}" for rate in rates)),
    rows,
    (note,),
  )


def texts_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of the texts: what is in each split, and what is not."""
  parts = {
    name: one for name, one in results["text"].items() if name != "duplicates"
  }
  duplicates = results["text"]["duplicates"]
  rows = tuple(
    (
      name.capitalize(),
      formats.count(one["rows"]),
      formats.count(one["tokens"]),
      formats.count(one["learned"]),
      formats.count(one["sequences"]),
      f"{100 * one['positions_used']:.1f}",
      formats.count(one["truncated"]),
      formats.count(one["unanswered"]),
      formats.count(duplicates.get(name)),
    )
    for name, one in parts.items()
  )
  return Table(
    "Texts",
    ("Split", "Documents", "Tokens", "Learned", "Sequences", "Positions used, %",
     "Cut off", "Left out", "Also in train"),
    rows,
    (
      "Left out: rows without an answer within the sequence length. Cut off and"
      " left out rows are named in results.json.",
    ),
  )  # fmt: skip


def exposure_table(exposure: Mapping[str, Any]) -> Table:
  """Makes the table of how far networks are from the teacher as they write."""
  rows = tuple(
    (
      "Student, on the teacher's texts"
      if name == "teacher"
      else f"{reading.title_of(name)}, on its own",
      *(formats.with_spread(curve[part], 3) for part in _PARTS),
    )
    for name, curve in exposure.items()
  )
  return Table(
    "KL(teacher || network) by token of a text, nats",
    ("Network", *_PARTS.values()),
    rows,
    (
      "Texts drawn at temperature 1 behind prompts of test documents; means over"
      " the seeds, ± standard deviation.",
    ),
  )


_PARTS = {"early_kl": "Tokens 1 to 16", "late_kl": "Tokens behind them"}


def completions_tables(completions: Mapping[str, Any]) -> list[Table]:
  """Makes the tables of what the networks wrote."""
  titles = {
    "rouge_l": "ROUGE-L, %", "exact_match": "Exact, %",
    "distinct_2": "Distinct pairs, %", "repetition": "Repetition, %",
  }  # fmt: skip
  scores = completions["scores"]
  names = [name for name in titles if any(name in x for x in scores.values())]
  rows = tuple(
    (
      reading.title_of(network),
      *(
        formats.with_spread(100 * reading.numbers(values.get(name)), 1)
        for name in names
      ),
    )
    for network, values in scores.items()
  )
  completion_rows = tuple(
    (_part(one["prompt"], -_SHOWN), *(_part(one[x], _SHOWN) for x in columns))
    for columns in [["reference", *scores]]
    for one in completions["shown"]
  )
  return [
    Table(
      f"Up to {completions['tokens']} tokens behind prompts of test documents",
      ("Network", *(titles[name] for name in names)),
      rows,
      (
        "Greedy, means over the seeds ± standard deviation. Distinct pairs: of all pairs of"
        " tokens, the different ones. Repetition: 4-grams that a text had before.",
      ),
    ),
    Table(
      "Completions",
      ("Prompt", "Document", *map(reading.title_of, scores)),
      completion_rows,
    ),
  ]


# So many characters of a text are shown.
_SHOWN = 160


def _part(text: str, length: int) -> str:
  """The first characters of a text in one line, or the last where most < 0."""
  line = " ".join(text.split())
  if len(line) <= abs(length):
    return line or formats.MISSING
  return f"{line[:length]}..." if length > 0 else f"...{line[length:]}"


def makers(
  results: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, Callable[[], Picture]]:
  """Returns how each picture is drawn, by name."""
  drawings = pictures.makers(results)
  pictures_by_name = {name: drawings[name] for name in ("accuracy",)}
  if "exposure" in results:
    pictures_by_name["exposure"] = lambda: Picture(
      plots.exposure_figure(results["exposure"]),
      "How far the student is from its teacher, token by token of a text",
      "Means over texts drawn at temperature 1 behind prompts of test documents. On"
      " its own texts the student reads its own slips: where that line rises above"
      " the other one, they lead it astray.",
    )
  return pictures_by_name | {
    "curves": lambda: Picture(
      plots.curves_figure(
        history,
        reading.score_of({"task": results["task"]}),
        CURVE,
        "Validation",
      ),
      "Nats a token on validation documents, and the training loss",
      "Means over seeds, bands one standard deviation; of the loss, the student's"
      " and the baseline's are different functions.",
    )
  }
