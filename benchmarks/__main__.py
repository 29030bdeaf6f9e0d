"""All benchmarks of speed in one table, small: `make bench`.

  python -m benchmarks [NAME ...] [--output=FILE]

Each is a process of its own, `python -m benchmarks.NAME --quick`, one after the
other: five minutes on two cores. Columns of PyTorch are missing where it is. The
figures in docs/performance.md are those of the whole runs, without `--quick`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = (
  "step_overhead",
  "own_loop",
  "dispatch",
  "losses",
  "vocabulary",
  "language_step",
  "language_memory",
  "generation",
  "on_policy",
  "populations",
  "scale",
)
VERDICTS = {True: "met", False: "missed", None: ""}


def main() -> int:
  """Runs them all and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("names", nargs="*", default=NAMES)
  parser.add_argument("--output", type=Path)
  parser.add_argument(
    "--limit", type=float, default=300, help="seconds of each"
  )
  options = parser.parse_args()
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for name in options.names:
      file = Path(folder) / f"{name}.json"
      start = time.perf_counter()
      problem = run(name, file, options.limit)
      took = time.perf_counter() - start
      print(f"{name}: {problem or 'done'}, {took:.0f} s", file=sys.stderr)
      results = json.loads(file.read_text()) if file.exists() else {}
      rows += [{"benchmark": name, **row} for row in results.get("summary", ())]
      if problem:
        row = {"what": problem, "target": "", "measured": "", "met": False}
        rows.append({"benchmark": name, **row})
  print(*table(rows), sep="\n")
  if options.output:
    options.output.write_text(json.dumps(rows, indent=2) + "\n")
  return int(any(row["measured"] == "" for row in rows))


def run(name: str, file: Path, limit: float) -> str | None:
  """Runs one benchmark.

  Args:
    limit: seconds.

  Returns:
    None, or what went wrong.
  """
  command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
  try:
    ended = subprocess.run(
      [*command, f"--output={file}"],
      stdout=subprocess.DEVNULL,
      timeout=limit,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return f"took more than {limit:.0f} s"
  return f"failed with status {ended.returncode}" if ended.returncode else None


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
  """Lays rows out."""
  lines = [("benchmark", "what", "target", "measured", "")]
  lines += [
    (
      row["benchmark"],
      str(row["what"]),
      str(row["target"]),
      str(row["measured"]),
      VERDICTS[row["met"]],
    )
    for row in rows
  ]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  for line in lines:
    cells = zip(line, widths, strict=True)
    yield "  ".join(text.ljust(width) for text, width in cells).rstrip()


if __name__ == "__main__":
  sys.exit(main())
