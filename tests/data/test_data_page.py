"""The program of docs/data.md runs as it stands."""

from documented_code import code_of, loaded, page


def test_the_loop_of_ones_own_runs(tmp_path):
  with loaded(code_of(page("data.md")), tmp_path / "loop.py") as program:
    assert program.batches.epoch == 2
