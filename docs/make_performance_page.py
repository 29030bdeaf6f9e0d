"""Puts what benchmarks found into the tables of docs/performance.md.

  python docs/make_performance_page.py

A table stands between <!-- NAME --> and <!-- end -->, and holds the summary of
benchmarks/results/NAME.json; all else of the page is written by hand.
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
PAGE = HERE / "performance.md"
VERDICTS = {True: "met", False: "missed", None: ""}


def page(text: str) -> str:
  """Renews the tables.

  Args:
    text: the page.

  Returns:
    The page with what the results say now.
  """
  return re.sub(
    r"<!-- (\w+) -->\n.*?<!-- end -->",
    lambda found: f"<!-- {found[1]} -->\n{table(found[1])}<!-- end -->",
    text,
    flags=re.DOTALL,
  )


def table(name: str) -> str:
  """Lays a benchmark's summary out.

  Args:
    name: the benchmark's.

  Returns:
    A Markdown table, or how to measure what is not there.
  """
  file = RESULTS / f"{name}.json"
  if not file.exists():
    return f"Not measured yet: `python -m benchmarks.{name}`.\n"
  found = json.loads(file.read_text())
  rows = [
    f"| {row['what']} | {row['target']} | {row['measured']}"
    f" | {VERDICTS[row['met']]} |"
    for row in found.get("summary", ())
  ]
  head = ["| what | wanted | measured | |", "| :-- | :-- | --: | :-- |"]
  # Some benchmarks say where they were made in a part of its own.
  made = {**found.get("machine", {}), **found}
  where = (
    f"{made.get('date')}, jax {made.get('jax')}, {made.get('processors')}"
    f" processors: `{made.get('command')}`"
  )
  return "\n".join([*head, *rows, "", where, ""])


if __name__ == "__main__":
  PAGE.write_text(page(PAGE.read_text()))
