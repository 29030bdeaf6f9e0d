"""Puts what benchmarks found into the tables of docs/performance.md.

  python docs/make_performance_page.py

A table stands between <!-- NAME --> and <!-- end -->, and holds the summary of
benchmarks/results/NAME.json, that of NAME_rows all that NAME measured; all else of
the page is written by hand.
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
PAGE = HERE / "performance.md"
VERDICTS = {True: "met", False: "missed", None: ""}


def page(text: str) -> str:
  """Renews the tables."""
  return re.sub(
    r"<!-- (\w+) -->\n.*?<!-- end -->",
    lambda found: f"<!-- {found[1]} -->\n{part(found[1])}<!-- end -->",
    text,
    flags=re.DOTALL,
  )


def part(name: str) -> str:
  """Finds the table of a name."""
  whole = {"scale_rows": scale_rows, "losses_rows": losses_rows}
  whole |= {"profile": profile, "collectives_rows": collectives_rows}
  return whole[name]() if name in whole else table(name)


def losses_rows() -> str:
  """Lays out each loss's time, by the clock."""
  results = json.loads((RESULTS / "losses.json").read_text())
  others = ("formula", "torch", "compile")
  lines = [
    "| loss | size | ms | of memory | formula | torch | torch.compile |",
    "| :-- | :-- | --: | --: | --: | --: | --: |",
  ]
  for row in results["losses"]:
    ratios = [
      f"{row['times_ours'][x]['median']:.2f}" if x in row["times_ours"] else ""
      for x in others
    ]
    size = " x ".join(map(str, row["shape"]))
    cells = [f"`{row['loss']}`", size, f"{row['ms']['ours']:.2f}"]
    cells += [f"{row['of_memory']['median']:.1f}", *ratios]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join([*lines, ""])


def scale_rows() -> str:
  """Lays out what a step took, for all that was varied."""
  results = json.loads((RESULTS / "scale.json").read_text())
  lines = [
    "| varied | batch | classes | devices | processes | ms a step | MB a device |",
    "| :-- | --: | --: | --: | --: | --: | --: |",
  ]
  lines += [
    f"| {row['varied']} | {row['batch_size']} | {row['classes']}"
    f" | {row['devices']} | {row['processes']}"
    f" | {1e3 * row['seconds_a_step']:.2f}"
    f" | {sum(row['bytes_of_a_device'].values()) / 1e6:.1f} |"
    for row in results["rows"]
  ]
  return "\n".join([*lines, ""])


def collectives_rows() -> str:
  """Lays out the estimate: seconds of work and messages, what share is work."""
  file = RESULTS / "collectives.json"
  if not file.exists():
    return "Not measured yet: `python -m benchmarks.collectives`.\n"
  results = json.loads(file.read_text())
  rows, room = results["rows"], results["assumed"]["bytes_of_a_chip"]
  held = (f"{row['once']['held'] / 1e9:.3g}" for row in rows)
  lines = [
    f"| chips | {' | '.join(row['layout'] for row in rows)} |",
    f"| --: |{' :-- |' * len(rows)}",
    f"| GB held of {room / 1e9:.0f} | {' | '.join(held)} |",
  ]
  for several in zip(*(row["estimate"] for row in rows), strict=True):
    cells = (
      f"{one['GB_sent']:.3g} GB, {one['seconds_of_work']:.3g} +"
      f" {one['seconds_of_messages']:.3g} s,"
      f" {one['efficiency_one_after_the_other']:.0%}"
      for one in several
    )
    lines.append(f"| {several[0]['chips']} | {' | '.join(cells)} |")
  return "\n".join([*lines, ""])


def profile() -> str:
  """Lays out where the seconds of whole runs went."""
  file = RESULTS / "profile.json"
  if not file.exists():
    return "Not measured yet: `python -m benchmarks.profile`.\n"
  results = json.loads(file.read_text())
  runs = results["runs"]
  lines = [
    f"| seconds of | {' | '.join(one['run'] for one in runs)} |",
    f"| :-- |{' --: |' * len(runs)}",
  ]
  for part in runs[0]["seconds"]:
    cells = (
      f"{one['seconds'][part]:.1f} ({one['seconds'][part] / one['total']:.0%})"
      for one in runs
    )
    lines.append(f"| {part} | {' | '.join(cells)} |")
  for name, key in (("total", "total"), ("processor", "processor_seconds")):
    cells = (f"{one[key]:.1f}" for one in runs)
    lines.append(f"| {name} | {' | '.join(cells)} |")
  cells = (str(sum(x["compiled"] for x in one["programs"])) for one in runs)
  lines += [f"| programs | {' | '.join(cells)} |", "", made(results), ""]
  return "\n".join(lines)


def made(results: dict) -> str:
  """Says when and how a file was made."""
  # Some benchmarks say where they were made in a part of its own.
  results = {**results.get("machine", {}), **results}
  return (
    f"{results.get('date')}, jax {results.get('jax')},"
    f" {results.get('processors')} processors: `{results.get('command')}`"
  )


def table(name: str) -> str:
  """Lays a benchmark's summary out."""
  file = RESULTS / f"{name}.json"
  if not file.exists():
    return f"Not measured yet: `python -m benchmarks.{name}`.\n"
  results = json.loads(file.read_text())
  rows = [
    f"| {row['what']} | {row['target']} | {row['measured']}"
    f" | {VERDICTS[row['met']]} |"
    for row in results.get("summary", ())
  ]
  head = ["| what | wanted | measured | |", "| :-- | :-- | --: | :-- |"]
  return "\n".join([*head, *rows, "", made(results), ""])


if __name__ == "__main__":
  PAGE.write_text(page(PAGE.read_text()))
