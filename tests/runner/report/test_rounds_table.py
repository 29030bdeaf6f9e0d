"""The table of rounds: one row each, errors in percent, who had stopped."""

from kdjax.runner.report import reading, rounds

RESULTS = {
  "experiment": {"data": {"validation": 0.2}},
  "soft_td": {"best_round": [2, 1]},
  "rounds": [
    {
      "round": number,
      "sources": 2 + number,
      "counts": counts,
      "effective_sample_size": [2.5, 2.7],
      "least_effective_sample_size": [1.9, 2.1],
      "target_accuracy": [0.9, 0.88],
      "validation_loss": [0.5, 0.3],
      "test_accuracy": [0.95, 0.93],
    }
    for number, counts in ((1, [True, True]), (2, [True, False]))
  ],
}


def test_rows():
  table = rounds.rounds_table(RESULTS)
  assert table.rows == (
    ("1", "3", "2.60 ± 0.14 (1.90)", "11.00 ± 1.41", "0.4000 ± 0.1414",
     "6.00 ± 1.41", "2 of 2"),
    ("2", "4", "2.60 ± 0.14 (1.90)", "11.00 ± 1.41", "0.4000 ± 0.1414",
     "6.00 ± 1.41", "1 of 2"),
  )  # fmt: skip
  assert table.notes[-1] == "Best rounds of the chains: 2, 1."


def test_rounds_are_chosen_on_held_out_images_and_scored_on_others():
  assert not reading.on_held_out(RESULTS)
  assert reading.on_held_out(RESULTS | {"rounds": []})
