"""How numbers are written."""

import pytest

from kdjax.runner.report import formats

NAN = float("nan")


@pytest.mark.parametrize(
  ("write", "arguments", "expected"),
  [
    # The sample standard deviation of 1, 2, 3 is 1.
    (formats.with_spread, ([1, 2, 3],), "2.00 ± 1.00"),
    (formats.with_spread, ([1, None, 3],), "2.00 ± 1.41"),
    (formats.with_spread, ([NAN],), "–"),
    (formats.with_spread, (None,), "–"),
    (formats.with_spread, (0.5, 3), "0.500"),
    (formats.signed, (-0.974,), "−0.97"),
    (formats.signed, (0.0049,), "0.00"),
    (formats.signed, (-0.0049,), "0.00"),
    (formats.signed, (NAN,), "–"),
    # 0.05 decides, so what is below it must not read as 0.05.
    (formats.p_value, (0.0496,), "0.050"),
    (formats.p_value, (0.0449,), "0.045"),
    (formats.p_value, (0.2,), "0.20"),
    (formats.p_value, (0.00068,), "7e-4"),
    (formats.p_value, (None,), "–"),
    (formats.scaled, (999,), "999"),
    (formats.scaled, (999_950,), "1.00 M"),
    (formats.scaled, (4_785_600,), "4.79 M"),
    (formats.scaled, (1.8e9,), "1.80 G"),
    (formats.ratio, (100, 3000, "fewer"), "30.0× fewer"),
    (formats.ratio, (3000, 100, "fewer"), "30.0× more"),
    (formats.ratio, (2, 1, "faster"), "2.00× slower"),
    (formats.ratio, (0, 1, "fewer"), "–"),
    (formats.ratio, (None, 1, "fewer"), "–"),
    (formats.duration, (0.9996,), "1.0 s"),
    (formats.duration, (59.96,), "1 min 0 s"),
    (formats.duration, (3599.7,), "1 h 0 min"),
    (formats.setting, (1e-3,), "0.001"),
    (formats.setting, ((1200, 1200),), "1200, 1200"),
    (formats.setting, (False,), "no"),
    (formats.setting, (0,), "0"),
  ],
)
def test_written(write, arguments, expected):
  assert write(*arguments) == expected
