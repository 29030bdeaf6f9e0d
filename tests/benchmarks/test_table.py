"""One table of all benchmarks, whatever becomes of each."""

from benchmarks import __main__ as benchmarks
from benchmarks import scale, timing


def test_rows_are_laid_out():
  rows = [
    {"benchmark": "losses", **timing.line("kd", "<= 1.5", 1.25, True)},
    {"benchmark": "scale", **timing.line("devices", "flat", 2, None)},
    {"benchmark": "x", **timing.line("much longer", "", "", False)},
  ]
  assert list(benchmarks.table(rows)) == [
    "benchmark  what         target  measured",
    "losses     kd           <= 1.5  1.25      met",
    "scale      devices      flat    2",
    "x          much longer                    missed",
  ]


def test_what_cannot_run_is_said(tmp_path):
  said = benchmarks.run("no_such_benchmark", tmp_path / "found.json", 60)
  assert said == "failed with status 1"


def test_the_estimate_of_an_all_reduce():
  """2 (n - 1) / n of the bytes over a link, and as many hops as there are."""
  links = {
    "devices_a_host": 4,
    "bytes_a_second_in_a_host": 100.0,
    "bytes_a_second_of_a_host": 10.0,
    "seconds_a_hop": 0.5,
  }
  assert scale.reduced(200, 1, links) == scale.gathered(200, 1, links) == 0
  assert scale.reduced(200, 4, links) == 2 * 3 / 4 * 200 / 100 + 6 * 0.5
  among = 2 * 1 / 2 * 200 / 10 + 2 * 0.5
  assert scale.reduced(200, 8, links) == scale.reduced(200, 4, links) + among
  # Three others in the host, then four of the other host's over its one link.
  assert (
    scale.gathered(200, 8, links) == 3 * (400 / 100 + 0.5) + 4 * 200 / 10 + 0.5
  )
