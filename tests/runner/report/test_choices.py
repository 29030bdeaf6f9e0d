"""What a sweep recommends, from its numbers."""

import numpy as np
import pytest

from kdjax.runner.pipeline.sweep import sweep_scores
from kdjax.runner.report import choices, sweep_tables, text
from kdjax.tasks import classification

TIGHT = np.array([0.001, -0.001, 0.002, -0.002, 0.0])


def results(means, *, seeds=5, validation=0.0, values=(1.0, 4.0, 8.0)):
  """A sweep over the temperature; cells differ by more than their spread."""
  own = np.array(
    [mean + np.roll(TIGHT, i + 1)[:seeds] for i, mean in enumerate(means)]
  )
  accuracy = {"student": own, "baseline": 0.9 + TIGHT[None, :seeds]}
  grids = {"student": [{"temperature": x} for x in values], "baseline": [{}]}
  best = {"student": int(np.argmax(means)), "baseline": 0}
  return {
    "sweep": sweep_scores(grids, accuracy, best, task=classification(10)),
    "experiment": {"data": {"validation": validation}},
    "performance": {
      "student + baseline": {"train_seconds": 20.0, "members": 20}
    },
  }


@pytest.mark.parametrize(
  ("given", "said", "unsaid"),
  [
    (
      results([0.92, 0.95, 0.93]),
      [
        "Recommended: temperature 4, with a test error of 5.00 ± 0.16 % over 5",
        "5.00 points lower than the baseline's (p ",
        "0 of the other 2 cells cannot be told from it",
        "These were the test images: --validation=0.2",
        "20 networks trained in 20.0 s, 1.00 s each.",
      ],
      ["beyond", "chance", "More --seeds"],
    ),
    (
      results([0.92, 0.95, 0.9502], validation=0.2),
      [
        "Recommended: temperature 8",
        "1 of the other 2 cells cannot be told from it",
        "temperature 4.",
        "end of the values tried for temperature",
        "without --validation and with --temperature=8.",
      ],
      ["test images"],
    ),
    (
      results([0.92, 0.95, 0.93], seeds=1),
      ["of a single seed.", "With one seed no cell can be told from another"],
      ["p ="],
    ),
    ({"sweep": {"axes": {"t": [1]}, "recommendation": {"t": 1}}}, [], ["t"]),
  ],
)
def test_sentences(given, said, unsaid):
  written = " ".join(choices.sentences(given))
  assert all(one in written for one in said), written
  assert not any(one in written for one in unsaid), written


def test_the_cells_stand_beside_the_best_and_the_twin():
  sweep = results([0.92, 0.95, 0.93])["sweep"]
  cells = sweep["cells"]["student"]
  assert [cell["versus_best"] is None for cell in cells] == [False, True, False]
  assert cells[0]["versus_best"]["mean"] == pytest.approx(3.0)
  assert cells[1]["versus_baseline"]["mean"] == pytest.approx(-5.0)
  # Three comparisons with the baseline: the smallest p-value counts three times.
  ratios = [
    cell["versus_baseline"]["holm_p_value"] / cell["versus_baseline"]["p_value"]
    for cell in cells
  ]
  assert max(ratios) == pytest.approx(3.0)
  grid, table = sweep_tables.tables_of(sweep)
  assert [row[0] for row in table.rows] == ["4", "8", "1"]
  assert "− best" in text.to_markdown(table)
